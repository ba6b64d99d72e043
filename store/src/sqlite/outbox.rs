//! Rows of the outbox.

use heliograph_domain::{EmailAddress, OutboxId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{Batch, copy, overwrite};
use crate::error::StoreError;
use crate::outbox::{OutboxKey, OutboxMail, OutboxNew, OutboxRow, OutboxState, erased_recipient};

/// Mails that are looked at for one that can be claimed: as many may be damaged.
const CANDIDATES: usize = 100;

pub(crate) fn put(batch: &mut Batch<'_>, mail: &OutboxNew) -> Result<bool, StoreError> {
    let added = batch.connection.execute(
        "INSERT INTO outbox (id, report, period, recipient, subject, message_id, message, created, state, attempts, due, outcome, crc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'waiting', 0, ?9, '', ?10) ON CONFLICT (report, period, recipient) DO NOTHING",
        params![
            mail.id.to_string(),
            mail.key.report,
            mail.key.period,
            mail.key.recipient.as_str(),
            mail.subject,
            mail.message_id,
            mail.message,
            mail.created.as_millis(),
            mail.due.as_millis(),
            copy::checksum(&mail.id.to_string(), &mail.message),
        ],
    )?;
    batch.config_changed();
    Ok(added == 1)
}

pub(crate) fn contains(connection: &Connection, key: &OutboxKey) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT 1 FROM outbox WHERE report = ?1 AND period = ?2 AND recipient = ?3")?;
    Ok(query.exists(params![key.report, key.period, key.recipient.as_str()])?)
}

/// Claims the next mail that is due. A damaged one is given up, for it would be claimed
/// again and again, and no other would be sent.
pub(crate) fn claim(batch: &mut Batch<'_>, now: Timestamp, until: Timestamp) -> Result<Option<OutboxMail>, StoreError> {
    // As `OutboxRow::is_due` has it.
    let longest = now.plus_millis(OutboxRow::LONGEST_WAIT_MS);
    let mut due = batch.connection.prepare_cached(
        "SELECT id FROM outbox WHERE state = 'waiting' AND (due <= ?1 OR (created <= ?1 AND due > ?2)) ORDER BY due, id LIMIT ?3",
    )?;
    let times = params![now.as_millis(), longest.as_millis(), CANDIDATES];
    let ids: Vec<Option<String>> = due.query_map(times, |row| Ok(row.get(0).ok()))?.collect::<Result<_, _>>()?;
    for id in ids.into_iter().flatten() {
        match claim_one(batch.connection, &id, until) {
            Ok(Some(mail)) => return Ok(Some(mail)),
            // Where its index says that it is due, and it is not.
            Ok(None) => tracing::error!(id, "a mail is damaged and will not be sent"),
            Err(StoreError::Damaged(problem)) => {
                tracing::error!(id, problem, "a mail is damaged and will not be sent");
                let given_up = "UPDATE outbox SET state = 'given-up', outcome = 'it is damaged in the store' WHERE id = ?1";
                let done = overwrite::wholly(batch.connection, || batch.connection.execute(given_up, [&id]));
                if let Err(error) = done {
                    tracing::error!(id, %error, "nor can it be given up");
                }
                batch.config_changed();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn claim_one(connection: &Connection, id: &str, until: Timestamp) -> Result<Option<OutboxMail>, StoreError> {
    let mut claim = connection.prepare_cached("UPDATE outbox SET due = ?2, attempts = attempts + 1 WHERE id = ?1")?;
    // A mail is written anew, elsewhere where its length changes.
    let claimed = overwrite::wholly(connection, || Ok::<_, StoreError>(claim.execute(params![id, until.as_millis()])?))?;
    if claimed == 0 {
        return Ok(None);
    }
    fetch(connection, OutboxId::parse(id)?).map(Some)
}

pub(crate) fn settle(
    batch: &mut Batch<'_>,
    id: OutboxId,
    state: OutboxState,
    outcome: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sent = (state == OutboxState::Sent).then(|| at.as_millis());
    let changed = overwrite::wholly(batch.connection, || {
        batch.connection.execute(
            "UPDATE outbox SET state = ?2, outcome = ?3, due = ?4, sent = ?5 WHERE id = ?1 AND state = 'waiting'",
            params![id.to_string(), state.as_str(), outcome, at.as_millis(), sent],
        )
    })?;
    batch.config_changed();
    // A sender that was held up may find its mail settled by another: that stands.
    if changed == 1 { Ok(()) } else { fetch(batch.connection, id).map(|_| ()) }
}

const COLUMNS: &str = "id, report, period, recipient, subject, message_id, state, attempts, created, due, outcome, sent";

pub(crate) fn list(
    connection: &Connection,
    before: Option<(Timestamp, OutboxId)>,
    limit: usize,
) -> Result<Vec<OutboxRow>, StoreError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE ?1 IS NULL OR (created, id) < (?1, ?2) ORDER BY created DESC, id DESC LIMIT ?3"
    ))?;
    let (created, id) = (before.map(|(created, _)| created.as_millis()), before.map(|(_, id)| id.to_string()));
    let mut rows = query.query(params![created, id, limit])?;
    let mut mails = Vec::new();
    while let Some(row) = rows.next()? {
        mails.push(mail(row)?);
    }
    Ok(mails)
}

/// The mails that somebody wants, read one after the other.
pub(crate) fn select(connection: &Connection, wanted: impl Fn(&OutboxRow) -> bool) -> Result<Vec<OutboxRow>, StoreError> {
    let mut query = connection.prepare(&format!("SELECT {COLUMNS} FROM outbox"))?;
    let mut rows = query.query([])?;
    let mut mails = Vec::new();
    while let Some(row) = rows.next()? {
        mails.extend(Some(mail(row)?).filter(&wanted));
    }
    Ok(mails)
}

/// The mails about ways in and about alerts that can be read.
pub(crate) fn letters(connection: &Connection) -> Result<Vec<OutboxRow>, StoreError> {
    // What lies between a mark and the next text after all that begin with it.
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE (report >= 'letter/' AND report < 'letter0') OR (report >= 'alert/' AND report < 'alert0')"
    ))?;
    let mut rows = query.query([])?;
    let mut mails = Vec::new();
    while let Some(row) = rows.next()? {
        match mail(row) {
            Ok(mail) => mails.push(mail),
            Err(StoreError::Damaged(problem)) => tracing::error!(problem, "a mail is damaged and passed over"),
            Err(error) => return Err(error),
        }
    }
    Ok(mails)
}

