//! Mails. The mail itself stands under the digest of its key, so that there is one
//! of a kind, and is what all conditions are on. Before it is written, signs are
//! put up that lead to it: one among what waits, one in the month it was made in,
//! one by its id. They go by themselves where no mail follows.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{EmailAddress, OutboxId, Timestamp};
use scylla::DeserializeRow;
use scylla::value::CqlTimestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::conditional::applied;
use super::{Database, at};
use crate::catalog::month_of;
use crate::customer::TheirMails;
use crate::error::StoreError;
use crate::outbox::{OutboxKey, OutboxMail, OutboxNew, OutboxRow, OutboxState, erased_recipient};

/// What waits.
const WAITING: &str = "waiting";
/// The months in which mails were made.
const MONTHS: &str = "months";
/// Where a mail stands in its own partition.
const MAIL: &str = "mail";
/// How long a sign stays that no mail has followed, in seconds.
const SIGN_TTL: i32 = 86_400;
/// A sign that stays.
const NO_TTL: i32 = 0;
/// A place behind those of all mails.
const AFTER_ALL: &str = "~";
/// Mails that are looked up at once.
const AT_ONCE: usize = 16;

const SELECT: &str = "SELECT id, report, period, recipient, subject, message_id, state, attempts, created, due, outcome, sent
     FROM @.outbox WHERE part = ? AND place = 'mail'";
const SELECT_MESSAGE: &str = "SELECT message FROM @.outbox WHERE part = ? AND place = 'mail'";

#[derive(DeserializeRow)]
struct Columns {
    id: Uuid,
    report: String,
    period: String,
    recipient: String,
    subject: String,
    message_id: String,
    state: String,
    attempts: i32,
    created: CqlTimestamp,
    due: CqlTimestamp,
    outcome: String,
    sent: Option<CqlTimestamp>,
}

impl TryFrom<Columns> for OutboxRow {
    type Error = StoreError;
    fn try_from(row: Columns) -> Result<Self, StoreError> {
        Ok(Self {
            id: OutboxId::new(row.id),
            key: OutboxKey { report: row.report, period: row.period, recipient: EmailAddress::parse(&row.recipient)? },
            subject: row.subject,
            message_id: row.message_id,
            state: OutboxState::parse(&row.state)?,
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            created: Timestamp::clamped(row.created.0),
            due: Timestamp::clamped(row.due.0),
            outcome: row.outcome,
            sent: row.sent.map(|sent| Timestamp::clamped(sent.0)),
        })
    }
}

/// What the signs of a mail say.
#[derive(Debug, Clone, Copy)]
struct Signs {
    id: OutboxId,
    created: Timestamp,
    due: Timestamp,
}

