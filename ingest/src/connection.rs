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
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::intake::Intake;
use crate::minimum_rate::MinimumRate;
use crate::peer::Peer;
use crate::room::{Room, RoomForDocuments};
use crate::settings::IngestSettings;
use crate::tls::{self, Door};
use crate::wire::Wire;
use crate::{http, linger};

/// Documents of at least this size are decoded where they don't hold up others.
pub(crate) const LARGE: usize = 256 * 1024;
/// Bytes that are read of what a peer that is turned away has sent.
const TURNED_AWAY: usize = 64 * 1024;
/// How long a peer may take to accept an answer.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

struct Answered {
    answer: Answer,
    since: Instant,
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) intake: Arc<Intake>,
    pub(crate) room: RoomForDocuments,
    pub(crate) settings: IngestSettings,
    pub(crate) shutdown: CancellationToken,
}

/// Serves one peer until it leaves, breaks a rule or the server drains.
pub(crate) async fn serve(stream: TcpStream, address: SocketAddr, door: Door, shared: Shared) {
    // Answers are short and waited for.
    let _ = stream.set_nodelay(true);
    let peer = Peer::new(address);
    let peer = if door.needs_certificate() { peer.needs_certificate() } else { peer };
    let mut connection = Box::new(Connection::new(Wire::Plain(stream), peer, door, shared));
    // What few connections need does not make all of them larger: it is boxed.
    loop {
        match connection.run().await {
            Ok(Spoken::Xml) => return Box::pin(connection.finish()).await,
            Ok(Spoken::Http) => return Box::pin(http::serve(*connection)).await,
            Ok(Spoken::Tls) => match Box::pin(connection.encrypt()).await {
                Some(encrypted) => connection = encrypted,
                None => return,
            },
            Err(error) => return tracing::debug!(%error, %address, "connection lost"),
        }
    }
}

/// Answers a peer that cannot be served, and lets it go.
pub(crate) async fn turn_away(stream: TcpStream, shutdown: CancellationToken) {
    let answer = Answer::nack(None, RefusalCode::RateLimited, "too many connections, try again later");
    let mut wire = Wire::Plain(stream);
    if wire.write_all(answer.line().as_bytes()).await.is_ok() {
        linger::close(&mut wire, TURNED_AWAY, &shutdown).await;
    }
}

/// A connection on which documents come back to back, as far as it is read.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    pub(crate) peer: Peer,
    pub(crate) shared: Shared,
    pub(crate) buffer: BytesMut,
    door: Door,
    framer: Framer,
    room: Room,
    /// Something has come that tells what is spoken.
    begun: bool,
    /// A verdict closes the connection: nothing further is taken from it.
    closing: bool,
    pending: FuturesOrdered<Pending>,
    /// Answers that came while an earlier one was being written.
    ready: VecDeque<Answered>,
    last_byte: Instant,
    /// How slowly the document that is under way may come.
    rate: Option<MinimumRate>,
    /// Its gateway is ahead of a rate: nothing is read until then.
    slowed_until: Option<Instant>,
}

/// What is spoken on a connection.
enum Spoken {
    /// XML, and all of it is answered.
    Xml,
    /// Something else, whose first bytes are in the buffer.
    Http,
    Tls,
}

/// Why reading stops; earlier documents are answered first.
enum Stop {
    EndOfStream,
    /// It is not XML that comes, but a request.
    Http,
    /// It is not XML that comes, but a handshake.
    Tls,
    /// Something else comes where nothing but a handshake may.
    NoTls,
    Draining,
    Idle,
    Bytes(FrameError),
    TooSlow,
    NoRoom,
}

impl Connection {
    fn new(wire: Wire, peer: Peer, door: Door, shared: Shared) -> Self {
        Self {
            wire,
            door,
            framer: Framer::new(shared.settings.limits),
            buffer: BytesMut::new(),
            room: Room::of(shared.room.clone(), peer.address.ip()),
            peer,
            shared,
            begun: false,
            closing: false,
            pending: FuturesOrdered::new(),
            ready: VecDeque::new(),
            last_byte: Instant::now(),
            rate: None,
            slowed_until: None,
        }
    }

