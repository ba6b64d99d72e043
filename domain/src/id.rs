//! One type for each identifier, so that no id can stand in for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text::{ParseError, check_label};
use crate::time::Timestamp;

/// A tenant's id: `[a-z0-9][a-z0-9_]{0,30}`. Its keyspace, files and containers
/// are named after it, so it holds nothing that any of them would have to quote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderId(String);

impl ProviderId {
    /// Parses an id.
    ///
    /// # Errors
    /// When it is empty, longer than 31 characters or has another character
    /// than `a-z`, `0-9` and (not first) `_`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let bytes = text.as_bytes();
        let first_ok = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
        if !first_ok || !rest_ok || bytes.len() > 31 {
            return Err(ParseError::new(
                "provider id",
                format!("{text:?} must be 1 to 31 of a-z, 0-9 and _, and not start with _"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The Cassandra keyspace of this provider.
    #[must_use]
    pub fn keyspace(&self) -> String {
        format!("provider_{}", self.0)
    }
}

macro_rules! text_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseError;
            fn try_from(text: String) -> Result<Self, ParseError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_traits!(ProviderId);

macro_rules! label_id {
    ($(#[$doc:meta])* $name:ident, $what:literal $(, $check:path)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses 1 to 128 characters without control characters, without
            /// any that are not seen and without white space at either end.
            ///
            /// # Errors
            /// When the text breaks that rule.
            pub fn parse(text: &str) -> Result<Self, ParseError> {
                check_label($what, text, 128)?;
                $($check($what, text)?;)?
                Ok(Self(text.to_owned()))
            }

            /// The text as the device wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        text_traits!($name);
    };
}

/// Refuses what a browser takes out of an address (RFC 3986 section 5.2.4): the
/// page of such a thing could not be reached.
fn check_path_segment(what: &'static str, text: &str) -> Result<(), ParseError> {
    match text {
        "." | ".." => Err(ParseError::new(what, format!("{text:?} cannot be part of a web address, choose another"))),
        _ => Ok(()),
    }
}

label_id!(
    /// What a gateway calls itself when it pushes. Not `.` or `..`.
    GatewayId,
    "gateway id",
    check_path_segment
);
label_id!(
    /// What a gateway calls one of its sensors.
    SensorId,
    "sensor id"
);
label_id!(
    /// What a mapping of a provider is called. Not `.` or `..`.
    MappingName,
    "mapping name",
    check_path_segment
);
label_id!(
    /// What a gateway calls one of a sensor's measurements.
    MetricName,
    "metric"
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID, by custom of version 7 so that rows sort by age.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Parses the hyphenated or plain form.
            ///
            /// # Errors
            /// When the text is not a UUID.
            pub fn parse(text: &str) -> Result<Self, ParseError> {
                Uuid::try_parse(text).map(Self).map_err(|_| ParseError::new($what, "is not a UUID"))
            }

            /// The UUID itself.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::parse(text)
            }
        }
    };
}

uuid_id!(
    /// A site of the provider.
    LocationId,
    "location id"
);
uuid_id!(
    /// An installed array of modules at a location.
    ArrayId,
    "array id"
);
uuid_id!(
    /// Somebody who owns gateways for some time.
    CustomerId,
    "customer id"
);
uuid_id!(
    /// One ownership of one gateway by one customer.
    CommissionId,
    "commission id"
);
uuid_id!(
    /// Somebody who signs in.
    UserId,
    "user id"
);
uuid_id!(
    /// A token by which a program uses the API for somebody.
    ApiTokenId,
    "API token id"
);
uuid_id!(
    /// One key of a gateway.
    CredentialId,
    "credential id"
);
uuid_id!(
    /// What reports follow when hardware changes.
    PointId,
    "point id"
);
uuid_id!(
    /// A reversible change over untouched readings.
    CorrectionId,
    "correction id"
);
uuid_id!(
    /// A document, or part of one, that was refused and kept.
    QuarantineId,
    "quarantine id"
);
uuid_id!(
    /// A mail that is due, being sent or sent.
    OutboxId,
    "outbox id"
);
uuid_id!(
    /// Something that is or was wrong for long enough.
    AlertId,
    "alert id"
);
uuid_id!(
    /// A time in which somebody works on something.
    MaintenanceId,
    "maintenance id"
);

/// A version 7 UUID (RFC 9562) of an instant, so that rows sort by age.
#[must_use]
pub fn time_ordered_uuid(time: Timestamp, random: &[u8; 10]) -> Uuid {
    let millis = u64::try_from(time.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_ids_follow_the_rule() {
        for good in ["a", "0", "sunrise", "a_b_9", "a234567890123456789012345678901"] {
            assert!(ProviderId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "_a", "A", "a-b", "a b", "a;drop", "a/..", "a2345678901234567890123456789012", "ä"] {
            assert!(ProviderId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_refuse_what_would_confuse_a_reader() {
        for good in ["0x3ad", "vendor/serial 9", "用户", "urn:dev:ow:10e2073a01080063"] {
            assert!(GatewayId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a\nb", "a\0", "a\u{202E}b"] {
            assert!(GatewayId::parse(bad).is_err(), "{bad:?}");
        }
        let unseen = "\u{AD}\u{61C}\u{180E}\u{200B}\u{200D}\u{200F}\u{2028}\u{2029}\u{202A}\u{2060}\u{2064}\u{2066}\u{FEFF}\u{E0000}\u{E007F}";
        for c in unseen.chars() {
            let text = format!("a{c}b");
            assert!(GatewayId::parse(&text).is_err() && SensorId::parse(&text).is_err(), "{text:?}");
            assert!(MetricName::parse(&text).is_err(), "{text:?}");
        }
        assert!(SensorId::parse(&"ä".repeat(128)).is_ok());
        assert!(SensorId::parse(&"ä".repeat(129)).is_err());
    }

    #[test]
    fn gateways_are_never_named_like_a_step_in_a_path() {
        for bad in [".", ".."] {
            let message = GatewayId::parse(bad).unwrap_err().to_string();
            assert_eq!(message, format!("gateway id {bad:?} cannot be part of a web address, choose another"));
            assert!(SensorId::parse(bad).is_ok(), "{bad}");
        }
        for good in ["...", ".a", "a.", "../x"] {
            assert!(GatewayId::parse(good).is_ok(), "{good}");
        }
    }
}