impl Database {
    pub(crate) async fn outbox_put(&self, mail: OutboxNew) -> Result<bool, StoreError> {
        let part = part_of(&mail.key);
        if let Some(there) = self.mail_row(&part).await? {
            self.confirm_signs(&part, &there).await?;
            return Ok(false);
        }
        let signs = Signs { id: mail.id, created: mail.created, due: mail.due };
        self.put_signs(&part, signs, SIGN_TTL).await?;
        let cql =
            "INSERT INTO @.outbox (part, place, id, report, period, recipient, subject, message_id, message, state, attempts,
             created, due, outcome) VALUES (?, 'mail', ?, ?, ?, ?, ?, ?, ?, 'waiting', 0, ?, ?, '') IF NOT EXISTS";
        let OutboxKey { report, period, recipient } = &mail.key;
        let (id, created, due) = (mail.id.as_uuid(), at(mail.created), at(mail.due));
        let (recipient, subject) = (recipient.as_str(), &mail.subject);
        let values = (&part, id, report, period, recipient, subject, &mail.message_id, &mail.message, created, due);
        let kept = applied(self.execute(cql, values).await?)?;
        if kept {
            self.put_signs(&part, signs, NO_TTL).await?;
        } else if let Some(there) = self.mail_row(&part).await? {
            // The sign among what waits is now ours, and goes with us.
            self.confirm_signs(&part, &there).await?;
        }
        Ok(kept)
    }

    /// Lets the signs of a mail that is there stay, where they would go by themselves:
    /// whoever put it may never have learned that it did.
    async fn confirm_signs(&self, part: &str, there: &OutboxRow) -> Result<(), StoreError> {
        let cql = "SELECT TTL(mail) FROM @.outbox WHERE part = ? LIMIT 1";
        let by_id = self.row::<(Option<i32>,)>(cql, (by_id(there.id),)).await?;
        let cql = "SELECT TTL(mail) FROM @.outbox WHERE part = ? AND place = ?";
        let waiting = self.row::<(Option<i32>,)>(cql, (WAITING, part)).await?;
        let stays = |sign: &Option<(Option<i32>,)>| matches!(sign, Some((None,)));
        let waits = there.state == OutboxState::Waiting;
        if stays(&by_id) && (!waits || stays(&waiting)) {
            return Ok(());
        }
        self.put_signs(part, Signs { id: there.id, created: there.created, due: there.due }, NO_TTL).await?;
        if waits { Ok(()) } else { self.take_sign(WAITING, part).await }
    }

    async fn put_signs(&self, part: &str, of: Signs, ttl: i32) -> Result<(), StoreError> {
        let month = month_of(of.created);
        let made = (format!("made:{month}"), place_of(of.created, of.id));
        let signs = [(WAITING.to_owned(), part.to_owned()), made, (by_id(of.id), part.to_owned())];
        for (sign, place) in signs {
            self.put_sign(&sign, &place, part, of.due, ttl).await?;
        }
        self.put_sign(MONTHS, &month, part, of.due, NO_TTL).await
    }

    async fn put_sign(&self, sign: &str, place: &str, mail: &str, due: Timestamp, ttl: i32) -> Result<(), StoreError> {
        let cql = "INSERT INTO @.outbox (part, place, mail, due) VALUES (?, ?, ?, ?) USING TTL ?";
        self.execute(cql, (sign, place, mail, at(due), ttl)).await.map(drop)
    }

    async fn take_sign(&self, sign: &str, place: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM @.outbox WHERE part = ? AND place = ?", (sign, place)).await.map(drop)
    }

    pub(crate) async fn outbox_contains(&self, key: &OutboxKey) -> Result<bool, StoreError> {
        Ok(self.mail_row(&part_of(key)).await?.is_some())
    }

    pub(crate) async fn outbox_claim(&self, now: Timestamp, until: Timestamp) -> Result<Option<OutboxMail>, StoreError> {
        let cql = "SELECT place, due, TTL(due) FROM @.outbox WHERE part = ?";
        let mut signs: Vec<(String, Option<CqlTimestamp>, Option<i32>)> = self.all(cql, (WAITING,)).await?;
        let waits = now.as_millis() + 1..=now.plus_millis(OutboxRow::LONGEST_WAIT_MS).as_millis();
        signs.retain(|(_, due, _)| due.is_some_and(|due| !waits.contains(&due.0)));
        signs.sort_by_key(|(_, due, _)| due.map(|due| due.0));
        for (part, due, ttl) in signs {
            // A sign without a mail is of one that is just being put, or never was.
            let Some(row) = self.mail_row(&part).await? else { continue };
            if ttl.is_some() {
                self.confirm_signs(&part, &row).await?;
            }
            if row.state != OutboxState::Waiting {
                self.take_sign(WAITING, &part).await?;
            } else if !row.is_due(now) {
                if due != Some(at(row.due)) {
                    self.put_sign(WAITING, &part, &part, row.due, NO_TTL).await?;
                }
            } else if let Some(mail) = self.claim_mail(&part, row, until).await? {
                return Ok(Some(mail));
            }
        }
        Ok(None)
    }

    /// Claims one mail; `None` where another sender was faster.
    async fn claim_mail(&self, part: &str, row: OutboxRow, until: Timestamp) -> Result<Option<OutboxMail>, StoreError> {
        let cql = "UPDATE @.outbox SET due = ?, attempts = ? WHERE part = ? AND place = 'mail' IF state = 'waiting' AND due = ? AND attempts = ?";
        let attempts = i32::try_from(row.attempts).unwrap_or(i32::MAX);
        let values = (at(until), attempts.saturating_add(1), part, at(row.due), attempts);
        if !applied(self.execute(cql, values).await?)? {
            return Ok(None);
        }
        self.put_sign(WAITING, part, part, until, NO_TTL).await?;
        let message = self.message(part).await?;
        Ok(Some(OutboxMail { row: OutboxRow { attempts: row.attempts + 1, due: until, ..row }, message }))
    }

    pub(crate) async fn outbox_settle(
        &self,
        id: OutboxId,
        state: OutboxState,
        outcome: &str,
        when: Timestamp,
    ) -> Result<(), StoreError> {
        let (part, _) = self.mail_by_id(id).await?;
        let sent = (state == OutboxState::Sent).then(|| at(when));
        let cql = "UPDATE @.outbox SET state = ?, outcome = ?, due = ?, sent = ? WHERE part = ? AND place = 'mail' IF state = 'waiting'";
        // A sender that was held up may find its mail settled by another: that stands.
        if !applied(self.execute(cql, (state.as_str(), outcome, at(when), sent, &part)).await?)? {
            return Ok(());
        }
        match state {
            OutboxState::Waiting => self.put_sign(WAITING, &part, &part, when, NO_TTL).await,
            OutboxState::Sent | OutboxState::GivenUp => self.take_sign(WAITING, &part).await,
        }
    }

    pub(crate) async fn outbox_list(
        &self,
        before: Option<(Timestamp, OutboxId)>,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let months: Vec<(String,)> = self.all("SELECT place FROM @.outbox WHERE part = ?", (MONTHS,)).await?;
        let last = before.map(|(created, _)| month_of(created));
        let mut before = before.map_or_else(|| AFTER_ALL.to_owned(), |(created, id)| place_of(created, id));
        let mut mails: Vec<OutboxRow> = Vec::new();
        for (month,) in months.into_iter().filter(|(month,)| last.as_ref().is_none_or(|last| month <= last)) {
            // Signs without a mail are passed over: others are looked for in their stead.
            while mails.len() < limit {
                let wanted = limit - mails.len();
                let cql = "SELECT place, mail FROM @.outbox WHERE part = ? AND place < ? LIMIT ?";
                let values = (format!("made:{month}"), &before, i32::try_from(wanted).unwrap_or(i32::MAX));
                let signs: Vec<(String, Option<String>)> = self.all(cql, values).await?;
                let Some((place, _)) = signs.last() else { break };
                before.clone_from(place);
                let are_last = signs.len() < wanted;
                mails.extend(self.mails_of(signs).await?);
                if are_last {
                    break;
                }
            }
        }
        Ok(mails)
    }

    /// The mails that signs of a month lead to.
    async fn mails_of(&self, signs: Vec<(String, Option<String>)>) -> Result<Vec<OutboxRow>, StoreError> {
        let lookup = |(place, part): (String, Option<String>)| async move {
            let row = self.mail_row(&part.unwrap_or_default()).await?;
            Ok::<_, StoreError>(row.filter(|row| place.ends_with(&row.id.to_string())))
        };
        let found: Vec<Option<OutboxRow>> = stream::iter(signs).map(lookup).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(crate) async fn outbox_fetch(&self, id: OutboxId) -> Result<OutboxMail, StoreError> {
        let (part, row) = self.mail_by_id(id).await?;
        Ok(OutboxMail { row, message: self.message(&part).await? })
    }

    /// The partitions of all mails, in the order of their ids.
    pub(super) async fn outbox_places(&self) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String, String, Option<Uuid>)> = self.all("SELECT part, place, id FROM @.outbox", ()).await?;
        let mails = rows.into_iter().filter(|(_, place, _)| place == MAIL);
        let mut mails: Vec<(Uuid, String)> = mails.filter_map(|(part, _, id)| Some((id?, part))).collect();
        mails.sort_unstable();
        Ok(mails.into_iter().map(|(_, part)| part).collect())
    }

    /// The mail of a partition.
    pub(super) async fn outbox_at(&self, part: &str) -> Result<Option<OutboxMail>, StoreError> {
        let Some(row) = self.mail_row(part).await? else { return Ok(None) };
        Ok(Some(OutboxMail { row, message: self.message(part).await? }))
    }

    /// Keeps a mail as it stands.
    pub(super) async fn outbox_restore(&self, mail: OutboxMail) -> Result<(), StoreError> {
        let OutboxMail { row, message } = mail;
        let part = part_of(&row.key);
        let cql =
            "INSERT INTO @.outbox (part, place, id, report, period, recipient, subject, message_id, message, state, attempts,
             created, due, outcome, sent) VALUES (?, 'mail', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
        let OutboxKey { report, period, recipient } = &row.key;
        let (recipient, attempts) = (recipient.as_str(), i32::try_from(row.attempts).unwrap_or(i32::MAX));
        let (created, due, sent) = (at(row.created), at(row.due), row.sent.map(at));
        let letter = (row.id.as_uuid(), report, period, recipient, &row.subject, &row.message_id, message, row.state.as_str());
        let (id, report, period, recipient, subject, message_id, message, state) = letter;
        let values = (
            &part,
            id,
            report,
            period,
            recipient,
            subject,
            message_id,
            message,
            state,
            attempts,
            created,
            due,
            &row.outcome,
            sent,
        );
        self.execute(cql, values).await?;
        let month = month_of(row.created);
        let made = (format!("made:{month}"), place_of(row.created, row.id));
        let waiting = (row.state == OutboxState::Waiting).then(|| (WAITING.to_owned(), part.clone()));
        for (sign, place) in waiting.into_iter().chain([made, (by_id(row.id), part.clone()), (MONTHS.to_owned(), month)]) {
            self.put_sign(&sign, &place, &part, row.due, NO_TTL).await?;
        }
        Ok(())
    }

    /// The mails of a customer, and the partitions that they stand in.
    pub(super) async fn outbox_of(&self, theirs: &TheirMails) -> Result<Vec<(String, OutboxRow)>, StoreError> {
        let lookup = |part: String| async move {
            let row = self.mail_row(&part).await?.filter(|row| theirs.contains(row));
            Ok::<_, StoreError>(row.map(|row| (part, row)))
        };
        let places = self.outbox_places().await?;
        let found: Vec<Option<_>> = stream::iter(places).map(lookup).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Erases recipient, subject and text of all mails of a customer; answers how
    /// many there were. A mail stands under a digest of its recipient, so each is
    /// kept anew under its id and then removed.
    pub(crate) async fn outbox_erase(&self, theirs: &TheirMails) -> Result<usize, StoreError> {
        let found = self.outbox_of(theirs).await?;
        let erased = found.len();
        for (part, row) in found {
            let recipient = erased_recipient(row.id)?;
            let state = if row.state == OutboxState::Waiting { OutboxState::GivenUp } else { row.state };
            let (id, key) = (row.id, OutboxKey { recipient, ..row.key });
            let row = OutboxRow { key, state, subject: "erased".to_owned(), outcome: String::new(), ..row };
            self.outbox_restore(OutboxMail { row, message: Vec::new() }).await?;
            self.take_sign(WAITING, &part).await?;
            self.take_sign(&by_id(id), &part).await?;
            // Conditional, as what was written there: its timestamps are the cluster's.
            self.execute("DELETE FROM @.outbox WHERE part = ? AND place = 'mail' IF EXISTS", (&part,)).await?;
        }
        Ok(erased)
    }

    /// A mail and the partition that it stands in.
    async fn mail_by_id(&self, id: OutboxId) -> Result<(String, OutboxRow), StoreError> {
        let cql = "SELECT mail FROM @.outbox WHERE part = ? LIMIT 1";
        let sign = self.row::<(Option<String>,)>(cql, (by_id(id),)).await?;
        let part = sign.and_then(|(part,)| part).ok_or(StoreError::NotFound("mail"))?;
        let row = self.mail_row(&part).await?.filter(|row| row.id == id).ok_or(StoreError::NotFound("mail"))?;
        Ok((part, row))
    }

    async fn mail_row(&self, part: &str) -> Result<Option<OutboxRow>, StoreError> {
        self.row::<Columns>(SELECT, (part,)).await?.map(OutboxRow::try_from).transpose()
    }

    async fn message(&self, part: &str) -> Result<Vec<u8>, StoreError> {
        let message = self.row::<(Option<Vec<u8>>,)>(SELECT_MESSAGE, (part,)).await?;
        Ok(message.and_then(|(message,)| message).unwrap_or_default())
    }
}

/// Where the sign of a mail stands among those of its month.
fn place_of(created: Timestamp, id: OutboxId) -> String {
    format!("{:020} {id}", created.as_millis())
}

fn by_id(id: OutboxId) -> String {
    format!("id:{id}")
}

/// The partition of the one mail of a key. Each part goes in with its length, so
/// that no two keys run together alike.
fn part_of(key: &OutboxKey) -> String {
    let mut digest = Sha256::new();
    for part in [key.report.as_str(), key.period.as_str(), key.recipient.as_str()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().iter().fold(format!("{MAIL}:"), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
