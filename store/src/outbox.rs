//! Mails that are due, being sent or sent.

use heliograph_domain::{CustomerId, EmailAddress, OutboxId, Timestamp, UserId};

use crate::archive::tables::Cell;
use crate::catalog::archive::{Cells, or_null, text, time};
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

impl OutboxKey {
    /// The key of a report about a customer, who is part of it, because several may
    /// share an address.
    #[must_use]
    pub fn about(customer: CustomerId, report: &str, period: String, recipient: EmailAddress) -> Self {
        Self { report: format!("{report}/{customer}"), period, recipient }
    }

    /// How the reports of mails about alerts begin; whose it is stands behind that.
    pub(crate) const ALERT: &str = "alert/";

    /// The key of a mail that tells somebody what one evaluation said of alerts.
    #[must_use]
    pub fn of_alerts(user: UserId, evaluated: Timestamp, recipient: EmailAddress) -> Self {
        Self { report: format!("{}{user}", Self::ALERT), period: evaluated.to_string(), recipient }
    }

    /// What people call the mail: `daily`, `invitation`. Behind the last slash stands whose
    /// it is.
    #[must_use]
    pub fn report_name(&self) -> &str {
        let report = self.report.rsplit_once('/').map_or(self.report.as_str(), |(report, _)| report);
        report.rsplit_once('/').map_or(report, |(_, name)| name)
    }

    /// Whether the mail is a report about a customer.
    #[must_use]
    pub fn is_about(&self, customer: CustomerId) -> bool {
        self.report.rsplit_once('/').is_some_and(|(_, id)| id == customer.to_string())
    }
}

/// The address of nobody that stands in an erased mail.
pub(crate) fn erased_recipient(id: OutboxId) -> Result<EmailAddress, StoreError> {
    Ok(EmailAddress::parse(&format!("erased-{id}@erased.invalid"))?)
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

impl OutboxRow {
    /// No mail waits longer than this for its next attempt, ms.
    pub const LONGEST_WAIT_MS: i64 = 24 * 60 * 60_000;

    /// Whether it is to be tried at `now`, if it waits. One that was made by then and
    /// is due later than anything waits was put off by a clock that was far ahead. A
    /// mail that is made later yet says that it is `now` which is wrong.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.due <= now || (self.created <= now && self.due > now.plus_millis(Self::LONGEST_WAIT_MS))
    }
}

/// A mail claimed for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMail {
    /// The row.
    pub row: OutboxRow,
    /// The whole message.
    pub message: Vec<u8>,
}

impl OutboxMail {
    /// Its row of an archive.
    pub(crate) fn archived(self) -> Vec<Cell> {
        let OutboxRow { id, key, subject, message_id, state, attempts, created, due, outcome, sent } = self.row;
        vec![
            text(id),
            text(key.report),
            text(key.period),
            text(key.recipient),
            text(subject),
            text(message_id),
            Cell::Bytes(self.message),
            time(created),
            text(state.as_str()),
            Cell::Int(attempts.into()),
            time(due),
            text(outcome),
            or_null(sent, time),
        ]
    }

    /// A mail from such a row.
    pub(crate) fn unarchived(cells: &mut Cells) -> Result<Self, StoreError> {
        let id = cells.parse(OutboxId::parse)?;
        let key = OutboxKey { report: cells.text()?, period: cells.text()?, recipient: cells.parse(EmailAddress::parse)? };
        let (subject, message_id, message) = (cells.text()?, cells.text()?, cells.bytes()?);
        let (created, state, attempts) = (cells.time()?, cells.parse(OutboxState::parse)?, cells.small()?);
        let (due, outcome, sent) = (cells.time()?, cells.text()?, cells.time_or_none()?);
        let row = OutboxRow { id, key, subject, message_id, state, attempts, created, due, outcome, sent };
        Ok(Self { row, message })
    }
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
    /// then it is due again, for the claimer may have died. Counts an attempt. Where a
    /// mail was put off for longer than [`OutboxRow::LONGEST_WAIT_MS`], that counts for
    /// nothing: a clock was wrong.
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
        self.outbox_list_before(None, limit).await
    }

    /// The newest mails of those that were made before one, by when that was made and its
    /// id. No more is read than is answered; fewer than wanted are the last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outbox_list_before(
        &self,
        before: Option<(Timestamp, OutboxId)>,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::outbox::list(connection, before, limit)).await,
            Backend::Cassandra(db) => db.outbox_list(before, limit).await,
        }
    }

    /// The mails of a customer, the newest first: reports about it, whoever they went
    /// to, and what went to an address that nobody but it and its people has.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such customer.
    pub async fn outbox_list_by_customer(&self, customer: CustomerId) -> Result<Vec<OutboxRow>, StoreError> {
        let mut mails = match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::customer::mails(connection, customer)).await?,
            Backend::Cassandra(db) => db.customer_mails(customer).await?,
        };
        mails.sort_by_key(|mail| std::cmp::Reverse((mail.created, mail.id)));
        Ok(mails)
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
