//! Alerts: what has been wrong for so long that somebody should know, and what people
//! did about it.

mod intake;
mod maintenance;
mod watch;

use serde::{Deserialize, Serialize};

use crate::id::{AlertId, GatewayId, SensorId, UserId};
use crate::series::named_set;
use crate::text::{ParseError, check_prose};
use crate::time::Timestamp;
pub use intake::Intake;
pub use maintenance::{Maintenance, MaintenanceSubject};
pub use watch::{Outcome, Patience, Verdict, Watch, WatchPhase};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

named_set! {
    /// What an alert is about, the worst first.
    AlertKind {
        /// Many gateways fell silent at once.
        MassSilence = "mass-silence",
        /// A gateway has been silent for longer than its rhythm explains.
        Silent = "silent",
        /// A sensor gives nothing while the rest of its gateway does.
        SensorFault = "sensor-fault",
        /// A gateway's clock is wrong.
        Clock = "clock",
        /// A gateway gave far less than its neighbours, over days.
        LowYield = "low-yield",
        /// Much of what a gateway should have measured is missing, over days.
        Incomplete = "incomplete",
        /// Many documents of the provider's own gateways are refused.
        Quarantine = "quarantine",
    }
}

impl AlertKind {
    /// For how long it must be so before an alert is raised, and over before it is
    /// resolved. Silence is a duration itself; figures of whole days change once a day.
    #[must_use]
    pub const fn patience(self) -> Patience {
        match self {
            Self::MassSilence | Self::Silent => Patience { raise_ms: 0, clear_ms: 10 * MINUTE_MS },
            Self::Clock => Patience { raise_ms: HOUR_MS, clear_ms: HOUR_MS },
            Self::SensorFault | Self::LowYield | Self::Incomplete => Patience { raise_ms: 0, clear_ms: 2 * HOUR_MS },
            Self::Quarantine => Patience { raise_ms: 10 * MINUTE_MS, clear_ms: 2 * HOUR_MS },
        }
    }
}

named_set! {
    /// Where an alert stands.
    AlertState {
        /// Nobody has taken it up.
        Open = "open",
        /// Somebody has.
        Acknowledged = "acknowledged",
        /// It is over, or somebody said so.
        Resolved = "resolved",
    }
}

/// What an alert speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertSubject {
    /// All of the provider's gateways.
    Provider,
    /// One gateway.
    Gateway(GatewayId),
    /// One sensor behind a gateway.
    Sensor(GatewayId, SensorId),
}

impl AlertSubject {
    /// The gateway that it is, or that it stands behind.
    #[must_use]
    pub const fn gateway(&self) -> Option<&GatewayId> {
        match self {
            Self::Provider => None,
            Self::Gateway(gateway) | Self::Sensor(gateway, _) => Some(gateway),
        }
    }
}

/// Of what there is one open alert at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertKey {
    /// What about.
    pub kind: AlertKind,
    /// Of what.
    pub subject: AlertSubject,
}

impl AlertKey {
    /// Of a gateway.
    #[must_use]
    pub const fn gateway(kind: AlertKind, gateway: GatewayId) -> Self {
        Self { kind, subject: AlertSubject::Gateway(gateway) }
    }

    /// Of all gateways together.
    #[must_use]
    pub const fn provider(kind: AlertKind) -> Self {
        Self { kind, subject: AlertSubject::Provider }
    }
}

/// The figures behind an alert, as they were when it was raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertCause {
    /// Of [`AlertKind::Silent`].
    Silent {
        /// When it was last heard.
        heard: Timestamp,
        /// Its usual longest pause, ms, where that is known.
        usual_ms: Option<i64>,
        /// The silence that it was allowed, ms.
        allowed_ms: i64,
    },
    /// Of [`AlertKind::MassSilence`].
    MassSilence {
        /// Gateways that fell silent.
        silent: usize,
        /// Gateways that had been heard until then.
        of: usize,
    },
    /// Of [`AlertKind::SensorFault`].
    SensorFault {
        /// When its last reading is of.
        last: Timestamp,
        /// What people call it.
        name: String,
    },
    /// Of [`AlertKind::Clock`].
    Clock {
        /// By how much it is wrong, and what that looks like, in words.
        size: String,
    },
    /// Of [`AlertKind::LowYield`].
    LowYield {
        /// What it gave beside the median of its neighbours, 1 where it is as much.
        share: f64,
        /// What it gave for each kWp, kWh.
        given: f64,
        /// The median of what gateways of its location gave for each kWp, kWh.
        median: f64,
        /// Over so many whole days.
        days: u32,
        /// The inverter behind it that this is about, where it is not all of it.
        inverter: Option<String>,
    },
    /// Of [`AlertKind::Incomplete`].
    Incomplete {
        /// The part of what was expected that was measured, 0 to 1.
        measured: f64,
        /// Over so many whole days.
        days: u32,
    },
    /// Of [`AlertKind::Quarantine`].
    Quarantine {
        /// Documents refused within a day, at the least.
        documents: usize,
    },
}