    /// Runs to the last answer, or to where it turns out that something else is spoken.
    async fn run(&mut self) -> std::io::Result<Spoken> {
        let shutdown = self.shared.shutdown.clone();
        let stop = loop {
            let may_read = self.may_take();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                Some(answered) = next_answer(&mut self.ready, &mut self.pending) => {
                    if self.write(answered).await? {
                        return Ok(Spoken::Xml);
                    }
                    if let Some(stop) = self.frame() {
                        break stop;
                    }
                }
                () = shutdown.cancelled() => break Stop::Draining,
                ready = self.wire.readable(), if may_read => {
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
        match stop {
            Stop::Http => return Ok(Spoken::Http),
            Stop::Tls => return Ok(Spoken::Tls),
            _ => {}
        }
        Box::pin(self.answer_the_rest(stop)).await?;
        Ok(Spoken::Xml)
    }

    async fn answer_the_rest(&mut self, stop: Stop) -> std::io::Result<()> {
        self.answer_pending().await?;
        if let Some(answer) = self.last_answer(stop).await.filter(|_| !self.closing) {
            self.write(Answered { answer, since: Instant::now() }).await?;
        }
        Ok(())
    }

    /// Does the handshake that has begun; answers the connection under it.
    async fn encrypt(self: Box<Self>) -> Option<Box<Self>> {
        let Self { wire: Wire::Plain(tcp), door: Door { tls: Some(tls), .. }, buffer, peer, shared, .. } = *self else {
            return None;
        };
        let address = peer.address;
        let deadline = tokio::time::timeout(shared.settings.handshake, tls.accept(buffer.freeze(), tcp));
        match shared.shutdown.run_until_cancelled(deadline).await? {
            Ok(Ok((stream, shown))) => {
                tls::count("done", address, None);
                Some(Box::new(Self::new(Wire::encrypted(stream), peer.shows(shown), Door::inner(), shared.clone())))
            }
            Ok(Err(error)) => {
                tls::count("failed", address, Some(&error));
                None
            }
            Err(_) => {
                tls::count("timeout", address, None);
                None
            }
        }
    }

    /// Reads what is there and frames it; `Some` where reading has to stop.
    fn read(&mut self) -> std::io::Result<Option<Stop>> {
        let read = match self.wire.try_read(&mut self.buffer) {
            Ok(0) => return Ok(Some(Stop::EndOfStream)),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        metrics::counter!("heliograph_ingest_bytes_total").increment(read as u64);
        if let Some(rate) = &mut self.rate {
            rate.note(read, Instant::now());
        }
        if !self.begun
            && let Some(stop) = self.begin()
        {
            return Ok(Some(stop));
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

    /// Looks what is spoken. Empty lines before a request mean nothing (RFC 9112
    /// section 2.2), nor do they before a document.
    fn begin(&mut self) -> Option<Stop> {
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let first = *self.buffer.get(blank)?;
        self.begun = true;
        if self.door.tls.is_some() && blank == 0 && first == tls::HELLO {
            return Some(Stop::Tls);
        }
        if self.door.only_tls {
            return Some(Stop::NoTls);
        }
        http::begins(self.buffer.get(blank..).unwrap_or_default()).then(|| {
            self.buffer.advance(blank);
            Stop::Http
        })
    }

    fn may_take(&self) -> bool {
        !self.closing && self.slowed_until.is_none() && self.pending.len() + self.ready.len() < self.shared.settings.in_flight
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
                    self.rate = None;
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
            let (settings, bytes) = (&self.shared.settings, self.buffer.len());
            self.rate.get_or_insert_with(|| MinimumRate::begun_with(bytes, settings));
        } else {
            self.rate = None;
        }
    }

    fn take(&mut self, document: &Bytes) {
        let since = Instant::now();
        let (intake, peer) = (&self.shared.intake, &mut self.peer);
        let taken = if document.len() >= LARGE && is_multi_threaded() {
            tokio::task::block_in_place(|| intake.take(peer, document))
        } else {
            intake.take(peer, document)
        };
        self.closing |= taken.closes;
        self.slowed_until = taken.resume;
        // A large document keeps its room until it is answered.
        let room = self.room.hand_over(document.len());
        self.pending.push_back(Box::pin(async move {
            let answer = taken.answer.await;
            drop(room);
            Answered { answer, since }
        }));
    }

    /// Reads on. The time in which nothing was read is not the peer's.
    fn go_on(&mut self) {
        let now = Instant::now();
        self.slowed_until = None;
        self.last_byte = now;
        self.rate = self.rate.map(|_| MinimumRate::begun_with(0, &self.shared.settings));
    }

    /// When the peer will have been idle, or slow, for too long.
    fn deadline(&self) -> Instant {
        self.rate.map_or_else(|| self.last_byte + self.shared.settings.idle, |rate| rate.deadline())
    }

    fn overdue(&self) -> Stop {
        if self.rate.is_some() { Stop::TooSlow } else { Stop::Idle }
    }

    async fn last_answer(&mut self, stop: Stop) -> Option<Answer> {
        match stop {
            Stop::Bytes(error) => {
                Some(self.shared.intake.refuse_bytes(&self.peer, &self.buffer, error.code, error.message).await)
            }
            Stop::TooSlow => {
                let text = format!("the document came slower than {} bytes a second", self.shared.settings.minimum_rate);
                Some(Answer::nack(None, RefusalCode::RateLimited, text))
            }
            Stop::NoRoom => {
                let text = "too many large documents are on their way, try again later";
                Some(Answer::nack(None, RefusalCode::RateLimited, text))
            }
            Stop::EndOfStream if !self.framer.at_boundary() => {
                let text = "the stream ended inside a document".to_owned();
                Some(self.shared.intake.refuse_bytes(&self.peer, &self.buffer, RefusalCode::Malformed, text).await)
            }
            Stop::Http | Stop::Tls | Stop::NoTls | Stop::EndOfStream | Stop::Draining | Stop::Idle => None,
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
        let Self { wire, pending, ready, .. } = self;
        let writing = tokio::time::timeout(WRITE_TIMEOUT, async {
            wire.write_all(line.as_bytes()).await?;
            wire.flush().await
        });
        going_on(writing, pending, ready).await??;
        answer.count(since.elapsed());
        Ok(answer.closes())
    }

    async fn finish(mut self: Box<Self>) {
        linger::close(&mut self.wire, linger::most(&self.shared.settings), &self.shared.shutdown).await;
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
