//! Mails about somebody's way in, which are written as they are sent.
//!
//! What waits in the outbox is the order alone. The link in such a mail is made when the
//! mail goes out, so that no outbox, preview or archive holds one that works.

use heliograph_domain::{EmailAddress, OutboxId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::outbox::{OutboxKey, OutboxMail, OutboxNew};
use crate::store::ProviderStore;

const HOUR_MS: i64 = 60 * 60_000;
/// Somebody who asks again within a quarter of an hour gets no second mail.
const ASKED_AGAIN_MS: i64 = HOUR_MS / 4;

/// What such a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterKind {
    /// Somebody was added, or is to be let in anew, and gets a link.
    Invitation,
    /// Somebody has lost their password, and gets a link.
    PasswordReset,
    /// A password was set: its owner is told, in case it was somebody else.
    PasswordChanged,
    /// A second step was set up.
    SecondStepOn,
    /// A second step was taken away.
    SecondStepOff,
}

impl LetterKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Invitation, Self::PasswordReset, Self::PasswordChanged, Self::SecondStepOn, Self::SecondStepOff];

    /// The text that stands for it in the outbox.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::PasswordReset => "password-reset",
            Self::PasswordChanged => "password-changed",
            Self::SecondStepOn => "second-step-on",
            Self::SecondStepOff => "second-step-off",
        }
    }

    /// What lists call the mail.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Invitation => "Your access to the panel",
            Self::PasswordReset => "A link for a new password",
            Self::PasswordChanged => "Your password was changed",
            Self::SecondStepOn => "A second step was set up",
            Self::SecondStepOff => "The second step was taken away",
        }
    }

    /// How long the link in it works, ms; `None` where there is none. Who is invited may
    /// be away for a weekend; who asks for a new password waits for it.
    #[must_use]
    pub const fn link_ms(self) -> Option<i64> {
        match self {
            Self::Invitation => Some(72 * HOUR_MS),
            Self::PasswordReset => Some(HOUR_MS),
            Self::PasswordChanged | Self::SecondStepOn | Self::SecondStepOff => None,
        }
    }

    /// How long after it was ordered the mail is of use, ms.
    #[must_use]
    pub const fn wanted_ms(self) -> i64 {
        match self {
            Self::PasswordReset => HOUR_MS,
            _ => 72 * HOUR_MS,
        }
    }
}

/// The order of such a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// What it is about.
    pub kind: LetterKind,
    /// Whose way in.
    pub user: UserId,
    /// Where the panel is, as its own settings say: never what a request says.
    pub panel: Option<String>,
}

impl Letter {
    /// The order that a mail of the outbox is; `None` where it is a whole message.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it should be one and cannot be read.
    pub fn read(mail: &OutboxMail) -> Result<Option<Self>, StoreError> {
        if !Self::is_one(&mail.row.key) {
            return Ok(None);
        }
        let damaged = |error: serde_json::Error| StoreError::Damaged(format!("mail {}: {error}", mail.row.id));
        serde_json::from_slice(&mail.message).map(Some).map_err(damaged)
    }

    /// Whether a mail with this key is written as it is sent.
    #[must_use]
    pub fn is_one(key: &OutboxKey) -> bool {
        key.report.split_once('/').is_some_and(|(kind, _)| LetterKind::ALL.iter().any(|known| known.as_str() == kind))
    }

    /// What makes it the one mail of its kind: a link that is asked for again and again is
    /// sent once in a quarter of an hour, everything else each time.
    fn key(&self, recipient: EmailAddress, now: Timestamp) -> OutboxKey {
        let at = match self.kind {
            LetterKind::PasswordReset => Timestamp::clamped(now.as_millis().div_euclid(ASKED_AGAIN_MS) * ASKED_AGAIN_MS),
            _ => now,
        };
        OutboxKey { report: format!("{}/{}", self.kind.as_str(), self.user), period: at.to_string(), recipient }
    }
}

impl ProviderStore {
    /// Orders a mail about somebody's way in; false where it was ordered already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn letter_order(
        &self,
        id: OutboxId,
        letter: &Letter,
        recipient: EmailAddress,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let message = serde_json::to_vec(letter).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let subject = letter.kind.title().to_owned();
        let key = letter.key(recipient, now);
        self.outbox_put(OutboxNew { id, key, subject, message_id: String::new(), message, created: now, due: now }).await
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::time_ordered_uuid;

    use super::*;

    #[test]
    fn a_link_is_ordered_once_in_a_quarter_of_an_hour_and_anything_else_each_time() {
        let minute = |minute: i64| Timestamp::clamped(1_795_176_000_000 + minute * 60_000);
        let user = UserId::new(time_ordered_uuid(minute(0), &[7; 10]));
        let key = |kind, at| Letter { kind, user, panel: None }.key(EmailAddress::parse("anna@example.com").unwrap(), minute(at));
        assert_eq!(key(LetterKind::PasswordReset, 1), key(LetterKind::PasswordReset, 14));
        assert_ne!(key(LetterKind::PasswordReset, 1), key(LetterKind::PasswordReset, 16));
        for kind in LetterKind::ALL.into_iter().filter(|kind| *kind != LetterKind::PasswordReset) {
            assert_ne!(key(kind, 1), key(kind, 2), "{kind:?}");
        }
    }

    #[test]
    fn orders_are_told_from_messages_by_their_key() {
        let key = |report: &str| OutboxKey {
            report: report.to_owned(),
            period: String::new(),
            recipient: EmailAddress::parse("anna@example.com").unwrap(),
        };
        for kind in LetterKind::ALL {
            assert!(Letter::is_one(&key(&format!("{}/x", kind.as_str()))));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!(!Letter::is_one(&key("daily/x")));
        assert!(!Letter::is_one(&key("invitation")));
    }
}
