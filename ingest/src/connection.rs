//! A connection: bytes into documents, answers into bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use heliograph_dialects::{Frame, FrameError, Framer};
use heliograph_domain::RefusalCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::http;
use crate::intake::{Intake, Peer};
use crate::room::{Room, RoomForDocuments};
use crate::settings::IngestSettings;

/// Bytes asked for at once.
const READ: usize = 16 * 1024;
/// Documents of at least this size are decoded where they don't hold up others.
pub(crate) const LARGE: usize = 256 * 1024;
/// How long a peer may take to accept an answer.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a closing connection listens on, so that the last answer arrives
/// before the reset that unread bytes would cause (RFC 9293 section 3.6.1).
const LINGER: Duration = Duration::from_secs(2);

type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

struct Answered {
    answer: Answer,
    since: Instant,
}

/// Serves one peer until it leaves, breaks a rule or the server drains.
pub(crate) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    intake: Arc<Intake>,
    room: RoomForDocuments,
    settings: IngestSettings,
    shutdown: CancellationToken,
) {
    // Answers are short and waited for.
    let _ = stream.set_nodelay(true);
    let now = Instant::now();
    let connection = Connection {
        stream,
        peer: Peer::new(address),
        intake,
        settings,
        framer: Framer::new(settings.limits),
        buffer: BytesMut::new(),
        room: Room::of(room.clone()),
        shared_room: room,
        begun: false,
        closing: false,
        pending: FuturesOrdered::new(),
        ready: VecDeque::new(),
        last_byte: now,
        document_since: None,
        document_bytes: 0,
        slowed_until: None,
    };
    if let Err(error) = connection.run(&shutdown).await {
        tracing::debug!(%error, %address, "connection lost");
    }
}

/// Answers a peer that cannot be served, and lets it go.
pub(crate) async fn turn_away(mut stream: TcpStream) {
    let answer = Answer::nack(None, RefusalCode::RateLimited, "too many connections, try again later");
    if stream.write_all(answer.line().as_bytes()).await.is_ok() {
        close(&mut stream).await;
    }
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
    intake: Arc<Intake>,
    settings: IngestSettings,
    framer: Framer,
    buffer: BytesMut,
    room: Room,
    shared_room: RoomForDocuments,
    /// Something has come.
    begun: bool,
    /// A verdict closes the connection: nothing further is taken from it.
    closing: bool,
    pending: FuturesOrdered<Pending>,
    /// Answers that came while an earlier one was being written.
    ready: VecDeque<Answered>,
    last_byte: Instant,
    document_since: Option<Instant>,
    document_bytes: u64,
    /// Its gateway is ahead of a rate: nothing is read until then.
    slowed_until: Option<Instant>,
}

/// Why reading stops; earlier documents are answered first.
enum Stop {
    EndOfStream,
    /// It is not XML that comes, but a request.
    Http,
    Draining,
    Idle,
    Bytes(FrameError),
    TooSlow,
    NoRoom,
}

