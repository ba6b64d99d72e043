//! One simulated gateway.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::document::Fleet;
use super::journal::{Document, Entry, now};
use super::line::{self, Answer, Answers, Documents};
use super::progress::Progress;
use super::recorder::Recorder;
use super::tls;

/// Documents of a gateway that wait for their answer at once; a server that stalls
/// for longer makes the rest wait here, and their latency counts.
const IN_FLIGHT: usize = 256;
/// Before a server is asked again that is away, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Gateway {
    pub(super) fleet: Arc<Fleet>,
    pub(super) number: u32,
    pub(super) to: SocketAddr,
    /// When it connects for the first time.
    pub(super) opens: Instant,
    /// When its first document is due, and how often one is.
    pub(super) first: Instant,
    pub(super) every: Duration,
    /// Nothing is due from then on.
    pub(super) until: Instant,
    /// Nor once this is cancelled.
    pub(super) broken_off: CancellationToken,
    /// Cancelled when it waits no longer for answers.
    pub(super) gone: CancellationToken,
    /// Documents of runs before this one.
    pub(super) sent_before: u64,
    pub(super) recorder: Option<Recorder>,
    pub(super) progress: Arc<Progress>,
}

/// A document that waits to be sent or answered.
struct Waiting {
    document: Document,
    due: Instant,
    sent: bool,
}

