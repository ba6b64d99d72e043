//! A connection: bytes into documents, answers into bytes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heliograph_dialects::{Dialect, Frame, FrameError, Framer};
use heliograph_domain::RefusalCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::answers::Answers;
use crate::apart::apart;
use crate::decode_budget::{DecodeBudget, DecodePermit};
use crate::http::Beginning;
use crate::intake::Intake;
use crate::minimum_rate::MinimumRate;
use crate::peer::Peer;
use crate::room::{self, Held, Room, RoomForDocuments};
use crate::settings::IngestSettings;
use crate::tls::{self, Door};
use crate::wire::Wire;
use crate::{http, linger};

/// Bytes that are read of what a peer that is turned away has sent.
const TURNED_AWAY: usize = 64 * 1024;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) intake: Arc<Intake>,
    pub(crate) room: RoomForDocuments,
    pub(crate) settings: IngestSettings,
    pub(crate) shutdown: CancellationToken,
}

/// Serves one peer until it leaves, breaks a rule or the server drains. What few
/// connections need does not make all of them larger: it is boxed.
pub(crate) async fn serve(mut connection: Box<Connection>) {
    loop {
        match connection.run().await {
            Ok(Spoken::Xml) => return Box::pin(connection.finish()).await,
            Ok(Spoken::Http) => return Box::pin(http::serve(*connection)).await,
            Ok(Spoken::Tls) => match Box::pin(connection.encrypt()).await {
                Some(encrypted) => connection = encrypted,
                None => return,
            },
            Err(error) => return tracing::debug!(%error, address = %connection.peer.address, "connection lost"),
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
    pub(crate) shared: Arc<Shared>,
    pub(crate) buffer: BytesMut,
    door: Door,
    framer: Framer,
    room: Room,
    /// Something has come that tells what is spoken.
    begun: bool,
    /// A verdict closes the connection: nothing further is taken from it.
    closing: bool,
    answers: Answers,
    last_byte: Instant,
    /// How slowly the document that is under way may come.
    rate: Option<MinimumRate>,
    /// Its gateway is ahead of a rate: nothing is read until then.
    slowed_until: Option<Instant>,
    /// A large document that has come whole: nothing is read until it has its place.
    waiting: Option<Box<Waiting>>,
}

/// A document that waits until it may be decoded.
struct Waiting {
    came: Came,
    /// Its place in the line; `None` while it has none.
    place: Option<BoxFuture<'static, DecodePermit>>,
}

impl Waiting {
    /// Waits until it may be decoded, from the end of the line where it has no place in it.
    async fn permit(&mut self, budget: &DecodeBudget) -> DecodePermit {
        let bytes = self.came.document.len();
        self.place.get_or_insert_with(|| budget.acquire(bytes).boxed()).await
    }

    /// Leaves the line while its peer reads no answers: nobody waits behind who does not
    /// take what they are given.
    fn step_back(&mut self) {
        self.place = None;
    }
}

/// A document that has come whole.
struct Came {
    document: Bytes,
    at: Instant,
    /// What a large one holds of the room for all of them.
    room: Vec<Held>,
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

/// What the first bytes of a connection begin.
enum Begun {
    As(Stop),
    /// More of them are needed to tell.
    Unclear,
}

impl Connection {
    /// Of a peer that has just come.
    pub(crate) fn accepted(stream: TcpStream, address: SocketAddr, door: Door, shared: Arc<Shared>) -> Box<Self> {
        // Answers are short and waited for.
        let _ = stream.set_nodelay(true);
        let peer = Peer::new(address);
        let peer = if door.needs_certificate() { peer.needs_certificate() } else { peer };
        Box::new(Self::new(Wire::Plain(stream), peer, door, shared))
    }

    fn new(wire: Wire, peer: Peer, door: Door, shared: Arc<Shared>) -> Self {
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
            answers: Answers::default(),
            last_byte: Instant::now(),
            rate: None,
            slowed_until: None,
            waiting: None,
        }
    }

    /// Runs to the last answer, or to where it turns out that something else is spoken.
    ///
    /// Of a peer that sends and reads as fast as it is served nothing here ever waits: that
    /// others get their turn has to be asked for.
    async fn run(&mut self) -> std::io::Result<Spoken> {
        let shared = Arc::clone(&self.shared);
        let mut draining = pin!(shared.shutdown.cancelled());
        let mut timer = pin!(tokio::time::sleep_until(self.deadline()));
        let stop = loop {
            let (may_read, due) = (self.may_take(), self.due());
            // Where it has become later meanwhile is seen once the timer has run out.
            if let Some(due) = due.filter(|due| *due < timer.deadline()) {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = self.answers.gather() => {
                    if self.write().await? {
                        return Ok(Spoken::Xml);
                    }
                    consume_budget().await;
                    if let Some(stop) = self.frame() {
                        break stop;
                    }
                }
                () = &mut draining => break Stop::Draining,
                permit = permitted(&mut self.waiting, &shared), if self.waiting.is_some() => {
                    self.go_on();
                    self.take_waiting(permit);
                    consume_budget().await;
                    if let Some(stop) = self.frame() {
                        break stop;
                    }
                }
                ready = self.wire.readable(), if may_read => {
                    ready?;
                    if let Some(stop) = self.read()? {
                        break stop;
                    }
                    consume_budget().await;
                }
                () = &mut timer, if due.is_some() => match due {
                    Some(due) if due > Instant::now() => timer.as_mut().reset(due),
                    _ if self.slowed_until.is_none() => break self.overdue(),
                    _ => {
                        self.go_on();
                        if let Some(stop) = self.frame() {
                            break stop;
                        }
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

    /// Writes the answers that are there; true where the connection closes after them.
    async fn write(&mut self) -> std::io::Result<bool> {
        let waiting = &mut self.waiting;
        let step_back = || waiting.iter_mut().for_each(|waiting| waiting.step_back());
        self.answers.write(&mut self.wire, step_back).await
    }

    async fn answer_the_rest(&mut self, stop: Stop) -> std::io::Result<()> {
        if self.waiting.is_some() {
            let permit = self.answers.going_on(permitted(&mut self.waiting, &self.shared)).await;
            self.take_waiting(permit);
        }
        self.answer_pending().await?;
        if let Some((answer, dialect)) = self.last_answer(stop).await.filter(|_| !self.closing) {
            self.answers.push_last(answer, dialect);
            self.write().await?;
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
                Some(Box::new(Self::new(Wire::encrypted(stream), peer.shows(shown), Door::inner(), Arc::clone(&shared))))
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
            // Bytes that may have been those of a request are none.
            Ok(0) if !std::mem::replace(&mut self.begun, true) => return Ok(self.frame().or(Some(Stop::EndOfStream))),
            Ok(0) => return Ok(Some(Stop::EndOfStream)),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        metrics::counter!("heliograph_ingest_bytes_total").increment(read as u64);
        if let Some(rate) = &mut self.rate {
            rate.note(read, Instant::now());
        }
        if !self.begun {
            match self.begin() {
                Some(Begun::As(stop)) => return Ok(Some(stop)),
                Some(Begun::Unclear) => {
                    self.note_bytes();
                    return Ok(None);
                }
                None => {}
            }
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

    /// Looks what is spoken; XML, where it says nothing. Empty lines before a request
    /// mean nothing (RFC 9112 section 2.2), nor do they before a document.
    fn begin(&mut self) -> Option<Begun> {
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let first = *self.buffer.get(blank)?;
        if self.door.tls.is_some() && blank == 0 && first == tls::HELLO {
            return Some(Begun::As(Stop::Tls));
        }
        if self.door.only_tls {
            return Some(Begun::As(Stop::NoTls));
        }
        match http::begins(self.buffer.get(blank..).unwrap_or_default()) {
            Beginning::Request => {
                self.buffer.advance(blank);
                Some(Begun::As(Stop::Http))
            }
            Beginning::Unclear => Some(Begun::Unclear),
            Beginning::Other => {
                self.begun = true;
                None
            }
        }
    }

    /// Whether a further document may be taken. Those under way are bounded by their bytes
    /// too: a small one asks for no room, however many there are.
    fn may_take(&self) -> bool {
        !self.closing
            && self.slowed_until.is_none()
            && self.waiting.is_none()
            && self.answers.len() < self.shared.settings.in_flight
            && self.answers.bytes() < room::FREE
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
                    self.last_byte = Instant::now();
                    self.rate = None;
                    self.come(document.freeze());
                }
                Err(error) => return Some(Stop::Bytes(error)),
            }
        }
        None
    }

    /// White space between documents is no sign of life.
    fn note_progress(&mut self) {
        if self.framer.in_document() {
            self.note_bytes();
        } else {
            self.rate = None;
        }
    }

    /// Something is under way, at no less than the minimum rate.
    fn note_bytes(&mut self) {
        self.last_byte = Instant::now();
        let (settings, bytes) = (&self.shared.settings, self.buffer.len());
        self.rate.get_or_insert_with(|| MinimumRate::begun_with(bytes, settings));
    }

    /// A document has come: a large one waits until it may be decoded.
    fn come(&mut self, document: Bytes) {
        let (bytes, at) = (document.len(), self.last_byte);
        // A large document keeps its room until it is answered.
        let came = Came { document, at, room: self.room.hand_over(bytes) };
        if DecodeBudget::is_for(bytes) {
            self.waiting = Some(Box::new(Waiting { came, place: None }));
        } else {
            self.take(came, DecodePermit::SMALL);
        }
    }

    /// Takes the document that has waited.
    fn take_waiting(&mut self, permit: DecodePermit) {
        if let Some(waiting) = self.waiting.take() {
            self.take(waiting.came, permit);
        }
    }

    fn take(&mut self, Came { document, at, room }: Came, permit: DecodePermit) {
        let (intake, peer) = (&self.shared.intake, &mut self.peer);
        let taken = apart(document.len(), || intake.take(peer, &document));
        self.closing |= taken.closes;
        self.slowed_until = taken.resume;
        // The budget is not for who waits for a turn.
        let held = (room, (!taken.waits).then_some(permit));
        self.answers.push(taken.answer, taken.dialect, at, document.len(), held);
    }

    /// Reads on. The time in which nothing was read is not the peer's.
    fn go_on(&mut self) {
        let now = Instant::now();
        self.slowed_until = None;
        self.last_byte = now;
        self.rate = self.rate.map(|_| MinimumRate::begun_with(0, &self.shared.settings));
    }

    /// When to look at the time: where the peer is read slower until it is read on,
    /// else where it is read once that has taken too long.
    fn due(&self) -> Option<Instant> {
        self.slowed_until.or_else(|| self.may_take().then(|| self.deadline()))
    }

    /// When the peer will have been idle, or slow, for too long.
    fn deadline(&self) -> Instant {
        self.rate.map_or_else(|| self.last_byte + self.shared.settings.idle, |rate| rate.deadline())
    }

    fn overdue(&self) -> Stop {
        if self.rate.is_some() { Stop::TooSlow } else { Stop::Idle }
    }

    /// The answer to what is no document, and the dialect of that, where it can be told.
    async fn last_answer(&mut self, stop: Stop) -> Option<(Answer, Option<Dialect>)> {
        match stop {
            Stop::Bytes(error) => {
                Some(self.shared.intake.refuse_bytes(&self.peer, &self.buffer, error.code, error.message).await)
            }
            Stop::TooSlow => {
                let text = format!("the document came slower than {} bytes a second", self.shared.settings.minimum_rate);
                Some((Answer::nack(None, RefusalCode::RateLimited, text), None))
            }
            Stop::NoRoom => {
                let text = "too many large documents are on their way, try again later";
                Some((Answer::nack(None, RefusalCode::RateLimited, text), None))
            }
            Stop::EndOfStream if !self.framer.at_boundary() => {
                let text = "the stream ended inside a document".to_owned();
                Some(self.shared.intake.refuse_bytes(&self.peer, &self.buffer, RefusalCode::Malformed, text).await)
            }
            Stop::Http | Stop::Tls | Stop::NoTls | Stop::EndOfStream | Stop::Draining | Stop::Idle => None,
        }
    }

    async fn answer_pending(&mut self) -> std::io::Result<()> {
        while !self.answers.is_empty() {
            self.answers.gather().await;
            if self.write().await? {
                self.answers.clear();
                self.closing = true;
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) {
        linger::close(&mut self.wire, linger::most(&self.shared.settings), &self.shared.shutdown).await;
    }
}

/// Waits until the document that waits may be decoded; without one, for ever.
async fn permitted(waiting: &mut Option<Box<Waiting>>, shared: &Shared) -> DecodePermit {
    match waiting {
        Some(waiting) => waiting.permit(&shared.intake.decode_budget).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