impl Connection {
    async fn run(mut self, shutdown: &CancellationToken) -> std::io::Result<()> {
        let stop = loop {
            let may_read = self.may_take();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                Some(answered) = next_answer(&mut self.ready, &mut self.pending) => {
                    if self.write(answered).await? {
                        return self.finish().await;
                    }
                    if let Some(stop) = self.frame() {
                        break stop;
                    }
                }
                () = shutdown.cancelled() => break Stop::Draining,
                ready = self.stream.readable(), if may_read => {
                    ready?;
                    if let Some(stop) = self.read()? {
                        break stop;
                    }
                }
                () = tokio::time::sleep_until(deadline), if may_read => break self.overdue(),
                () = until(self.slowed_until), if self.slowed_until.is_some() => {
                    self.go_on();
                    if let Some(stop) = self.frame() {
                        break stop;
                    }
                }
            }
        };
        if matches!(stop, Stop::Http) {
            let shutdown = shutdown.clone();
            let Self { stream, buffer, peer, intake, shared_room: room, settings, .. } = self;
            http::serve(stream, buffer, http::Shared { peer, intake, room, settings, shutdown }).await;
            return Ok(());
        }
        self.answer_pending().await?;
        if let Some(answer) = self.last_answer(stop).await.filter(|_| !self.closing) {
            self.write(Answered { answer, since: Instant::now() }).await?;
        }
        self.finish().await
    }

    /// Reads what is there and frames it; `Some` where reading has to stop.
    fn read(&mut self) -> std::io::Result<Option<Stop>> {
        self.buffer.reserve(READ);
        let read = match self.stream.try_read_buf(&mut self.buffer) {
            Ok(0) => return Ok(Some(Stop::EndOfStream)),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        metrics::counter!("heliograph_ingest_bytes_total").increment(read as u64);
        self.document_bytes += read as u64;
        if !std::mem::replace(&mut self.begun, true) && http::begins(&self.buffer) {
            return Ok(Some(Stop::Http));
        }
        let stop = self.frame();
        if self.buffer.is_empty() {
            // An idle connection holds no buffer.
            self.buffer = BytesMut::new();
        }
        if !self.room.make_for(self.buffer.len()) {
            return Ok(Some(Stop::NoRoom));
        }
        Ok(stop)
    }

    fn may_take(&self) -> bool {
        !self.closing && self.slowed_until.is_none() && self.pending.len() + self.ready.len() < self.settings.in_flight
    }

    /// Takes documents from the buffer, as many as may be under way at once.
    fn frame(&mut self) -> Option<Stop> {
        while self.may_take() {
            match self.framer.next(&self.buffer) {
                Ok(Frame::Incomplete { skip }) => {
                    self.buffer.advance(skip);
                    self.note_progress();
                    return None;
                }
                Ok(Frame::Document { start, end }) => {
                    let mut document = self.buffer.split_to(end);
                    document.advance(start);
                    self.take(&document.freeze());
                    self.last_byte = Instant::now();
                    (self.document_since, self.document_bytes) = (None, self.buffer.len() as u64);
                }
                Err(error) => return Some(Stop::Bytes(error)),
            }
        }
        None
    }

    /// White space between documents is no sign of life.
    fn note_progress(&mut self) {
        if self.framer.in_document() {
            self.last_byte = Instant::now();
            self.document_since.get_or_insert(self.last_byte);
        } else {
            (self.document_since, self.document_bytes) = (None, 0);
        }
    }

    fn take(&mut self, document: &Bytes) {
        let since = Instant::now();
        let (intake, peer) = (&self.intake, &mut self.peer);
        let taken = if document.len() >= LARGE && is_multi_threaded() {
            tokio::task::block_in_place(|| intake.take(peer, document))
        } else {
            intake.take(peer, document)
        };
        self.closing |= taken.closes;
        self.slow_down(taken.resume, since);
        // A large document keeps its room until it is answered.
        let room = self.room.hand_over(document.len());
        self.pending.push_back(Box::pin(async move {
            let answer = taken.answer.await;
            drop(room);
            Answered { answer, since }
        }));
    }

    fn slow_down(&mut self, until: Instant, now: Instant) {
        if until > now {
            metrics::counter!("heliograph_ingest_slowed_total").increment(1);
            self.slowed_until = Some(until);
        }
    }

    /// Reads on. The time in which nothing was read is not the peer's.
    fn go_on(&mut self) {
        let now = Instant::now();
        self.slowed_until = None;
        self.last_byte = now;
        self.document_since = self.document_since.map(|_| now);
    }

    /// When the peer will have been idle, or slow, for too long.
    fn deadline(&self) -> Instant {
        match self.document_since {
            None => self.last_byte + self.settings.idle,
            Some(since) => {
                let allowed = Duration::from_secs(self.document_bytes / self.settings.minimum_rate.max(1));
                (since + self.settings.grace.max(allowed)).min(self.last_byte + self.settings.stall)
            }
        }
    }

    fn overdue(&self) -> Stop {
        if self.document_since.is_some() { Stop::TooSlow } else { Stop::Idle }
    }

    async fn last_answer(&mut self, stop: Stop) -> Option<Answer> {
        match stop {
            Stop::Bytes(error) => Some(self.intake.refuse_bytes(&self.peer, &self.buffer, error.code, error.message).await),
            Stop::TooSlow => {
                let text = format!("the document came slower than {} bytes a second", self.settings.minimum_rate);
                Some(Answer::nack(None, RefusalCode::RateLimited, text))
            }
            Stop::NoRoom => {
                let text = "too many large documents are on their way, try again later";
                Some(Answer::nack(None, RefusalCode::RateLimited, text))
            }
            Stop::EndOfStream if !self.framer.at_boundary() => {
                let text = "the stream ended inside a document".to_owned();
                Some(self.intake.refuse_bytes(&self.peer, &self.buffer, RefusalCode::Malformed, text).await)
            }
            Stop::Http | Stop::EndOfStream | Stop::Draining | Stop::Idle => None,
        }
    }

    async fn answer_pending(&mut self) -> std::io::Result<()> {
        while let Some(answered) = next_answer(&mut self.ready, &mut self.pending).await {
            if self.write(answered).await? {
                self.pending.clear();
                self.ready.clear();
                self.closing = true;
            }
        }
        Ok(())
    }

    /// Writes an answer; true where the connection closes after it.
    async fn write(&mut self, Answered { answer, since }: Answered) -> std::io::Result<bool> {
        let line = answer.line();
        let Self { stream, pending, ready, .. } = self;
        let writing = tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(line.as_bytes()));
        going_on(writing, pending, ready).await??;
        answer.count(since.elapsed());
        Ok(answer.closes())
    }

    async fn finish(&mut self) -> std::io::Result<()> {
        close(&mut self.stream).await;
        Ok(())
    }
}