/// What people write beside an alert or a maintenance window: 1 to 1,000 characters,
/// on as many lines as they like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

impl Note {
    /// Characters at most.
    pub const LONGEST: usize = 1_000;

    /// Parses a text; white space at its ends is cut.
    ///
    /// # Errors
    /// When it is empty, too long or has characters that are not seen.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim().replace("\r\n", "\n");
        check_prose("text", &text, Self::LONGEST)?;
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Note {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

/// Who took an alert up, and when. A reference, never a name, which may be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: UserId,
}

/// When an alert was over, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEnd {
    /// When.
    pub at: Timestamp,
    /// Who; `None` where it was over by itself.
    pub by: Option<UserId>,
}

/// What somebody wrote beside an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertComment {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: UserId,
    /// What.
    pub text: Note,
}

/// Something that was wrong for long enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id, by custom of the time at which it was raised.
    pub id: AlertId,
    /// What about and of what.
    pub key: AlertKey,
    /// The figures behind it.
    pub cause: AlertCause,
    /// Since when it was so.
    pub since: Timestamp,
    /// When it was raised.
    pub raised: Timestamp,
    /// Who took it up first.
    pub acknowledged: Option<Acknowledgement>,
    /// When it was over.
    pub resolved: Option<AlertEnd>,
    /// What people wrote, in order.
    pub comments: Vec<AlertComment>,
    /// The evaluation that raised or resolved it, until people were told.
    pub untold: Option<Timestamp>,
}

/// Why something cannot be done with an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlertRefusal {
    /// It is over.
    #[error("the alert is resolved already")]
    Resolved,
    /// Somebody was faster.
    #[error("the alert is acknowledged already")]
    Acknowledged,
    /// Nobody reads so many.
    #[error("an alert has {} comments and {} bytes of them at most", Alert::COMMENTS, Alert::COMMENT_BYTES)]
    TooManyComments,
}

impl Alert {
    /// Comments at most.
    pub const COMMENTS: usize = 100;
    /// Bytes of their texts at most: an alert is one small record.
    pub const COMMENT_BYTES: usize = 16 * 1024;

