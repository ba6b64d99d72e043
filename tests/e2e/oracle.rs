//! What is stored, read by a way that shares no code with ingest or store, and held
//! against the journals of the load generator. The contract suite of the store has the
//! same judge.

#[path = "../oracle/cassandra.rs"]
pub(crate) mod cassandra;
#[path = "../oracle/judge.rs"]
mod judge;
#[path = "../oracle/rollups.rs"]
pub(crate) mod rollups;
#[path = "../oracle/sqlite.rs"]
pub(crate) mod sqlite;

use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use judge::{Stored, Verdict, judge};

use crate::journal::Sent;
use crate::load::Plan;

/// What was sent to one provider.
pub(crate) struct Sending {
    pub(crate) provider: String,
    /// Gateway by gateway, each in the order of sending.
    pub(crate) sent: Vec<Vec<Sent>>,
}

impl From<&Plan> for Sending {
    fn from(plan: &Plan) -> Self {
        Self { provider: plan.provider.clone(), sent: plan.sent() }
    }
}

/// Judges the SQLite files of a folder, each against what was meant for it, which is
/// asked for once they are read: of what is in them nothing was sent later.
pub(crate) fn judge_folder(folder: &Path, providers: &[&str], sendings: impl FnOnce() -> Vec<Sending>) -> Verdict {
    let stored: Vec<_> = providers.iter().map(|provider| sqlite::read(&folder.join(format!("{provider}.db")))).collect();
    let sendings = sendings();
    let mut all = Verdict::default();
    for (provider, stored) in providers.iter().zip(&stored) {
        // There may be several for a provider, with gateways of their own.
        let of = |is_own: bool| {
            let chosen = sendings.iter().filter(move |sending| (sending.provider == *provider) == is_own);
            chosen.flat_map(|sending| sending.sent.clone()).collect::<Vec<_>>()
        };
        let Verdict { lost, ghost, dup, torn, leak } = judge(&of(true), &of(false), stored);
        all.lost.extend(lost);
        all.ghost.extend(ghost);
        all.dup.extend(dup);
        all.torn.extend(torn);
        all.leak.extend(leak);
    }
    all
}

fn judge_plans(folder: &Path, plans: &[&Plan]) -> Verdict {
    let mut providers: Vec<_> = plans.iter().map(|plan| plan.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    judge_folder(folder, &providers, || plans.iter().map(|plan| Sending::from(*plan)).collect())
}

/// Fails unless all that is stored is what a load of its own left.
pub(crate) fn check_stored(stored: &[Stored], plan: &Plan) {
    let verdict = judge(&plan.sent(), &[], stored);
    assert!(verdict.is_clean(), "{verdict}");
}

/// Fails unless the files of a folder are clean.
pub(crate) fn check(folder: &Path, plans: &[&Plan]) {
    let verdict = judge_plans(folder, plans);
    assert!(verdict.is_clean(), "{verdict}");
}

/// As [`check`], where acked documents may still be on their way from a spool.
pub(crate) fn check_within(folder: &Path, plans: &[&Plan], patience: Duration) {
    let deadline = Instant::now() + patience;
    while !judge_plans(folder, plans).lost.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
    }
    check(folder, plans);
}
