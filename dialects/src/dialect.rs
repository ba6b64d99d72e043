//! Which dialect a document speaks, told by its root element alone.

use std::fmt;

/// The dialects that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `push` and `hello`, Heliograph's own.
    Native,
    /// SenML as XML (RFC 8428), and the form of its drafts.
    SenMl,
}

impl Dialect {
    /// The name in logs, metrics and quarantine rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::SenMl => "senml",
        }
    }

    /// Recognises a root element by its local name, without regard to case, and
    /// by its namespace where it has one.
    pub(crate) fn recognise(local: &str, namespace: Option<&str>) -> Option<Self> {
        let named = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(local));
        let within = |uri: &str| namespace.is_none_or(|found| found == uri);
        match () {
            () if named(&["push", "hello"]) && within(crate::native::NAMESPACE) => Some(Self::Native),
            () if named(&["sensml", "senml"]) && within(crate::senml::NAMESPACE) => Some(Self::SenMl),
            () => None,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
