//! Retention: readings go when they are old enough, rollups stay.
//!
//! What is deleted can be rolled up no more, so the windows that it fell into are
//! *sealed* before: everything marked there is settled, and from then on a mark
//! there changes nothing. A window also follows from readings near it, so
//! readings are kept for a day longer than the windows they fall into stay open.

use std::cmp;

use heliograph_domain::{GatewayId, TimeWindow, Timestamp, window_of};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// How much longer readings are kept than their windows are open.
pub(crate) const CONTEXT_MS: i64 = 86_400_000;
const DAY_MS: i64 = 86_400_000;

/// From when on all readings are there, where windows are sealed up to an instant.
pub(crate) const fn kept_from(sealed: Timestamp) -> Timestamp {
    sealed.plus_millis(-CONTEXT_MS)
}

/// What keeping readings for some days means at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPlan {
    /// The days.
    pub days: u32,
    /// Windows that begin before this are sealed.
    pub sealed: Timestamp,
    /// Readings before this are deleted.
    pub delete_before: Timestamp,
}

impl RetentionPlan {
    /// Readings of the last `days` before `now` are kept, and those of one day
    /// more, which the windows at the edge still follow from.
    #[must_use]
    pub fn of(days: u32, now: Timestamp) -> Self {
        let sealed = window_of(now.plus_millis(-i64::from(days) * DAY_MS));
        Self { days, sealed, delete_before: kept_from(sealed) }
    }
}

/// What of one gateway would be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionShare {
    /// The gateway.
    pub gateway: GatewayId,
    /// How many of its readings.
    pub readings: u64,
    /// The bytes that they take.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest: Timestamp,
}

/// What a retention would delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPreview {
    /// The plan that was asked about.
    pub plan: RetentionPlan,
    /// Gateways that would lose readings, by id.
    pub gateways: Vec<RetentionShare>,
    /// The windows that would be sealed besides those that are: their rollups
    /// stay, and nothing changes them any more.
    pub sealing: Option<TimeWindow>,
}

impl RetentionPreview {
    /// How many readings would be deleted.
    #[must_use]
    pub fn readings(&self) -> u64 {
        self.gateways.iter().map(|share| share.readings).sum()
    }

    /// The bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.gateways.iter().map(|share| share.bytes).sum()
    }

    /// The oldest of them.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.gateways.iter().map(|share| share.oldest).min()
    }

    /// The windows from the oldest reading on that `sealed` leaves open and the
    /// plan does not.
    pub(crate) fn sealing(plan: RetentionPlan, gateways: &[RetentionShare], sealed: Timestamp) -> Option<TimeWindow> {
        let oldest = gateways.iter().map(|share| share.oldest).min()?;
        let window = TimeWindow::between(cmp::max(window_of(oldest), sealed), plan.sealed);
        (!window.is_empty()).then_some(window)
    }
}

/// What is between two notes of a clock that has not jumped, at most.
const STEP_MS: i64 = 86_400_000;

/// Since when a clock has been steady that says `now`, after it was noted `last`.
pub(crate) fn steady_since(noted: Option<(Timestamp, Timestamp)>, now: Timestamp) -> Timestamp {
    match noted {
        Some((since, last)) if now.millis_since(last).saturating_abs() <= STEP_MS => since.min(now),
        _ => now,
    }
}

/// What one piece of work has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionStep {
    /// Readings deleted.
    pub deleted: u64,
    /// Whether nothing is left to do.
    pub done: bool,
}

impl ProviderStore {
    /// What a plan would delete now; changes nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn retention_preview(&self, plan: RetentionPlan) -> Result<RetentionPreview, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::retention::preview(connection, plan)).await,
            Backend::Cassandra(db) => db.retention_preview(plan).await,
        }
    }

    /// Whether anything was measured since an instant. A plan that would leave a
    /// provider without any reading more likely comes from a wrong clock.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn reading_exists_since(&self, time: Timestamp) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::retention::exists_since(connection, time)).await,
            Backend::Cassandra(db) => db.reading_exists_since(time).await,
        }
    }

    /// Since when a clock has gone on without a jump, as far as calls have noted: each
    /// notes what the clock says, so whoever wants to know asks again and again. A day
    /// between two calls is no jump, and neither is the end of a process.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn clock_steady_since(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::retention::note_clock(batch.connection, now)).await,
            Backend::Cassandra(db) => db.note_clock(now).await,
        }
    }

    /// The first instant whose rollups follow what is changed. The readings of
    /// windows before it may be gone, so these stay as they are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sealed_until(&self) -> Result<Timestamp, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::retention::sealed).await,
            Backend::Cassandra(db) => db.sealed(self.clock.now()).await,
        }
    }

    /// Does a small piece of a plan: settles what is marked, seals, deletes some
    /// readings or gives some room back. Call it again, after a pause that lets
    /// documents through, until it is done.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn retention_step(&self, plan: RetentionPlan) -> Result<RetentionStep, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::retention::step(batch, plan)).await,
            Backend::Cassandra(db) => db.retention_step(plan, self.clock.now()).await,
        }
    }

    /// Does a small piece of what it takes that readings which are stored already
    /// are kept for `days`, or for ever, where less was kept when they were
    /// written; answers whether nothing is left to do for now. Where more is to be
    /// kept, the work begins with the first call that comes 70 s after one, when
    /// nobody writes by the settings before. A file needs nothing done.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn lifetime_step(&self, days: Option<u32>) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Cassandra(db) => db.lifetime_step(days, self.clock.now()).await,
        }
    }

    /// Writes down what a plan has deleted once it is done.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn retention_note(&self, plan: RetentionPlan, readings: u64) -> Result<(), StoreError> {
        let detail = json!({ "days": plan.days, "before": plan.delete_before.to_string(), "readings": readings });
        let event = self.event("retention.run", "readings", detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, |_| Ok(())).await,
            Backend::Cassandra(db) => db.audit(event).await,
        }
    }
}