    /// One that is raised now.
    #[must_use]
    pub const fn raise(id: AlertId, key: AlertKey, cause: AlertCause, since: Timestamp, now: Timestamp) -> Self {
        let untold = Some(now);
        Self { id, key, cause, since, raised: now, acknowledged: None, resolved: None, comments: Vec::new(), untold }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> AlertState {
        match (&self.resolved, &self.acknowledged) {
            (Some(_), _) => AlertState::Resolved,
            (None, Some(_)) => AlertState::Acknowledged,
            (None, None) => AlertState::Open,
        }
    }

    /// Whether it is not over.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// Somebody takes it up: nobody is told of it any more.
    ///
    /// # Errors
    /// When it is over, or somebody has done so before.
    pub fn acknowledge(&mut self, by: UserId, at: Timestamp) -> Result<(), AlertRefusal> {
        match self.state() {
            AlertState::Resolved => return Err(AlertRefusal::Resolved),
            AlertState::Acknowledged => return Err(AlertRefusal::Acknowledged),
            AlertState::Open => {}
        }
        self.acknowledged = Some(Acknowledgement { at, by });
        self.untold = None;
        Ok(())
    }

    /// Somebody writes something beside it, also when it is over.
    ///
    /// # Errors
    /// When there are too many comments.
    pub fn comment(&mut self, by: UserId, text: Note, at: Timestamp) -> Result<(), AlertRefusal> {
        let bytes: usize = self.comments.iter().map(|comment| comment.text.as_str().len()).sum();
        if self.comments.len() >= Self::COMMENTS || bytes + text.as_str().len() > Self::COMMENT_BYTES {
            return Err(AlertRefusal::TooManyComments);
        }
        self.comments.push(AlertComment { at, by, text });
        Ok(())
    }

    /// Somebody says that it is over.
    ///
    /// # Errors
    /// When it is already.
    pub fn resolve(&mut self, by: UserId, at: Timestamp) -> Result<(), AlertRefusal> {
        if !self.is_open() {
            return Err(AlertRefusal::Resolved);
        }
        self.resolved = Some(AlertEnd { at, by: Some(by) });
        self.untold = None;
        Ok(())
    }

    /// It is over by itself. Of one that somebody has taken up nobody is told any more.
    pub fn end(&mut self, at: Timestamp) {
        if self.is_open() {
            self.resolved = Some(AlertEnd { at, by: None });
            self.untold = self.acknowledged.is_none().then_some(at);
        }
    }

    /// People were told what an evaluation said of it.
    pub fn told(&mut self, of: Timestamp) {
        self.untold = self.untold.filter(|untold| *untold != of);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::clamped(minute * 60_000)
    }

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn alert() -> Alert {
        let cause = AlertCause::Clock { size: "1 h ahead".to_owned() };
        Alert::raise(AlertId::new(Uuid::from_u128(7)), AlertKey::provider(AlertKind::Clock), cause, minute(0), minute(9))
    }

    #[test]
    fn an_alert_goes_from_open_over_acknowledged_to_resolved() {
        let mut one = alert();
        assert_eq!((one.state(), one.untold), (AlertState::Open, Some(minute(9))));
        one.acknowledge(user(1), minute(10)).unwrap();
        assert_eq!((one.state(), one.untold), (AlertState::Acknowledged, None));
        assert_eq!(one.acknowledge(user(2), minute(11)), Err(AlertRefusal::Acknowledged));
        one.resolve(user(2), minute(12)).unwrap();
        assert_eq!((one.state(), one.resolved), (AlertState::Resolved, Some(AlertEnd { at: minute(12), by: Some(user(2)) })));
        assert_eq!(one.resolve(user(1), minute(13)), Err(AlertRefusal::Resolved));
        assert_eq!(one.acknowledge(user(1), minute(13)), Err(AlertRefusal::Resolved));
        one.end(minute(14));
        assert_eq!(one.resolved.map(|end| end.at), Some(minute(12)), "what is over stays as it ended");
    }

    #[test]
    fn of_what_somebody_has_taken_up_nobody_is_told_again() {
        let mut left_alone = alert();
        left_alone.told(minute(9));
        assert_eq!(left_alone.untold, None);
        left_alone.end(minute(20));
        assert_eq!(left_alone.untold, Some(minute(20)));
        left_alone.told(minute(9));
        assert_eq!(left_alone.untold, Some(minute(20)), "that was about something else");
        let mut taken_up = alert();
        taken_up.acknowledge(user(1), minute(10)).unwrap();
        taken_up.end(minute(20));
        assert_eq!(taken_up.untold, None);
    }

    #[test]
    fn comments_are_bounded_and_may_come_late() {
        let mut one = alert();
        one.end(minute(10));
        for count in 0..Alert::COMMENTS {
            one.comment(user(1), Note::parse(&format!("{count}")).unwrap(), minute(11)).unwrap();
        }
        let refused = one.comment(user(1), Note::parse("x").unwrap(), minute(12));
        assert_eq!((refused, one.comments.len()), (Err(AlertRefusal::TooManyComments), Alert::COMMENTS));
        let (mut long, text) = (alert(), Note::parse(&"x".repeat(Note::LONGEST)).unwrap());
        let kept = (0..Alert::COMMENTS).filter(|_| long.comment(user(1), text.clone(), minute(1)).is_ok()).count();
        assert_eq!(kept, Alert::COMMENT_BYTES / Note::LONGEST);
    }

    #[test]
    fn notes_are_prose() {
        assert_eq!(Note::parse("  two\r\nlines ").unwrap().as_str(), "two\nlines");
        for bad in ["", " \n ", "bell\u{7}", "turned\u{202e}round", &"x".repeat(1_001)] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Note::parse(&"ß".repeat(1_000)).is_ok());
    }
}
