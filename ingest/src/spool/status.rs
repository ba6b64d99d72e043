//! What the rest of the world is told about the spool.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use heliograph_domain::Timestamp;

/// Figures of the spool, kept by its task, read by anybody.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) limit: u64,
    in_use: AtomicBool,
    bytes: AtomicU64,
    records: AtomicU64,
    oldest: AtomicI64,
    /// Whether the last document found no room.
    full: AtomicBool,
    /// Bytes that have reached the store.
    drained: AtomicU64,
}

/// How the spool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) oldest: Option<Timestamp>,
}

const NONE: i64 = i64::MIN;

/// What the store was asked for, in figures, where the spool has something to be written.
pub(crate) const DRAINING: &str = "spool_drain";

/// Counts a write that the store did not take, or not in time, whatever became of it.
pub(crate) fn count_failure(operation: &'static str) {
    metrics::counter!("heliograph_store_errors_total", "operation" => operation).increment(1);
}

impl Status {
    pub(crate) fn new(limit: u64) -> Self {
        let (bytes, records, drained) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (in_use, full) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { limit, in_use, bytes, records, oldest: AtomicI64::new(NONE), full, drained }
    }

    pub(crate) fn publish(&self, in_use: bool, level: Level, now: Timestamp) {
        self.in_use.store(in_use, Ordering::Relaxed);
        self.bytes.store(level.bytes, Ordering::Relaxed);
        self.records.store(level.records, Ordering::Relaxed);
        self.oldest.store(level.oldest.map_or(NONE, Timestamp::as_millis), Ordering::Relaxed);
        if level.bytes == 0 {
            self.full.store(false, Ordering::Relaxed);
        }
        metrics::gauge!("heliograph_spool_bytes").set(level.bytes as f64);
        metrics::gauge!("heliograph_spool_documents").set(level.records as f64);
        let age = level.oldest.map_or(0, |oldest| now.millis_since(oldest).max(0));
        metrics::gauge!("heliograph_spool_oldest_age_seconds").set(age as f64 / 1000.0);
    }

    pub(crate) fn note_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn note_drained(&self, records: u64, bytes: u64) {
        self.drained.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("heliograph_spool_drained_total").increment(records);
    }

    pub(crate) fn drained_bytes(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn level(&self) -> Option<Level> {
        self.in_use.load(Ordering::Relaxed).then(|| Level {
            bytes: self.bytes.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            oldest: Some(self.oldest.load(Ordering::Relaxed)).filter(|oldest| *oldest != NONE).map(Timestamp::clamped),
        })
    }
}