impl Gateway {
    /// Pushes until all that is due was answered, or it is too late.
    pub(super) async fn run(self, again: Vec<Document>) {
        self.broken_off.run_until_cancelled(tokio::time::sleep_until(self.opens)).await;
        let id = self.fleet.gateway(self.number);
        let due = Instant::now();
        let mut waiting: VecDeque<Waiting> = again.into_iter().map(|document| Waiting { document, due, sent: true }).collect();
        let (mut made, mut pause) = (0, PAUSE);
        let closes = self.fleet.kind.http().is_some_and(|http| http.closes());
        loop {
            self.give_up_unsent(&mut waiting);
            if waiting.is_empty() && !self.goes_on(made) {
                break;
            }
            if closes && waiting.is_empty() {
                // Such a device connects once it has something to say.
                self.broken_off.run_until_cancelled(tokio::time::sleep_until(self.due(made))).await;
            }
            let open = self.gone.run_until_cancelled(line::open(self.to, &self.fleet, &id));
            match open.await {
                None => break,
                Some(Err(error)) => {
                    if let Some(problem) = tls::distrust(&error) {
                        self.end_all(problem);
                        break;
                    }
                    if error.kind() == io::ErrorKind::PermissionDenied {
                        self.progress.refused(&error.to_string());
                    }
                    self.gone.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Some(Ok((mut documents, mut answers))) => {
                    pause = PAUSE;
                    self.progress.connected.fetch_add(1, Ordering::Relaxed);
                    let talk = self.converse(&mut documents, &mut answers, &mut waiting, &mut made);
                    let ended = self.gone.run_until_cancelled(talk).await;
                    self.progress.connected.fetch_sub(1, Ordering::Relaxed);
                    match ended {
                        Some(Ok(())) => {}
                        Some(Err(_)) => {
                            self.progress.connections_lost.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(PAUSE).await;
                        }
                        None => break,
                    }
                }
            }
            if self.gone.is_cancelled() || self.recorder.as_ref().is_some_and(Recorder::is_closed) {
                break;
            }
        }
        self.progress.unanswered.fetch_add(waiting.len() as u64, Ordering::Relaxed);
    }

    /// Ends the run of all gateways: none of them gets any further than this one.
    fn end_all(&self, problem: String) {
        // Whoever finds out first says it.
        let _ = self.progress.hopeless.set(problem);
        self.broken_off.cancel();
        self.gone.cancel();
    }

    /// Once the run is broken off, what was never sent is not sent any more.
    fn give_up_unsent(&self, waiting: &mut VecDeque<Waiting>) {
        if self.broken_off.is_cancelled() {
            waiting.retain(|waiting| waiting.sent);
        }
    }

    /// Whether a document is still to come after so many.
    fn goes_on(&self, made: u64) -> bool {
        self.due(made) < self.until && !self.broken_off.is_cancelled()
    }

    fn due(&self, made: u64) -> Instant {
        self.first + self.every.mul_f64(made as f64)
    }

    /// Sends again what waits, then what becomes due, and takes the answers.
    async fn converse(
        &self,
        documents: &mut Documents,
        answers: &mut Answers,
        waiting: &mut VecDeque<Waiting>,
        made: &mut u64,
    ) -> io::Result<()> {
        // Requests are answered one by one.
        let http = self.fleet.kind.http();
        let most = if http.is_some() { 1 } else { IN_FLIGHT };
        let (mut under_way, mut failure) = (0, None);
        loop {
            self.give_up_unsent(waiting);
            while failure.is_none() && under_way < most && under_way < waiting.len() {
                match self.send(documents, waiting.get_mut(under_way)).await {
                    Ok(()) => under_way += 1,
                    Err(error) => failure = Some(error),
                }
            }
            // What was answered before the connection broke is still to be read.
            if under_way == 0
                && let Some(error) = failure
            {
                return Err(error);
            }
            let (due, goes_on) = (self.due(*made), self.goes_on(*made));
            if waiting.is_empty() && !goes_on {
                return Ok(());
            }
            tokio::select! {
                biased;
                answer = answers.next(), if under_way > 0 => {
                    self.answered(answer?, waiting).await?;
                    under_way -= 1;
                    if http.is_some_and(|http| http.closes()) {
                        return Ok(());
                    }
                }
                () = self.broken_off.cancelled(), if goes_on => {}
                () = tokio::time::sleep_until(due), if goes_on => {
                    let document = self.fleet.document(self.number, self.sent_before + *made, now());
                    *made += 1;
                    waiting.push_back(Waiting { document, due, sent: false });
                }
            }
        }
    }

    async fn send(&self, documents: &mut Documents, waiting: Option<&mut Waiting>) -> io::Result<()> {
        let Some(waiting) = waiting else { return Ok(()) };
        let (at, seq) = (now(), waiting.document.seq.clone());
        let entry = match std::mem::replace(&mut waiting.sent, true) {
            true => Entry::SentAgain { at, seq },
            false => Entry::Sent { at, document: waiting.document.clone() },
        };
        let counter = if matches!(entry, Entry::Sent { .. }) { &self.progress.sent } else { &self.progress.sent_again };
        self.record(entry).await?;
        counter.fetch_add(1, Ordering::Relaxed);
        documents.send(&self.fleet.xml(&waiting.document)).await
    }

    /// What may be sent again later stays first, and ends the connection.
    async fn answered(&self, answer: Answer, waiting: &mut VecDeque<Waiting>) -> io::Result<()> {
        let Some(Waiting { document, due, .. }) = waiting.pop_front() else { return Ok(()) };
        let (at, seq) = (now(), document.seq.clone());
        match answer {
            Answer::Ack => {
                let waited = due.elapsed();
                self.record(Entry::Acked { at, seq }).await?;
                self.progress.acked(waited, document.readings.len() as u64);
                Ok(())
            }
            Answer::Refused(answer) => {
                self.progress.refused(&answer);
                self.record(Entry::Refused { at, seq, answer }).await
            }
            Answer::Later(answer) => {
                waiting.push_front(Waiting { document, due, sent: true });
                self.record(Entry::Refused { at, seq, answer: answer.clone() }).await?;
                Err(io::Error::other(answer))
            }
        }
    }

    async fn record(&self, entry: Entry) -> io::Result<()> {
        match &self.recorder {
            Some(recorder) if !recorder.write(entry).await => Err(io::Error::other("the journal takes nothing any more")),
            _ => Ok(()),
        }
    }
}
