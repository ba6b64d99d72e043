//! Whether the trail is as it was written: looked through by one task at a time, kept
//! for a while, because it takes a walk over all of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use heliograph_domain::Timestamp;
use heliograph_store::{AuditHead, AuditVerdict, StoreError};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::error::Refusal;
use crate::panel::Panel;

/// How long a verdict is shown before the trail is looked through anew.
const FRESH_MS: i64 = 10_000;
/// And this many times as long as that took.
const REST: i64 = 20;
/// How long a page waits for it; after that it shows the verdict before.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came of looking a trail through.
#[derive(Debug)]
pub(super) struct Verified {
    /// When.
    pub(super) at: Timestamp,
    /// What was found.
    pub(super) verdict: AuditVerdict,
    /// When the newest entry was made that is as it was written.
    pub(super) newest: Option<Timestamp>,
    fresh_ms: i64,
}

/// Nothing while it is under way; no verdict where the store did not answer.
type Outcome = Option<Option<Arc<Verified>>>;

/// The latest verdict, and who looks for the next one.
#[derive(Default)]
pub(crate) struct Verification {
    state: Mutex<State>,
    /// Whoever asks for it at once takes turns.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    latest: Option<Arc<Verified>>,
    under_way: Option<watch::Receiver<Outcome>>,
}

/// The verdict, some seconds old at most unless looking takes long; `None` where there is
/// none yet.
pub(super) async fn current(panel: &Panel) -> Option<Arc<Verified>> {
    let latest = panel.verification().latest();
    if latest.as_ref().is_some_and(|latest| (0..latest.fresh_ms).contains(&panel.now().millis_since(latest.at))) {
        return latest;
    }
    let mut under_way = panel.verification().begin(panel);
    let done = tokio::time::timeout(PATIENCE, under_way.wait_for(Option::is_some)).await;
    match done {
        Ok(Ok(outcome)) => outcome.clone().flatten().or(latest),
        _ => latest,
    }
}

/// Looks the trail through now.
pub(super) async fn now(panel: &Panel, noted: Option<AuditHead>) -> Result<Arc<Verified>, Refusal> {
    let _turn = panel.verification().turn.lock().await;
    let verified = walk(panel, noted).await.map(Arc::new)?;
    if noted.is_none() {
        panel.verification().lock().latest = Some(Arc::clone(&verified));
    }
    Ok(verified)
}

async fn walk(panel: &Panel, noted: Option<AuditHead>) -> Result<Verified, StoreError> {
    let begun = Instant::now();
    let verdict = panel.store().audit_verify(noted).await?;
    let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    let newest = panel.store().audit_list(verdict.head.seq, 1).await.unwrap_or_default();
    if let Some(problem) = verdict.problem() {
        tracing::error!(problem, "audit trail is not as it was written");
    }
    Ok(Verified {
        at: panel.now(),
        newest: newest.first().filter(|row| row.seq == verdict.head.seq).map(|row| row.at),
        verdict,
        fresh_ms: took_ms.saturating_mul(REST).max(FRESH_MS),
    })
}

impl Verification {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> Option<Arc<Verified>> {
        self.lock().latest.clone()
    }

    /// The task that looks it through: the one that is under way, or a new one.
    fn begin(&self, panel: &Panel) -> watch::Receiver<Outcome> {
        let mut state = self.lock();
        // Whoever looked may have ended without a word.
        if let Some(under_way) = state.under_way.as_ref().filter(|under_way| under_way.has_changed().is_ok()) {
            return under_way.clone();
        }
        let (tell, told) = watch::channel(None);
        state.under_way = Some(told.clone());
        let panel = panel.clone();
        let look = async move {
            let verified = now(&panel, None).await.map_err(|error| tracing::warn!(?error, "audit trail cannot be verified")).ok();
            panel.verification().lock().under_way = None;
            // Nobody may be waiting any more.
            let _unheard = tell.send(Some(verified));
        };
        tokio::spawn(look.in_current_span());
        told
    }
}
