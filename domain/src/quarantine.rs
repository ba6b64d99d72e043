//! Why a document or a reading was refused.

use crate::series::named_set;

named_set! {
    /// The reason in a `nack`, in a quarantine row and in the panel.
    RefusalCode {
        /// Not well-formed, or not of its dialect's shape.
        Malformed = "malformed",
        /// Larger than the limit.
        TooLarge = "too-large",
        /// Nested deeper than the limit.
        TooDeep = "too-deep",
        /// A DOCTYPE with an internal subset.
        Doctype = "doctype",
        /// Not in a character encoding that is understood.
        Encoding = "encoding",
        /// No dialect or mapping knows the root element.
        Unsupported = "unsupported",
        /// A mapping matched nothing.
        NoReadings = "no-readings",
        /// No such gateway, and unknown ones are refused.
        UnknownGateway = "unknown-gateway",
        /// The key is missing or wrong.
        BadKey = "bad-key",
        /// Too many connections or failed credentials.
        RateLimited = "rate-limited",
        /// The store cannot take it now.
        Unavailable = "unavailable",
        /// A single reading without a finite number.
        BadValue = "bad-value",
        /// A single reading whose time cannot be read.
        BadTime = "bad-time",
        /// A single reading too far in the future.
        TimeInFuture = "time-in-future",
        /// A single reading older than the retention.
        TimeTooOld = "time-too-old",
        /// A single reading whose sensor, metric or unit is not a valid name.
        BadName = "bad-name",
    }
}

impl RefusalCode {
    /// Whether it is of single readings, the others of their document being stored.
    #[must_use]
    pub const fn is_of_reading(self) -> bool {
        matches!(self, Self::BadValue | Self::BadTime | Self::TimeInFuture | Self::TimeTooOld | Self::BadName)
    }

    /// Whether sending the same document again can succeed.
    #[must_use]
    pub const fn retry(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::UnknownGateway)
    }

    /// Whether the connection closes after this answer: the stream can no
    /// longer be trusted, or the peer cannot.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::TooLarge | Self::TooDeep | Self::Doctype | Self::Encoding | Self::BadKey | Self::RateLimited
        )
    }
}
