//! Accepting connections, and draining them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliograph_domain::block_of;
use heliograph_store::{ProviderStore, Stamps, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Clock;
use crate::adoption::Adoptions;
use crate::backfill::Backfill;
use crate::connection::{self, Connection, Shared};
use crate::damage_worker;
use crate::decode_budget::DecodeBudget;
use crate::device_clocks;
use crate::directory::{DirectoryFeed, DirectoryKeeper};
use crate::heartbeat;
use crate::intake::{self, Intake};
use crate::knocks::Knocks;
use crate::lockout::Lockout;
use crate::quarantine;
use crate::rate::Pace;
use crate::replay_worker;
use crate::retention_worker;
use crate::rollup_worker;
use crate::room::RoomForDocuments;
use crate::settings::IngestSettings;
use crate::snapshot::Snapshot;
use crate::spool::{Disk, Spool, SpoolPlace, SpoolTask};
use crate::status::IngestStatus;
use crate::tls::{Door, Tls};
use crate::usage;

/// Peers beyond the limit that are being told so at once; further ones are
/// dropped without a word.
const TURNED_AWAY: usize = 256;
/// How long the spool may take to close its files, of the time for a drain: as much of it
/// at most.
const CLOSING: Duration = Duration::from_secs(1);
const CLOSING_PART: u32 = 4;
/// How long to wait after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why an ingest server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The store cannot be read at the start.
    #[error("read gateways and settings")]
    Store(#[from] StoreError),
}

/// An ingest server of one provider, ready to serve.
pub struct Ingest {
    pub(crate) intake: Arc<Intake>,
    keeper: DirectoryKeeper,
    spool: SpoolTask,
    store: ProviderStore,
    settings: IngestSettings,
    tls: Option<Tls>,
    tls_listener: Option<TcpListener>,
}

impl Ingest {
    /// Reads gateways and settings, from the store or, where it does not answer, as
    /// they were last known. `folder` is the provider's own: the spool lies there.
    ///
    /// # Errors
    /// When the store cannot be read, will not be by waiting, and nothing is known
    /// from before.
    pub async fn open(store: ProviderStore, settings: IngestSettings, folder: &Path, clock: Clock) -> Result<Self, IngestError> {
        let (root, disk) = (folder.to_owned(), Disk::default());
        let place = SpoolPlace { root, bytes: settings.spool_bytes, deadline: settings.store_deadline, disk };
        let (spool, task) = Spool::open(store.clone(), place, clock.clone()).await;
        let (directory, keeper) = DirectoryFeed::open(&store, Snapshot::in_folder(folder), settings.store_deadline).await?;
        let intake = Arc::new(Intake {
            spool,
            directory,
            wrong_keys: Lockout::after(intake::WRONG_KEYS),
            strangers: Lockout::after(intake::STRANGERS),
            knocks: Knocks::default(),
            usage: Arc::default(),
            device_clocks: Arc::default(),
            clock,
            stamps: Stamps::new(),
            adoptions: Adoptions::default(),
            pace: Pace::new(settings.rates, settings.places(), Instant::now()),
            backfill: Backfill::default(),
            decode_budget: DecodeBudget::new(settings.limits.document_bytes),
            draining: CancellationToken::new(),
        });
        Ok(Self { intake, keeper, spool: task, store, settings, tls: None, tls_listener: None })
    }

    /// Speaks TLS, too: on the port that speaks XML and HTTP, and, where there is
    /// one, on a port of its own, which speaks nothing else.
    #[must_use]
    pub fn with_tls(self, tls: Tls, listener: Option<TcpListener>) -> Self {
        Self { tls: Some(tls), tls_listener: listener, ..self }
    }

    /// Acks documents and writes none of them, so that a benchmark can tell what all but
    /// the store costs.
    #[cfg(feature = "null-store")]
    #[must_use]
    pub fn without_store(mut self) -> Self {
        if let Some(intake) = Arc::get_mut(&mut self.intake) {
            intake.spool.discards = true;
        }
        self
    }

    /// Whether a start without the store would know the gateways.
    #[must_use]
    pub fn knows_gateways(folder: &Path) -> bool {
        Snapshot::in_folder(folder).is_there()
    }

    /// How the server stands, for whoever asks while it runs.
    #[must_use]
    pub fn status(&self) -> IngestStatus {
        let (spool, directory) = (Arc::clone(&self.intake.spool.status), self.intake.directory.clone());
        IngestStatus { spool, directory, clock: self.intake.clock.clone(), store: self.store.clone() }
    }

    /// Serves until `shutdown`, then drains: no new connections, no further
    /// documents, every document under way is answered and the spool drains, within
    /// [`IngestSettings::drain`].
    pub async fn run(self, listener: TcpListener, holder: String, shutdown: CancellationToken) {
        let (finish, told) = oneshot::channel();
        let spooling = tokio::spawn(self.spool.run(told));
        let tasks = TaskTracker::new();
        tasks.spawn(self.keeper.run(shutdown.clone()));
        let (store, clock) = (self.store, self.intake.clock.clone());
        let replaying = replay_worker::Worker {
            store: store.clone(),
            directory: self.intake.directory.clone(),
            spool: Arc::clone(&self.intake.spool.status),
            clock: clock.clone(),
            needs_certificate: self.tls.as_ref().is_some_and(Tls::needs_certificate),
            decode_budget: self.intake.decode_budget.clone(),
        };
        tasks.spawn(replay_worker::run(replaying, shutdown.clone()));
        tasks.spawn(usage::run(Arc::clone(&self.intake.usage), store.clone(), shutdown.clone()));
        let clocks = Arc::clone(&self.intake.device_clocks);
        tasks.spawn(device_clocks::run(clocks, store.clone(), clock.clone(), shutdown.clone()));
        let spool = Arc::clone(&self.intake.spool.status);
        tasks.spawn(heartbeat::run(store.clone(), spool, clock.clone(), shutdown.clone()));
        tasks.spawn(retention_worker::run(store.clone(), holder.clone(), clock.clone(), shutdown.clone()));
        tasks.spawn(quarantine::run(store.clone(), shutdown.clone()));
        tasks.spawn(damage_worker::run(store.clone(), shutdown.clone()));
        tasks.spawn(rollup_worker::run(store.clone(), holder, clock, shutdown.clone()));
        if let Some(tls) = self.tls.clone() {
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(tls.watch()));
        }
        let doors = Doors { listener, tls_listener: self.tls_listener, tls: self.tls };
        let shared = Arc::new(Shared {
            intake: Arc::clone(&self.intake),
            room: RoomForDocuments::new(self.settings.room, self.settings.room_per_address),
            settings: self.settings,
            shutdown: shutdown.clone(),
        });
        accept(&doors, &shared, &tasks).await;
        drop(doors);
        self.intake.draining.cancel();
        let (begun, drain) = (Instant::now(), self.settings.drain);
        let end = begun + drain;
        let until = end - CLOSING.min(drain / CLOSING_PART);
        tasks.close();
        tracing::info!(open = tasks.len(), "draining");
        // A peer that reads none of its answers does not take the time of what is still
        // to be written down.
        if tokio::time::timeout_at(begun + (until - begun) * 4 / 5, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "drain took too long, the rest is cut");
        }
        let seen = async {
            self.intake.usage.flush(&store).await;
            self.intake.device_clocks.flush(&store, (self.intake.clock)()).await;
        };
        drop(tokio::time::timeout_at(until, seen).await);
        let left = until.saturating_duration_since(Instant::now());
        if finish.send(left).is_ok() && tokio::time::timeout_at(end, spooling).await.is_err() {
            tracing::warn!("spool cannot be closed, what it holds stays for the next start");
        }
    }
}

