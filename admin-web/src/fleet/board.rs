//! The figures of the whole fleet, computed once for all who may see all of it.
//!
//! They take a read of every gateway, far too much for each request. So they are shown
//! for some seconds as they are, then for a while longer while one task computes them
//! anew, and only where they are older than that somebody waits for them. Nobody else
//! is shown them: what a customer sees is computed for that customer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heliograph_domain::Timestamp;
use heliograph_report::{FleetFigures, ReportError, Scope};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::error::Refusal;
use crate::panel::Panel;

/// Figures are shown this long before they are computed anew.
const FRESH_MS: i64 = 10_000;
/// And this many times as long as computing them took, so that it never takes more than
/// a part of the processor; but no longer than until they are waited for.
const REST: i64 = 10;
/// Figures that are older than this are waited for.
const STALE_MS: i64 = 120_000;

/// The latest figures, and who computes the next ones.
#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latest: Option<Computed>,
    under_way: Option<watch::Receiver<Outcome>>,
}

#[derive(Clone)]
struct Computed {
    figures: Arc<FleetFigures>,
    /// For how long they are fresh.
    fresh_ms: i64,
}

/// What has come of computing; nothing while it is under way.
type Outcome = Option<Result<Arc<FleetFigures>, ReportError>>;

/// The figures of the whole fleet, a few seconds old at most where somebody has looked
/// within the last two minutes.
pub(super) async fn figures(panel: &Panel) -> Result<Arc<FleetFigures>, Refusal> {
    let board = panel.board();
    match board.latest(panel.now()) {
        Some((figures, Age::Fresh)) => Ok(figures),
        Some((figures, Age::Stale)) => {
            drop(board.renewal(panel));
            Ok(figures)
        }
        None => wait(board.renewal(panel)).await,
    }
}

async fn wait(mut under_way: watch::Receiver<Outcome>) -> Result<Arc<FleetFigures>, Refusal> {
    let ended = || Refusal::Fault("computing the figures of the fleet ended early".to_owned());
    let outcome = under_way.wait_for(Option::is_some).await.map_err(|_| ended())?.clone();
    Ok(outcome.ok_or_else(ended)??)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Stale,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be shown now.
    fn latest(&self, now: Timestamp) -> Option<(Arc<FleetFigures>, Age)> {
        let Computed { figures, fresh_ms } = self.lock().latest.clone()?;
        let age = age(now.millis_since(figures.at()), fresh_ms)?;
        Some((figures, age))
    }

    /// What is computed now; begun where nothing is.
    fn renewal(&self, panel: &Panel) -> watch::Receiver<Outcome> {
        let mut state = self.lock();
        // Whoever computed may have ended without a word.
        if let Some(under_way) = state.under_way.as_ref().filter(|under_way| under_way.has_changed().is_ok()) {
            return under_way.clone();
        }
        let (done, under_way) = watch::channel(None);
        state.under_way = Some(under_way.clone());
        let span = tracing::info_span!("fleet", provider = %panel.store().provider());
        // It goes on when whoever asked leaves: the next one will want it.
        tokio::spawn(renew(panel.clone(), done).instrument(span));
        under_way
    }

    fn keep(&self, outcome: &Result<Arc<FleetFigures>, ReportError>, took: Duration) {
        let mut state = self.lock();
        state.under_way = None;
        if let Ok(figures) = outcome {
            let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
            let fresh_ms = took_ms.saturating_mul(REST).clamp(FRESH_MS, STALE_MS);
            state.latest = Some(Computed { figures: Arc::clone(figures), fresh_ms });
        }
    }
}

/// Of figures of an age. A clock that was set back makes them wait for none.
fn age(millis: i64, fresh_ms: i64) -> Option<Age> {
    match millis {
        millis if (0..fresh_ms).contains(&millis) => Some(Age::Fresh),
        millis if (0..STALE_MS.max(fresh_ms.saturating_mul(2))).contains(&millis) => Some(Age::Stale),
        _ => None,
    }
}

async fn renew(panel: Panel, done: watch::Sender<Outcome>) {
    let began = Instant::now();
    let computed = FleetFigures::compute(panel.store(), &Scope::everything(), panel.now()).await;
    let outcome = computed.map(Arc::new);
    panel.board().keep(&outcome, began.elapsed());
    if let Err(watch::error::SendError(Some(Err(error)))) = done.send(Some(outcome)) {
        // Nobody waits for it: whoever asked has been shown the ones before.
        let problem = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        tracing::warn!(problem, "figures of the fleet not computed");
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::ProviderId;
    use heliograph_store::{Store, StoreUrl};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::panel::PanelSettings;

    #[tokio::test]
    async fn one_task_computes_for_all_who_ask_and_what_fails_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
        let store = store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        let now = Timestamp::parse_rfc3339("2026-06-18T13:07:00Z").unwrap();
        let panel = Panel::new(store.clone(), PanelSettings::default(), Arc::new(move || now), CancellationToken::new());
        let board = panel.board();
        assert!(board.latest(now).is_none());
        let (first, second) = (board.renewal(&panel), board.renewal(&panel));
        assert!(first.same_channel(&second));
        let (one, other) = (wait(first.clone()).await.unwrap(), wait(second).await.unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(board.latest(now).is_some_and(|(figures, age)| Arc::ptr_eq(&figures, &one) && age == Age::Fresh));

        store.close().await;
        let again = board.renewal(&panel);
        assert!(!again.same_channel(&first), "what is done is not waited for again");
        assert!(matches!(wait(again).await, Err(Refusal::Unavailable(_))));
        let later = now.plus_millis(FRESH_MS);
        assert!(board.latest(later).is_some_and(|(figures, age)| Arc::ptr_eq(&figures, &one) && age == Age::Stale));
        assert!(figures(&panel).await.is_ok(), "what was computed is shown for a while");
    }

    #[test]
    fn figures_are_shown_while_they_are_young_and_waited_for_when_old() {
        for (seconds, fresh_s, expected) in [
            (0, 10, Some(Age::Fresh)),
            (9, 10, Some(Age::Fresh)),
            (10, 10, Some(Age::Stale)),
            (119, 10, Some(Age::Stale)),
            (120, 10, None),
            // Where computing takes long they are renewed less often.
            (120, 200, Some(Age::Fresh)),
            (399, 200, Some(Age::Stale)),
            (400, 200, None),
            // The clock was set back.
            (-1, 10, None),
        ] {
            assert_eq!(age(seconds * 1000, fresh_s * 1000), expected, "{seconds} s, fresh for {fresh_s} s");
        }
    }
}
