//! Mails that are due, being sent or sent.

use heliograph_domain::{EmailAddress, OutboxId, Timestamp};

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// What makes a mail the one mail of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxKey {
    /// The report, such as `daily`.
    pub report: String,
    /// The period it is about, such as `2026-11-20`.
    pub period: String,
    /// Who gets it.
    pub recipient: EmailAddress,
}

/// A mail to be sent once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxNew {
    /// Its id.
    pub id: OutboxId,
    /// What it is; a second mail with the same key is not kept.
    pub key: OutboxKey,
    /// Its subject, for lists.
    pub subject: String,
    /// Its Message-ID, the same at every attempt.
    pub message_id: String,
    /// The whole message as it goes over the wire (RFC 5322).
    pub message: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// When it is to be sent first.
    pub due: Timestamp,
}

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxState {
    /// Due now or later, or claimed by somebody.
    Waiting,
    /// Accepted.
    Sent,
    /// Not tried again.
    GivenUp,
}

impl OutboxState {
    /// The text that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given-up",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        [Self::Waiting, Self::Sent, Self::GivenUp]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| StoreError::Damaged(format!("{text:?} is no state of a mail")))
    }
}

/// A mail as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its id.
    pub id: OutboxId,
    /// What it is.
    pub key: OutboxKey,
    /// Its subject.
    pub subject: String,
    /// Its Message-ID.
    pub message_id: String,
    /// Where it stands.
    pub state: OutboxState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it is tried next, while it waits.
    pub due: Timestamp,
    /// What the server answered last, or why it was given up.
    pub outcome: String,
    /// When it was sent.
    pub sent: Option<Timestamp>,
}

/// A mail claimed for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMail {
    /// The row.
    pub row: OutboxRow,
    /// The whole message.
    pub message: Vec<u8>,
}

impl ProviderStore {
    /// Keeps a mail to be sent; false where one with its key is there already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn outbox_put(&self, mail: OutboxNew) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::outbox::put(batch, &mail)).await,
            Backend::Cassandra(db) => db.outbox_put(mail).await,
        }
    }

    /// Whether a mail with this key was ever kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outbox_contains(&self, key: &OutboxKey) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let key = key.clone();
                db.read(move |connection| sqlite::outbox::contains(connection, &key)).await
            }
            Backend::Cassandra(db) => db.outbox_contains(key).await,
        }
    }

    /// Claims the mail that is due longest. Until `until` nobody else gets it;
    /// then it is due again, for the claimer may have died. Counts an attempt.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn outbox_claim(&self, now: Timestamp, until: Timestamp) -> Result<Option<OutboxMail>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::outbox::claim(batch, now, until)).await,
            Backend::Cassandra(db) => db.outbox_claim(now, until).await,
        }
    }

    /// Notes that a claimed mail was accepted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such mail.
    pub async fn outbox_sent(&self, id: OutboxId, outcome: &str, at: Timestamp) -> Result<(), StoreError> {
        self.outbox_settle(id, OutboxState::Sent, outcome, at).await
    }

    /// Notes that a claimed mail was not accepted and when to try again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such mail.
    pub async fn outbox_retry(&self, id: OutboxId, outcome: &str, due: Timestamp) -> Result<(), StoreError> {
        self.outbox_settle(id, OutboxState::Waiting, outcome, due).await
    }

    /// Notes that a mail will not be tried again, and why.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such mail.
    pub async fn outbox_give_up(&self, id: OutboxId, outcome: &str, at: Timestamp) -> Result<(), StoreError> {
        self.outbox_settle(id, OutboxState::GivenUp, outcome, at).await
    }

    async fn outbox_settle(&self, id: OutboxId, state: OutboxState, outcome: &str, at: Timestamp) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let outcome = outcome.to_owned();
                db.write(move |batch| sqlite::outbox::settle(batch, id, state, &outcome, at)).await
            }
            Backend::Cassandra(db) => db.outbox_settle(id, state, outcome, at).await,
        }
    }

    /// The newest mails.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outbox_list(&self, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::outbox::list(connection, limit)).await,
            Backend::Cassandra(db) => db.outbox_list(limit).await,
        }
    }

    /// One mail with its message.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn outbox_fetch(&self, id: OutboxId) -> Result<OutboxMail, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::outbox::fetch(connection, id)).await,
            Backend::Cassandra(db) => db.outbox_fetch(id).await,
        }
    }
}