/// Where connections come in.
struct Doors {
    listener: TcpListener,
    tls_listener: Option<TcpListener>,
    tls: Option<Tls>,
}

impl Doors {
    async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr, Door)> {
        let other = async {
            match &self.tls_listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let (accepted, only_tls) = tokio::select! {
            accepted = self.listener.accept() => (accepted, false),
            accepted = other => (accepted, true),
        };
        let (stream, address) = accepted?;
        Ok((stream, address, Door { tls: self.tls.clone(), only_tls }))
    }
}

async fn accept(doors: &Doors, shared: &Arc<Shared>, tasks: &TaskTracker) {
    let settings = &shared.settings;
    let permits = Arc::new(Semaphore::new(settings.connections));
    let refusals = Arc::new(Semaphore::new(TURNED_AWAY));
    let addresses = Arc::new(Addresses::default());
    while let Some(accepted) = shared.shutdown.run_until_cancelled(doors.accept()).await {
        let (stream, address, door) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors or memory, or a peer that is gone
                // already: the loop lives on.
                tracing::warn!(%error, "connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        metrics::counter!("heliograph_ingest_connections_total").increment(1);
        let place = addresses.place(block_of(address.ip()), settings.connections_per_address);
        let permit = place.and_then(|place| Some((place, Arc::clone(&permits).try_acquire_owned().ok()?)));
        if let Some(permit) = permit {
            let connection = Connection::accepted(stream, address, door, Arc::clone(shared));
            tasks.spawn(async move {
                metrics::gauge!("heliograph_ingest_connections").increment(1);
                connection::serve(connection).await;
                metrics::gauge!("heliograph_ingest_connections").decrement(1);
                drop(permit);
            });
        } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
            let shutdown = shared.shutdown.clone();
            tasks.spawn(async move {
                connection::turn_away(stream, shutdown).await;
                drop(permit);
            });
        }
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address, until it is dropped.
struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    fn place(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { addresses: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
