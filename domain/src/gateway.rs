//! Gateways: what pushes.

use crate::series::named_set;
use crate::time::Timestamp;

named_set! {
    /// Where a gateway stands in its life.
    GatewayState {
        /// Seen, but unknown: nobody has given it a place.
        Waiting = "waiting",
        /// Belongs to a location and has a credential.
        Commissioned = "commissioned",
        /// No longer in use; its history stays.
        Retired = "retired",
    }
}

named_set! {
    /// What a provider does with gateways that it does not know.
    UnknownGateways {
        /// Refuses them and lists them as waiting.
        Refused = "refused",
        /// Stores what they send, under no location, until they are commissioned.
        Adopted = "adopted",
    }
}

named_set! {
    /// Whether a gateway still talks.
    Reachability {
        /// Heard of within its rhythm.
        Online = "online",
        /// Overdue.
        Late = "late",
        /// Not heard of for long.
        Silent = "silent",
        /// Never heard of.
        Never = "never",
    }
}

impl Reachability {
    /// Overdue after this long; two of the usual quarter hours and a little.
    pub const LATE_AFTER_MS: i64 = 35 * 60_000;
    /// Silent after this long.
    pub const SILENT_AFTER_MS: i64 = 6 * 3_600_000;

    /// Judges by the last time that a gateway was heard.
    #[must_use]
    pub fn judge(last_seen: Option<Timestamp>, now: Timestamp) -> Self {
        match last_seen.map(|seen| now.millis_since(seen)) {
            None => Self::Never,
            Some(age) if age <= Self::LATE_AFTER_MS => Self::Online,
            Some(age) if age <= Self::SILENT_AFTER_MS => Self::Late,
            Some(_) => Self::Silent,
        }
    }
}
