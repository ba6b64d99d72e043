//! The worker that replays what was held of gateways once they are commissioned.

use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{GatewayId, RefusalCode};
use heliograph_store::{ProviderStore, QuarantineRow, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::decode_budget::DecodeBudget;
use crate::directory::{Directory, DirectoryFeed};
use crate::replay::{Proof, Replayer, Verdict};
use crate::spool::{Status, is_temporary};

/// Before a pass, and before the next attempt where the store takes nothing.
const PAUSE: Duration = Duration::from_secs(5);
/// Between later passes, which find what somebody held who had not heard yet.
const LATER: Duration = Duration::from_mins(10);
/// Entries listed at once.
const PAGE: usize = 500;

/// Replays what is held of gateways, at the start and whenever a gateway has been
/// commissioned or has got another key, until told to stop. Others may not know of
/// that yet and hold one more document: so it is done a moment later, so that what
/// they held meanwhile is replayed with what is newer, and again now and then.
pub(crate) async fn run(worker: Worker, shutdown: CancellationToken) {
    shutdown.run_until_cancelled(worker.work()).await;
}

/// What the worker works with.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) store: ProviderStore,
    pub(crate) directory: DirectoryFeed,
    pub(crate) spool: Arc<Status>,
    pub(crate) clock: Clock,
    /// Whether a key is not enough.
    pub(crate) needs_certificate: bool,
    /// Where large documents are worked on.
    pub(crate) decode_budget: DecodeBudget,
}

impl Worker {
    async fn work(&self) {
        let mut directory = self.directory.clone();
        let (mut seen, mut due) = (None, Instant::now() + PAUSE);
        loop {
            let now = directory.now();
            let commissioned = now.as_ref().map(|now| now.commissioned());
            if seen != commissioned {
                (seen, due) = (commissioned, Instant::now() + PAUSE);
            }
            tokio::select! {
                () = tokio::time::sleep_until(due), if now.is_some() => {
                    let passed = self.pass().await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "what is held of gateways cannot be replayed now");
                        false
                    });
                    due = Instant::now() + if passed { LATER } else { PAUSE };
                }
                is_there = directory.changed() => if !is_there { return },
            }
        }
    }

    /// Replays all that can be; false where that has to wait. Where several processes
    /// do it at once, what one has done the others find done.
    async fn pass(&self) -> Result<bool, StoreError> {
        // What waits in the spool came before what comes now.
        if self.spool.level().is_some() {
            return Ok(false);
        }
        let (mut before, mut replayed) = (None, 0_u64);
        loop {
            // The newest first, as replaying wants it.
            let page = self.store.quarantine_page(before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some((last.entry.received, last.entry.id));
            for row in &page {
                // A pass may take long: each is judged by what is known by then.
                let Some(directory) = self.directory.now().filter(|directory| is_held_for(directory, row)) else { continue };
                let replayer = Replayer::of(self.store.clone(), directory, self.needs_certificate);
                match self.replay(&replayer, row).await {
                    Ok(whole) => replayed += u64::from(whole),
                    Err(error) if is_temporary(&error) => return Err(error),
                    // One that cannot be read or written keeps no other one back.
                    Err(error) => tracing::error!(%error, entry = %row.entry.id, "what is held of a gateway cannot be replayed"),
                }
            }
        }
        if replayed > 0 {
            tracing::info!(documents = replayed, "documents that were held of gateways are stored");
        }
        Ok(true)
    }

    /// Replays an entry; false where it stays as a whole.
    async fn replay(&self, replayer: &Replayer, row: &QuarantineRow) -> Result<bool, StoreError> {
        let _place = self.decode_budget.acquire(row.bytes).await;
        let now = (self.clock)();
        let judged = match replayer.judge(row.entry.id, Proof::Key, now).await {
            Ok(judged) => judged,
            // It has made room for another one.
            Err(StoreError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        match &judged.verdict {
            Verdict::Take { .. } | Verdict::Nothing => {
                let refused = replayer.replay(&judged).await?;
                metrics::counter!("heliograph_ingest_replayed_total").increment(u64::from(refused.is_none()));
                Ok(refused.is_none())
            }
            // It stays for its owner to look at.
            Verdict::Refuse { code: RefusalCode::BadKey | RefusalCode::UnknownGateway, .. } => Ok(false),
            // No further key will help it.
            Verdict::Refuse { code, reason } => {
                replayer.revise(&judged.row, *code, reason.clone()).await?;
                Ok(false)
            }
        }
    }
}

/// Whether an entry is held for a gateway that has been commissioned.
fn is_held_for(directory: &Directory, row: &QuarantineRow) -> bool {
    let gateway = row.entry.gateway.as_deref().and_then(|gateway| GatewayId::parse(gateway).ok());
    row.entry.code == RefusalCode::UnknownGateway && gateway.is_some_and(|gateway| directory.is_commissioned(&gateway))
}
