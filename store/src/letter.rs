//! Mails about somebody's way in, which are written as they are sent.
//!
//! What waits in the outbox is the order alone. The link in such a mail is made when the
//! mail goes out, so that no outbox, preview or archive holds one that works.

use heliograph_domain::{KeyDigest, OutboxId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::StoreError;
use crate::outbox::{OutboxKey, OutboxMail, OutboxNew};
use crate::store::{Backend, ProviderStore};
use crate::user::UserRecord;

const HOUR_MS: i64 = 60 * 60_000;
/// Somebody who asks again within the hour, and has the same password, gets no second
/// mail: the link of the first one works that long.
const ASKED_AGAIN_MS: i64 = HOUR_MS;
/// Such a mail is waited for, so that it is due before any summary, until it was tried.
const BEFORE_OTHERS_MS: i64 = 24 * HOUR_MS;
/// What the key of such a mail begins with, also of kinds that this release does not know.
const MARK: &str = "letter/";
/// The line of the message in which the order stands.
const HEADER: &str = "X-Heliograph-Letter: ";

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
    /// Of the hash of the password when it was ordered: a link for another one is of no
    /// use when that has been changed.
    password: [u8; 32],
}

impl Letter {
    /// Orders a mail to somebody.
    #[must_use]
    pub fn to(user: &UserRecord, kind: LetterKind, panel: Option<String>) -> Self {
        Self { kind, user: user.id, panel, password: password_of(user) }
    }

    /// The order that a mail of the outbox is; `None` where it is a whole message.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it should be one and cannot be read.
    pub fn read(mail: &OutboxMail) -> Result<Option<Self>, StoreError> {
        if !Self::is_one(&mail.row.key) {
            return Ok(None);
        }
        let damaged = |problem: String| StoreError::Damaged(format!("the order of mail {}: {problem}", mail.row.id));
        let text = String::from_utf8_lossy(&mail.message);
        let order = text.lines().find_map(|line| line.strip_prefix(HEADER));
        let order = order.ok_or_else(|| damaged("is not there".to_owned()))?;
        serde_json::from_str(order).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Whether a mail with this key is written as it is sent.
    #[must_use]
    pub fn is_one(key: &OutboxKey) -> bool {
        key.report.starts_with(MARK)
    }

    /// Whether a mail with this key is about the way in of one of these people, or tells
    /// one of them of alerts.
    pub(crate) fn is_about(key: &OutboxKey, is_one: impl Fn(UserId) -> bool) -> bool {
        let letter = key.report.strip_prefix(MARK).and_then(|rest| rest.rsplit_once('/')).map(|(_, user)| user);
        let user = letter.or_else(|| key.report.strip_prefix(OutboxKey::ALERT));
        user.and_then(|user| UserId::parse(user).ok()).is_some_and(is_one)
    }

    /// Whether somebody still has the password, or none, that they had then.
    #[must_use]
    pub fn is_of_password_of(&self, user: &UserRecord) -> bool {
        self.password == password_of(user)
    }

    /// What makes it the one mail of its kind: a link to change the same password that is
    /// asked for again and again is sent once in an hour, everything else each time.
    fn key(&self, user: &UserRecord, now: Timestamp) -> OutboxKey {
        let period = match self.kind {
            LetterKind::PasswordReset => {
                let hour = Timestamp::clamped(now.as_millis().div_euclid(ASKED_AGAIN_MS) * ASKED_AGAIN_MS);
                let password: String = self.password.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                format!("{hour} {password}")
            }
            _ => now.to_string(),
        };
        let report = format!("{MARK}{}/{}", self.kind.as_str(), self.user);
        OutboxKey { report, period, recipient: user.email.clone() }
    }

    /// A message (RFC 5322) that says what to do where it is sent as it stands, by a
    /// mailer that is too old to know what an order is.
    fn message(&self, user: &UserRecord) -> Result<Vec<u8>, StoreError> {
        let order = serde_json::to_string(self).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let (to, subject) = (&user.email, self.kind.title());
        let text = "This mail could not be written. Ask whoever runs the panel for a new link.";
        Ok(format!("{HEADER}{order}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{text}\r\n").into_bytes())
    }
}

fn password_of(user: &UserRecord) -> [u8; 32] {
    KeyDigest::of(user.password_hash.as_deref().unwrap_or_default()).0
}

impl ProviderStore {
    /// Orders a mail about somebody's way in; false where it was ordered already. That
    /// somebody is sent a link stands in the audit trail under whoever ordered it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn letter_order(
        &self,
        id: OutboxId,
        user: &UserRecord,
        letter: &Letter,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (key, message) = (letter.key(user, now), letter.message(user)?);
        if letter.kind == LetterKind::Invitation {
            let event = self.event("user.invite", format_args!("user:{}", user.id), json!({ "mail": id }));
            match &self.backend {
                Backend::Sqlite(db) => db.change(event, |_| Ok(())).await?,
                Backend::Cassandra(db) => db.change(event, |_| Ok(Vec::new())).await?,
            }
        }
        let (subject, due) = (letter.kind.title().to_owned(), now.plus_millis(-BEFORE_OTHERS_MS));
        self.outbox_put(OutboxNew { id, key, subject, message_id: String::new(), message, created: now, due }).await
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{EmailAddress, UserRole, time_ordered_uuid};