/// The next answer in the order of the documents; none where no document is under
/// way.
async fn next_answer(ready: &mut VecDeque<Answered>, pending: &mut FuturesOrdered<Pending>) -> Option<Answered> {
    match ready.pop_front() {
        Some(answered) => Some(answered),
        None => pending.next().await,
    }
}

/// Waits for a write while documents go on: others' may wait for those of a peer
/// that reads no answers.
async fn going_on<T>(
    writing: impl Future<Output = T>,
    pending: &mut FuturesOrdered<Pending>,
    ready: &mut VecDeque<Answered>,
) -> T {
    tokio::pin!(writing);
    loop {
        tokio::select! {
            biased;
            written = &mut writing => return written,
            Some(next) = pending.next(), if !pending.is_empty() => ready.push_back(next),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Closes our half and listens for a bounded while.
async fn close(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut sink = [0; 4096];
    let drained = async { while matches!(stream.read(&mut sink).await, Ok(read) if read > 0) {} };
    let _ = tokio::time::timeout(LINGER, drained).await;
}

pub(crate) fn is_multi_threaded() -> bool {
    tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn documents_go_on_while_the_answer_to_an_earlier_one_is_being_written() {
        let (dealt_with, written) = oneshot::channel();
        let mut pending: FuturesOrdered<Pending> = FuturesOrdered::new();
        pending.push_back(Box::pin(async move {
            dealt_with.send(()).unwrap();
            Answered { answer: Answer::nack(None, RefusalCode::Unavailable, "later"), since: Instant::now() }
        }));
        let mut ready = VecDeque::new();
        // A peer that reads its first answer once its second document is dealt with.
        let going_on = going_on(written, &mut pending, &mut ready);
        tokio::time::timeout(Duration::from_secs(10), going_on).await.unwrap().unwrap();
        let next = ready.pop_front().or(pending.next().await);
        assert!(next.is_some_and(|next| next.answer.line().contains("later")));
    }
}
