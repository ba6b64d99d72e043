//! The two ways to run a mailer: once, or until it is told to end.

use std::time::Duration;

use heliograph_store::ProviderStore;
use tokio_util::sync::CancellationToken;

use crate::alert::Evaluator;
use crate::error::MailerError;
use crate::make::make_due;
use crate::outbox::send_due;
use crate::settings::{Clock, MailSettings};
use crate::transport::Session;

/// How often a running mailer looks for work.
const INTERVAL: Duration = Duration::from_secs(30);
/// Making mails takes a lease, so that of several replicas one at a time does
/// the work; one that died at it is replaced after this long.
const LEASE: &str = "mailer";
const LEASE_MS: i64 = 60_000;

/// How long an end may wait for a lease to be given back.
const RELEASE: Duration = Duration::from_secs(1);

/// What a run works with.
pub(crate) struct Run<'a> {
    pub(crate) store: &'a ProviderStore,
    pub(crate) settings: &'a MailSettings,
    pub(crate) clock: &'a Clock,
    /// Told when the process is to end.
    pub(crate) stop: &'a CancellationToken,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunSummary {
    /// Mails put into the outbox.
    pub made: usize,
    /// Customers whose mails could not be made; they are tried at the next run.
    pub failed: usize,
    /// Mails accepted by the other side.
    pub sent: usize,
    /// Mails not accepted, to be tried again.
    pub retried: usize,
    /// Mails that will not be tried again.
    pub given_up: usize,
}

/// Evaluates alerts, makes what is due into the outbox and sends what the outbox holds,
/// once.
/// Whoever else does the same at the same time, each mail is made once and has
/// one sender.
///
/// # Errors
/// [`MailerError::Setting`] where a setting cannot be used, [`MailerError::Store`]
/// where the store cannot be read or written. What goes wrong with a single mail
/// is counted instead, and its reason stands in the outbox.
pub async fn run_once(store: &ProviderStore, settings: &MailSettings, clock: &Clock) -> Result<RunSummary, MailerError> {
    let run = Run { store, settings, clock, stop: &CancellationToken::new() };
    let mut summary = RunSummary::default();
    let mut session = Session::open(settings)?;
    let mut evaluator = Evaluator::new(holder());
    match evaluator.evaluate(&run, &mut summary).await {
        Err(error) if error.is_outage() => return Err(error),
        // What is damaged keeps no summary back.
        Err(error) => tracing::error!(error = chain(&error), "alerts cannot be evaluated"),
        Ok(()) => {}
    }
    evaluator.release(store).await?;
    make_due(&run, &mut summary).await?;
    let sent = send_due(&run, &mut session, &mut summary).await;
    session.close().await;
    sent.map(|()| summary)
}

/// Does as [`run_once`] every 30 seconds until `shutdown`. Several replicas may
/// run at once: one of them makes mails, one evaluates alerts, all of them send. A mail that is on
/// its way at the end gets some seconds more; what is left stays in the outbox.
///
/// # Errors
/// [`MailerError::Setting`] where a setting cannot be used. A store that fails
/// later is logged and tried again.
pub async fn run(
    store: ProviderStore,
    settings: MailSettings,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<(), MailerError> {
    let run = Run { store: &store, settings: &settings, clock: &clock, stop: &shutdown };
    let holder = holder();
    let mut evaluator = Evaluator::new(holder.clone());
    while !shutdown.is_cancelled() {
        let mut session = Session::open(&settings)?;
        let mut summary = RunSummary::default();
        let evaluated = evaluator.evaluate(&run, &mut summary).await;
        let made = make_leased(&run, &holder, &mut summary).await;
        let sent = send_due(&run, &mut session, &mut summary).await;
        session.close().await;
        for error in [evaluated.err(), made.err(), sent.err()].into_iter().flatten() {
            tracing::error!(error = chain(&error), "mailer run failed, will be tried again");
        }
        if summary != RunSummary::default() {
            let RunSummary { made, failed, sent, retried, given_up } = summary;
            tracing::info!(made, failed, sent, retried, given_up, "mailer run ended");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
    if let Ok(Err(error)) = tokio::time::timeout(RELEASE, evaluator.release(&store)).await {
        tracing::warn!(%error, "the lease of alerts cannot be given back and runs out by itself");
    }
    Ok(())
}

fn holder() -> String {
    format!("mailer-{:032x}", rand::random::<u128>())
}

async fn make_leased(run: &Run<'_>, holder: &str, summary: &mut RunSummary) -> Result<(), MailerError> {
    let now = (run.clock)();
    if !run.store.lease_take(LEASE, holder, now, now.plus_millis(LEASE_MS)).await? {
        return Ok(());
    }
    let made = make_due(run, summary).await;
    run.store.lease_release(LEASE, holder).await?;
    made
}

/// An error and what is behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