/// Takes recipient, subject and text out of a mail, which is never sent then.
pub(crate) fn erase(connection: &Connection, mail: &OutboxRow) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE outbox SET recipient = ?2, subject = 'erased', message = x'', crc = ?3, outcome = '',
             state = CASE WHEN state = 'waiting' THEN 'given-up' ELSE state END WHERE id = ?1",
        )?
        .execute(params![mail.id.to_string(), erased_recipient(mail.id)?.as_str(), copy::checksum(&mail.id.to_string(), &[])])?;
    Ok(())
}

pub(crate) fn fetch(connection: &Connection, id: OutboxId) -> Result<OutboxMail, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS}, message, crc FROM outbox WHERE id = ?1"))?;
    let mut rows = query.query([id.to_string()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound("mail"))?;
    let found = OutboxMail { row: mail(row)?, message: row.get(12)? };
    copy::verify(&id.to_string(), &found.message, row.get(13)?, "mail")?;
    Ok(found)
}

fn mail(row: &Row<'_>) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        id: OutboxId::parse(&row.get::<_, String>(0)?)?,
        key: OutboxKey { report: row.get(1)?, period: row.get(2)?, recipient: EmailAddress::parse(&row.get::<_, String>(3)?)? },
        subject: row.get(4)?,
        message_id: row.get(5)?,
        state: OutboxState::parse(&row.get::<_, String>(6)?)?,
        attempts: row.get(7)?,
        created: Timestamp::clamped(row.get(8)?),
        due: Timestamp::clamped(row.get(9)?),
        outcome: row.get(10)?,
        sent: row.get::<_, Option<i64>>(11)?.map(Timestamp::clamped),
    })
}
