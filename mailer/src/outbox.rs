//! Sending what the outbox holds: claim, send, mark.
//!
//! A claim lasts longer than any send, so that a mail whose sender died is due
//! again by itself and no mail has two senders at a time.

use std::time::Duration;

use heliograph_domain::Timestamp;
use heliograph_store::{Letter, OutboxMail, OutboxRow, ProviderStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::error::MailerError;
use crate::letter;
use crate::run::{Run, RunSummary, chain};
use crate::transport::{Failure, FailureKind, LONGEST_SEND, Session};

const MINUTE_MS: i64 = 60_000;
/// How long a claim lasts.
const LEASE_MS: i64 = 5 * MINUTE_MS;
const _: () = assert!(LONGEST_SEND.as_millis() < LEASE_MS as u128, "a claim outlasts any send");
/// The shortest and the longest time between two attempts.
const SHORTEST_WAIT_MS: i64 = MINUTE_MS;
const LONGEST_WAIT_MS: i64 = 6 * 60 * MINUTE_MS;
const _: () = assert!(LONGEST_WAIT_MS < OutboxRow::LONGEST_WAIT_MS, "a mail that waits is not taken for one put off by mistake");
/// A mail that did not get through by then is given up.
const GIVE_UP_AFTER_MS: i64 = 3 * 24 * 60 * MINUTE_MS;
/// How long a mail on its way may hold up the end of the process.
const DRAIN: Duration = Duration::from_secs(8);

/// Sends what is due now, mail by mail, until nothing is left, the way out is
/// closed or `stop` says so. Counts into `summary`.
pub(crate) async fn send_due(run: &Run<'_>, session: &mut Session, summary: &mut RunSummary) -> Result<(), MailerError> {
    let Run { store, clock, stop, .. } = *run;
    let started = clock();
    while !stop.is_cancelled() {
        let until = clock().plus_millis(LEASE_MS);
        let Some(mail) = store.outbox_claim(started, until).await? else { break };
        let Some(mail) = written(run, mail, clock(), summary).await? else { continue };
        let outcome = tokio::select! {
            outcome = session.send(&mail) => outcome,
            () = drained(stop) => {
                mark(|| store.outbox_retry(mail.row.id, "the mailer ended while the mail was on its way", started)).await?;
                break;
            }
        };
        let failed = outcome.as_ref().err().map(|failure| failure.kind);
        settle(store, &mail, outcome, clock(), summary).await?;
        if failed == Some(FailureKind::Unreachable) {
            break;
        }
    }
    Ok(())
}

/// The mail as it is sent: one that was only ordered is written now. `None` where it is
/// of no use any more or cannot be written, which is noted.
async fn written(
    run: &Run<'_>,
    mail: OutboxMail,
    now: Timestamp,
    summary: &mut RunSummary,
) -> Result<Option<OutboxMail>, MailerError> {
    let id = mail.row.id;
    let reason = match Letter::read(&mail) {
        Ok(None) => return Ok(Some(mail)),
        Ok(Some(order)) => match letter::write(run, &order, mail, now).await {
            Ok(Ok(mail)) => return Ok(Some(mail)),
            Ok(Err(reason)) => reason,
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => chain(&error),
        },
        Err(error) => error.to_string(),
    };
    mark(|| run.store.outbox_give_up(id, &reason, now)).await?;
    summary.given_up += 1;
    tracing::warn!(mail = %id, reason, "mail not sent");
    Ok(None)
}

async fn drained(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

async fn settle(
    store: &ProviderStore,
    mail: &OutboxMail,
    outcome: Result<String, Failure>,
    now: Timestamp,
    summary: &mut RunSummary,
) -> Result<(), MailerError> {
    let row = &mail.row;
    let failure = match outcome {
        Ok(answer) => {
            mark(|| store.outbox_sent(row.id, &answer, now)).await?;
            summary.sent += 1;
            tracing::info!(mail = %row.id, report = row.key.report, period = row.key.period, answer, "mail sent");
            return Ok(());
        }
        Err(failure) => failure,
    };
    let reason = failure.reason.as_str();
    match next_attempt(failure.kind, row.created, row.attempts, now, rand::random()) {
        Some(due) => {
            mark(|| store.outbox_retry(row.id, reason, due)).await?;
            summary.retried += 1;
            tracing::warn!(mail = %row.id, attempts = row.attempts, reason, next = %due, "mail not accepted, will be tried again");
        }
        None => {
            mark(|| store.outbox_give_up(row.id, reason, now)).await?;
            summary.given_up += 1;
            tracing::error!(mail = %row.id, attempts = row.attempts, reason, "mail given up");
        }
    }
    Ok(())
}

/// When to try again; `None`: not at all. The last attempt falls on the end of
/// the time that a mail is given.
fn next_attempt(kind: FailureKind, created: Timestamp, attempts: u32, now: Timestamp, jitter: f64) -> Option<Timestamp> {
    let end = created.plus_millis(GIVE_UP_AFTER_MS);
    if kind == FailureKind::Refused || now >= end {
        return None;
    }
    Some(now.plus_millis(backoff(attempts, jitter)).min(end))
}

/// Doubles with each attempt; `jitter` (0 to 1) spreads it by a fifth either
/// way, so that mails that failed together do not come back together.
fn backoff(attempts: u32, jitter: f64) -> i64 {
    let doublings = attempts.saturating_sub(1).min(16);
    let base = (SHORTEST_WAIT_MS << doublings).min(LONGEST_WAIT_MS);
    let spread = (base as f64 * (0.8 + 0.4 * jitter)) as i64;
    spread.clamp(SHORTEST_WAIT_MS, LONGEST_WAIT_MS)
}

/// Writes down what became of a mail. A store that is busy gets some more tries:
/// a mail that was sent but is not marked would be sent again.
async fn mark<F>(write: impl Fn() -> F) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    for pause in [1, 2, 4] {
        match write().await {
            Err(StoreError::Unavailable(reason)) => {
                tracing::warn!(reason, "outbox cannot be written, trying again");
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            settled => return settled,
        }
    }
    write().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_minute_to_six_hours() {
        let minutes = |attempts, jitter| backoff(attempts, jitter) / MINUTE_MS;
        let waits: Vec<_> = [1, 2, 3, 4, 9, 10, 50].map(|attempts| minutes(attempts, 0.5)).into();
        assert_eq!(waits, [1, 2, 4, 8, 256, 360, 360]);
        assert_eq!((backoff(1, 0.0), backoff(u32::MAX, 1.0)), (SHORTEST_WAIT_MS, LONGEST_WAIT_MS));
        assert!(backoff(5, 0.0) < backoff(5, 1.0));
    }

    #[test]
    fn a_mail_is_given_up_when_refused_or_after_three_days() {
        let created = Timestamp::clamped(0);
        let day = 24 * 60 * MINUTE_MS;
        let next = |kind, now| next_attempt(kind, created, 30, Timestamp::clamped(now), 0.5).map(Timestamp::as_millis);
        assert_eq!(next(FailureKind::Refused, 0), None);
        assert_eq!(next(FailureKind::Deferred, 0), Some(LONGEST_WAIT_MS));
        assert_eq!(next(FailureKind::Unreachable, 3 * day - MINUTE_MS), Some(3 * day));
        assert_eq!(next(FailureKind::Deferred, 3 * day), None);
    }
}
