//! How far the work on an archive has come, on standard error: on a terminal in
//! one line that changes, elsewhere a line every few seconds and one at the end, so
//! that it stands in logs too.

use std::io::{IsTerminal as _, Read, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heliograph_store::{ArchiveStep, ArchiveSummary, Progress};

/// Between two lines that stay.
const EVERY: Duration = Duration::from_secs(5);
/// Between two lines on a terminal, of which each takes the place of the last.
const ON_TERMINAL: Duration = Duration::from_millis(200);
/// Goes to the beginning of the line and empties it.
const CLEAR: &str = "\r\x1b[K";

/// What is shown until it is ended or, where the work fails, dropped.
pub(super) struct Shown {
    stand: Arc<Mutex<Stand>>,
    began: Instant,
    /// Ends `ticker` when it is dropped.
    ticking: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

/// How far it is.
#[derive(Debug, Clone)]
struct Stand {
    doing: String,
    /// Bytes that were read.
    read: u64,
    /// How many there are; 0 where nobody knows.
    bytes: u64,
    step: Option<ArchiveStep>,
}

/// A source whose bytes are counted on their way.
pub(super) struct Counted<R> {
    inner: R,
    stand: Arc<Mutex<Stand>>,
}

impl Shown {
    /// Begins to show work that reads so many bytes, 0 where that is not known or
    /// it reads none.
    pub(super) fn begin(doing: String, bytes: u64) -> Self {
        let stand = Arc::new(Mutex::new(Stand { doing, read: 0, bytes, step: None }));
        let (ticking, stopped) = mpsc::channel::<()>();
        let seen = Arc::clone(&stand);
        // A thread, so that it shows even while the work waits.
        let ticker = std::thread::spawn(move || {
            let terminal = std::io::stderr().is_terminal();
            let every = if terminal { ON_TERMINAL } else { EVERY };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let words = lock(&seen).words();
                write(&if terminal { format!("{CLEAR}{words}\r") } else { format!("{words}\n") });
            }
            if terminal {
                write(CLEAR);
            }
        });
        Self { stand, began: Instant::now(), ticking: Some(ticking), ticker: Some(ticker) }
    }

    /// What the store has to tell it to.
    pub(super) fn steps(&self) -> Progress {
        let stand = Arc::clone(&self.stand);
        Box::new(move |step| lock(&stand).step = Some(step))
    }

    /// Counts what is read.
    pub(super) fn counted<R: Read>(&self, inner: R) -> Counted<R> {
        Counted { inner, stand: Arc::clone(&self.stand) }
    }

    /// Says that it is done, where lines stay.
    pub(super) fn end(mut self, summary: &ArchiveSummary) {
        self.stop();
        if !std::io::stderr().is_terminal() {
            write(&format!("{}\n", lock(&self.stand).last_words(summary, self.began.elapsed())));
        }
    }

    fn stop(&mut self) {
        self.ticking = None;
        if let Some(ticker) = self.ticker.take() {
            // It shows and does nothing else.
            drop(ticker.join());
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Stand {
    fn words(&self) -> String {
        let mut parts: Vec<String> = self.read_words().into_iter().collect();
        if let Some((done, all)) = self.step.and_then(|step| step.gateways) {
            parts.push(format!("{done} of {all} gateways"));
        }
        parts.extend(self.step.map(|step| format!("{} {}", step.rows, step.table)));
        let said = if parts.is_empty() { "nothing yet".to_owned() } else { parts.join(", ") };
        format!("{}: {said}", self.doing)
    }

    /// In whole percent, so that it is 100 only when all was read.
    fn read_words(&self) -> Option<String> {
        match (self.read, self.bytes) {
            (0, 0) => None,
            (read, 0) => Some(format!("{read} bytes")),
            (read, bytes) => Some(format!("{} % of {bytes} bytes", read.saturating_mul(100) / bytes)),
        }
    }

    fn last_words(&self, summary: &ArchiveSummary, took: Duration) -> String {
        let rows: u64 = summary.members.iter().map(|member| member.rows).sum();
        let read = self.read_words().map(|read| format!("{read}, ")).unwrap_or_default();
        format!("{}: {read}{rows} rows, done in {:.1} s", self.doing, took.as_secs_f64())
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        lock(&self.stand).read += read as u64;
        Ok(read)
    }
}

fn lock(stand: &Mutex<Stand>) -> MutexGuard<'_, Stand> {
    stand.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether somebody sees it changes nothing.
fn write(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_how_much_of_how_much() {
        let step = |table, rows, gateways| Some(ArchiveStep { table, rows, gateways });
        for (read, bytes, step, expected) in [
            (0, 0, None, "working: nothing yet"),
            (0, 0, step("mails", 7, None), "working: 7 mails"),
            (0, 0, step("readings", 20_000, Some((3, 10))), "working: 3 of 10 gateways, 20000 readings"),
            (0, 2_000, None, "working: 0 % of 2000 bytes"),
            (1_999, 2_000, step("readings", 5, None), "working: 99 % of 2000 bytes, 5 readings"),
            (2_000, 2_000, step("readings", 6, None), "working: 100 % of 2000 bytes, 6 readings"),
            (4_096, 0, step("readings", 6, None), "working: 4096 bytes, 6 readings"),
        ] {
            let stand = Stand { doing: "working".to_owned(), read, bytes, step };
            assert_eq!(stand.words(), expected);
        }
    }
}
