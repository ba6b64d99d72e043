//! What has come of a run so far.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::time::Instant;

/// Refusals that are shown.
const SHOWN: usize = 5;

/// The longest latency that is told from longer ones, an hour.
const LONGEST: u64 = 3_600_000_000;

/// Counts of a run; latencies are microseconds from when a document was due.
pub(super) struct Progress {
    gateways: u32,
    pub(super) sent: AtomicU64,
    pub(super) sent_again: AtomicU64,
    pub(super) acked: AtomicU64,
    pub(super) readings: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unanswered: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) connections_lost: AtomicU64,
    /// Why nothing will ever be taken.
    pub(super) hopeless: OnceLock<String>,
    latencies: Mutex<Histogram<u64>>,
    refusals: Mutex<Vec<String>>,
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Progress {
    pub(super) fn new(gateways: u32) -> anyhow::Result<Self> {
        let count = AtomicU64::default;
        Ok(Self {
            gateways,
            sent: count(),
            sent_again: count(),
            acked: count(),
            readings: count(),
            refused: count(),
            unanswered: count(),
            connected: count(),
            connections_lost: count(),
            hopeless: OnceLock::new(),
            latencies: Mutex::new(Histogram::new_with_max(LONGEST, 3).context("make a histogram")?),
            refusals: Mutex::default(),
        })
    }

    /// Counts a document that was acked so long after it was due.
    pub(super) fn acked(&self, waited: Duration, readings: u64) {
        self.acked.fetch_add(1, Ordering::Relaxed);
        self.readings.fetch_add(readings, Ordering::Relaxed);
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
    }

    pub(super) fn refused(&self, answer: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() < SHOWN && !refusals.iter().any(|known| known == answer) {
            refusals.push(answer.to_owned());
        }
    }

    /// Whether every document was acked.
    pub(super) fn is_clean(&self) -> bool {
        get(&self.refused) == 0 && get(&self.unanswered) == 0
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Says how it goes, each second on a terminal, else each ten; never ends.
    pub(super) async fn report(&self, began: Instant) {
        let terminal = std::io::stderr().is_terminal();
        let every = Duration::from_secs(if terminal { 1 } else { 10 });
        let (mut ticks, mut before) = (tokio::time::interval(every), 0);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let acked = get(&self.acked);
            let rate = (acked - before) as f64 / every.as_secs_f64();
            before = acked;
            let line = format!(
                "{:>5} s  {} of {} connected  {acked} acked, {rate:.0}/s  p50 {:.1} ms  p99 {:.1} ms  {} refused  {} again",
                Instant::now().saturating_duration_since(began).as_secs(),
                get(&self.connected),
                self.gateways,
                self.quantile(0.5),
                self.quantile(0.99),
                get(&self.refused),
                get(&self.sent_again),
            );
            // Nobody may be listening.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// The result on standard output.
    pub(super) fn print(&self, duration: Duration, json: bool) -> anyhow::Result<()> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (acked, readings) = (get(&self.acked), get(&self.readings));
        let [p50, p90, p99, p999, most] = [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| self.quantile(quantile));
        let mut out = std::io::stdout().lock();
        if json {
            let result = json!({
                "gateways": self.gateways, "seconds": duration.as_secs_f64(), "sent": get(&self.sent),
                "sent_again": get(&self.sent_again), "acked": acked, "readings": readings, "refused": get(&self.refused),
                "refusals": refusals, "unanswered": get(&self.unanswered), "connections_lost": get(&self.connections_lost),
                "latency_ms": { "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": most },
            });
            return writeln!(out, "{result}").context("print the result");
        }
        let rate = |count: u64| count as f64 / duration.as_secs_f64();
        let lines = [
            format!("documents sent   {} by {} gateways", get(&self.sent), self.gateways),
            format!("acked            {acked}, {:.0}/s", rate(acked)),
            format!("readings acked   {readings}, {:.0}/s", rate(readings)),
            format!("refused          {}", get(&self.refused)),
            format!("without answer   {}", get(&self.unanswered)),
            format!("sent again       {} after {} lost connections", get(&self.sent_again), get(&self.connections_lost)),
            format!("ack latency      p50 {p50:.1} ms, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, longest {most:.1}"),
        ];
        for line in lines.into_iter().chain(refusals.into_iter().map(|answer| format!("refused with     {answer}"))) {
            writeln!(out, "{line}").context("print the result")?;
        }
        Ok(())
    }
}