    use super::*;
    use crate::outbox::{OutboxRow, OutboxState};

    fn minute(minute: i64) -> Timestamp {
        Timestamp::clamped(1_795_176_000_000 + minute * 60_000)
    }

    fn anna() -> UserRecord {
        UserRecord {
            id: UserId::new(time_ordered_uuid(minute(0), &[7; 10])),
            email: EmailAddress::parse("anna@example.com").unwrap(),
            name: "Anna".to_owned(),
            role: UserRole::Viewer,
            customer: None,
            assignment: None,
            password_hash: Some("one".to_owned()),
            created: minute(0),
        }
    }

    fn mail(letter: &Letter) -> OutboxMail {
        let id = OutboxId::new(time_ordered_uuid(minute(1), &[8; 10]));
        let row = OutboxRow {
            id,
            key: letter.key(&anna(), minute(1)),
            subject: String::new(),
            message_id: String::new(),
            state: OutboxState::Waiting,
            attempts: 0,
            created: minute(1),
            due: minute(1),
            outcome: String::new(),
            sent: None,
        };
        OutboxMail { row, message: letter.message(&anna()).unwrap() }
    }

    #[test]
    fn a_link_is_ordered_once_in_an_hour_and_anything_else_each_time() {
        let key = |kind, at| Letter::to(&anna(), kind, None).key(&anna(), minute(at));
        assert_eq!(key(LetterKind::PasswordReset, 1), key(LetterKind::PasswordReset, 59));
        assert_ne!(key(LetterKind::PasswordReset, 1), key(LetterKind::PasswordReset, 61));
        let other = UserRecord { password_hash: Some("two".to_owned()), ..anna() };
        let anew = Letter::to(&other, LetterKind::PasswordReset, None).key(&other, minute(2));
        assert_ne!(key(LetterKind::PasswordReset, 1), anew, "whoever took the password over has not used the hour up");
        for kind in LetterKind::ALL.into_iter().filter(|kind| *kind != LetterKind::PasswordReset) {
            assert_ne!(key(kind, 1), key(kind, 2), "{kind:?}");
        }
    }

    #[test]
    fn orders_read_back_and_are_told_from_messages_by_their_key() {
        for kind in LetterKind::ALL {
            let letter = Letter::to(&anna(), kind, Some("https://panel.example".to_owned()));
            let mail = mail(&letter);
            assert_eq!(Letter::read(&mail).unwrap(), Some(letter));
            assert!(Letter::is_about(&mail.row.key, |user| user == anna().id));
            assert!(!Letter::is_about(&mail.row.key, |user| user != anna().id));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        let summary = OutboxKey { report: "daily/x".to_owned(), period: String::new(), recipient: anna().email };
        assert!(!Letter::is_one(&summary));
    }

    #[test]
    fn an_order_of_a_kind_that_is_not_known_yet_is_no_message() {
        let mut mail = mail(&Letter::to(&anna(), LetterKind::Invitation, None));
        mail.message = String::from_utf8(mail.message).unwrap().replace("invitation", "farewell").into_bytes();
        assert!(matches!(Letter::read(&mail), Err(StoreError::Damaged(_))));
        mail.message.clear();
        assert!(matches!(Letter::read(&mail), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn an_order_knows_the_password_that_it_was_for() {
        let letter = Letter::to(&anna(), LetterKind::Invitation, None);
        assert!(letter.is_of_password_of(&anna()));
        for other in [Some("two".to_owned()), None] {
            assert!(!letter.is_of_password_of(&UserRecord { password_hash: other, ..anna() }));
        }
    }
}
