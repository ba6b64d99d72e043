//! What several resources say in the same way.

use std::fmt;

use heliograph_domain::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::form::Problems;

/// An instant, RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-06-18T13:07:00Z")]
pub(super) struct Utc(Timestamp);

impl From<Timestamp> for Utc {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An instant, where there is one.
pub(super) fn utc(time: Option<Timestamp>) -> Option<Utc> {
    time.map(Utc::from)
}

/// Reads an instant of a body; notes what is wrong with it.
pub(super) fn parse_instant(field: &'static str, text: &str, problems: &mut Problems) -> Option<Timestamp> {
    let time = Timestamp::parse_rfc3339(text.trim());
    problems.note(field, time.map_err(|_| "must be an instant such as 2026-06-18T13:07:00Z"))
}

/// A number as a form would have it.
pub(super) fn typed(number: Option<impl fmt::Display>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}
