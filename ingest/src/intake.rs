//! One document in, one answer out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heliograph_dialects::{DecodeError, Decoded, Dialect, Salvaged, mask_credentials, salvage, salvage_by};
use heliograph_domain::{GatewayId, KeyDigest, RefusalCode};
use heliograph_store::{DocumentWrite, QuarantineNew, Stamps, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::adoption::Adoptions;
use crate::answer::Answer;
use crate::arrival::Arrival;
use crate::backfill::Backfill;
use crate::decoding::{Content, decode_for, reasons};
use crate::device_clocks::DeviceClocks;
use crate::directory::{Directory, DirectoryFeed, Standing, certificate_digest};
use crate::knocks::Knocks;
use crate::lockout::Lockout;
use crate::peer::{Hello, Peer, Witness};
use crate::quarantine;
use crate::rate::{Hold, Pace, Who};
use crate::spool::{NotKept, Record, Spool};
use crate::turn::Place;
use crate::usage::Usage;

/// What all connections of a server share.
pub(crate) struct Intake {
    /// Where everything is written.
    pub(crate) spool: Spool,
    pub(crate) directory: DirectoryFeed,
    /// Wrong keys by address.
    pub(crate) wrong_keys: Lockout,
    /// Entries in quarantine of strangers by address.
    pub(crate) strangers: Lockout,
    /// What waiting gateways have sent lately.
    pub(crate) knocks: Knocks,
    /// When credentials were last used.
    pub(crate) usage: Arc<Usage>,
    /// What was seen of gateways' clocks.
    pub(crate) device_clocks: Arc<DeviceClocks>,
    pub(crate) clock: Clock,
    pub(crate) stamps: Stamps,
    /// Which unknown gateways were adopted of late.
    pub(crate) adoptions: Adoptions,
    /// How far ahead of their rates gateways are.
    pub(crate) pace: Pace,
    /// Who waits behind live documents.
    pub(crate) backfill: Backfill,
    /// Cancelled once nothing further is taken.
    pub(crate) draining: CancellationToken,
}

/// Bytes of what is refused that count as one reading.
const REFUSED: usize = 256;

/// How long the answer to a document that is stored may be held back, so that a gateway
/// ahead of its rate sends the next one later: devices take a request as failed after half
/// a minute or more.
const ANSWER_HELD: Duration = Duration::from_secs(20);

const TOO_MANY_KEYS: &str = "too many wrong keys from this address, try again in a minute";
/// Wrong keys of an address in a minute; more are answered and not kept.
pub(crate) const WRONG_KEYS: u32 = 20;
/// Refused documents of strangers at an address in a minute; more are answered
/// and not kept.
pub(crate) const STRANGERS: u32 = 120;

/// What is to be done with a document once it is decoded and judged.
enum Verdict {
    /// Nothing is written; this is the answer.
    Answer(Answer),
    /// This is written, then answered; the bytes are kept where it is refused.
    Store(Arc<DocumentWrite>, Bytes, Answer),
    /// This is kept for people to look at, then answered.
    Keep(Box<Kept>, Answer),
    /// As `Keep`, from a gateway that is to be listed as waiting.
    Knock(GatewayId, Box<Kept>, Answer),
}

/// Something refused, and what was to prove whose it is.
struct Kept {
    entry: QuarantineNew,
    key: Option<KeyDigest>,
}

impl Verdict {
    /// The token of its document.
    fn into_seq(self) -> Option<String> {
        match self {
            Self::Answer(answer) | Self::Keep(_, answer) | Self::Knock(_, _, answer) | Self::Store(_, _, answer) => {
                answer.into_seq()
            }
        }
    }

    /// Whether nothing further may be taken from the connection.
    fn closes(&self) -> bool {
        match self {
            Self::Answer(answer) | Self::Keep(_, answer) | Self::Knock(_, _, answer) => answer.closes(),
            Self::Store(..) => false,
        }
    }
}

/// A document that has been judged.
pub(crate) struct Taken<F> {
    /// Whether the connection closes after the answer.
    pub(crate) closes: bool,
    /// What it speaks, as far as that can be told.
    pub(crate) dialect: Option<Dialect>,
    /// When to read on, where its gateway is ahead of a rate.
    pub(crate) resume: Option<Instant>,
    pub(crate) answer: Answering<F>,
}

/// The answer to a document.
pub(crate) enum Answering<F> {
    /// Nothing has to be written for it.
    Now(Answer),
    /// Once what has to be written is safe.
    Later(F),
}

impl<F: Future<Output = Answer>> Answering<F> {
    /// The answer, once it may be given.
    pub(crate) async fn wait(self) -> Answer {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

impl Intake {
    /// Judges a document at once; the answer comes when what has to be written
    /// is safe. Judging stays in the order of the connection, writing overlaps.
    pub(crate) fn take(self: &Arc<Self>, peer: &mut Peer, bytes: &Bytes) -> Taken<impl Future<Output = Answer> + Send + use<>> {
        let (dialect, verdict) = self.judge(peer, bytes, self.arrival());
        let (verdict, hold) = match self.hold(&verdict, peer, bytes.len()) {
            Some(hold) => (verdict, hold),
            None => (Verdict::Answer(too_much_waits(verdict.into_seq())), Hold::none(Instant::now())),
        };
        let (closes, Hold { turn, read, place }) = (verdict.closes(), hold);
        let answer = match verdict {
            Verdict::Answer(answer) => Answering::Now(answer),
            verdict => Answering::Later(Arc::clone(self).carry_out(verdict, peer.witness(), turn, place)),
        };
        // What is over already is no reason to wait: a timer takes a millisecond.
        let resume = (read > Instant::now()).then_some(read);
        if resume.is_some() {
            metrics::counter!("heliograph_ingest_slowed_total").increment(1);
        }
        Taken { closes, dialect, resume, answer }
    }

    /// Waits until a document has its turn, or the server takes no further ones.
    async fn await_turn(&self, turn: Instant) {
        if turn > Instant::now() {
            Box::pin(self.draining.run_until_cancelled(tokio::time::sleep_until(turn))).await;
        }
    }

    /// Waits for as long as an answer may be held back.
    pub(crate) async fn hold_back(&self, until: Instant) {
        self.await_turn(until.min(Instant::now() + ANSWER_HELD)).await;
    }

    /// Something has come now.
    fn arrival(&self) -> Arrival {
        let at = (self.clock)();
        Arrival { at, stamp: self.stamps.next(at) }
    }

    /// How long a gateway has to wait for a document and after it; `None` where too much
    /// waits already. What is refused counts by its bytes.
    fn hold(&self, verdict: &Verdict, peer: &Peer, bytes: usize) -> Option<Hold> {
        let (gateway, readings) = match verdict {
            Verdict::Store(document, _, answer) => (Some(&document.gateway), answer.readings()),
            Verdict::Keep(..) | Verdict::Knock(..) => (peer.proven.as_ref(), bytes.div_ceil(REFUSED)),
            Verdict::Answer(_) => return Some(Hold::none(Instant::now())),
        };
        self.note(gateway, peer, readings, bytes)
    }

    /// Notes what has come from a gateway that has proved itself or is adopted. Anybody
    /// can name anybody's gateway in what is refused: that counts as a stranger's.
    fn note(&self, gateway: Option<&GatewayId>, peer: &Peer, readings: usize, bytes: usize) -> Option<Hold> {
        let is_commissioned = |gateway: &&GatewayId| self.directory.now().is_some_and(|now| now.is_commissioned(gateway));
        let who = gateway.filter(is_commissioned).map_or(Who::Stranger(peer.address.ip()), Who::Gateway);
        self.pace.note(who, readings, bytes, Instant::now())
    }

    /// Whether what a peer has said beside its documents is right; then they are
    /// trusted, readable or not. Wrong keys count, and too many are answered.
    pub(crate) fn vouch(&self, peer: &mut Peer) -> Result<bool, Answer> {
        let Some(directory) = self.directory.now() else { return Ok(false) };
        peer.look_up(&directory);
        let (address, now, key) = (peer.address.ip(), (self.clock)(), peer.key());
        if key.is_none() && peer.owner.is_none() {
            return Ok(false);
        }
        let standing = peer.gateway().map_or(Standing::Unknown, |gateway| directory.standing(gateway, &peer.proof(key), now));
        match standing {
            _ if self.wrong_keys.holds(address, now) => Err(Answer::nack(None, RefusalCode::RateLimited, TOO_MANY_KEYS)),
            Standing::Trusted(_) => {
                peer.trusted = true;
                peer.proven = peer.gateway().cloned();
                Ok(true)
            }
            Standing::Imposter => {
                self.wrong_keys.note(address, now);
                Ok(false)
            }
            // Loggers have user names of their own: then the key says whose it is.
            Standing::Unknown if peer.hello.is_none() && !peer.needs_certificate => {
                let is_known = key.is_some_and(|key| directory.knows_key(&key, now));
                peer.trusted |= is_known;
                Ok(is_known)
            }
            Standing::Unknown | Standing::Retired => Ok(false),
        }
    }

    /// The answer to bytes that are no document, and what they speak, as far as that can
    /// be told.
    pub(crate) async fn refuse_bytes(
        &self,
        peer: &Peer,
        bytes: &[u8],
        code: RefusalCode,
        message: String,
    ) -> (Answer, Option<Dialect>) {
        let arrival = self.arrival();
        let found = self.salvage(bytes);
        let Some(Hold { turn, place, .. }) = self.note(peer.proven.as_ref(), peer, bytes.len().div_ceil(REFUSED), bytes.len())
        else {
            return (too_much_waits(found.seq), found.dialect);
        };
        self.await_turn(turn).await;
        drop(place);
        let gateway = found.gateway.or_else(|| peer.gateway().cloned());
        let witness = peer.witness();
        let kept = kept(&witness, gateway, arrival, code, message.clone(), bytes);
        (self.keep(&witness, None, *kept, Answer::nack(found.seq, code, message)).await, found.dialect)
    }

    /// What can be told of a document without decoding it.
    fn salvage(&self, bytes: &[u8]) -> Salvaged {
        match self.directory.now() {
            Some(directory) => salvage_by(bytes, directory.mappings.list()),
            None => salvage(bytes),
        }
    }

    /// What is to be done with a document, and what it speaks.
    fn judge(&self, peer: &mut Peer, bytes: &Bytes, arrival: Arrival) -> (Option<Dialect>, Verdict) {
        let Some(directory) = self.directory.now() else {
            let (text, found) = ("gateways are not known yet, send it again", salvage(bytes));
            return (found.dialect, Verdict::Answer(Answer::nack(found.seq, RefusalCode::Unavailable, text)));
        };
        peer.look_up(&directory);
        match decode_for(&directory, peer.gateway(), directory.mappings.list(), bytes, arrival.at) {
            Ok(decoded) => (Some(decoded.dialect), self.judge_decoded(&directory, peer, decoded, bytes, arrival)),
            Err(DecodeError { code, message, seq, gateway }) => {
                let gateway = gateway.or_else(|| peer.gateway().cloned());
                let kept = kept(&peer.witness(), gateway, arrival, code, message.clone(), bytes);
                (self.salvage(bytes).dialect, Verdict::Keep(kept, Answer::nack(seq, code, message)))
            }
        }
    }

    fn judge_decoded(
        &self,
        directory: &Directory,
        peer: &mut Peer,
        decoded: Decoded,
        bytes: &Bytes,
        arrival: Arrival,
    ) -> Verdict {
        let received = arrival.at;
        let Some(gateway) = decoded.gateway.clone() else {
            let text = "the document names no gateway and no hello came before it";
            let kept = kept(&peer.witness(), None, arrival, RefusalCode::UnknownGateway, text.to_owned(), bytes);
            return Verdict::Keep(kept, Answer::nack(decoded.seq, RefusalCode::UnknownGateway, text));
        };
        if peer.hello.as_ref().is_some_and(|hello| hello.gateway != gateway) {
            let text = "this connection said hello as another gateway";
            let kept = kept(&peer.witness(), Some(gateway), arrival, RefusalCode::BadKey, text.to_owned(), bytes);
            return Verdict::Keep(kept, Answer::nack(decoded.seq, RefusalCode::BadKey, text));
        }
        if peer.owner.as_ref().is_some_and(|owner| *owner != gateway) {
            let text = "the certificate of this connection is another gateway's";
            let kept = kept(&peer.witness(), Some(gateway), arrival, RefusalCode::BadKey, text.to_owned(), bytes);
            return Verdict::Keep(kept, Answer::nack(decoded.seq, RefusalCode::BadKey, text));
        }
        let key = decoded.key.as_ref().map(|key| KeyDigest::of(key.reveal())).or_else(|| peer.key());
        let standing = directory.standing(&gateway, &peer.proof(key), received);
        let refusal = if standing == Standing::Unknown { self.adoptions.refusal(directory, &gateway) } else { None };
        if let Some(text) = refusal {
            if decoded.is_hello {
                peer.knocked = Some(Hello { gateway: gateway.clone(), key });
            }
            let kept = kept(&peer.witness(), Some(gateway.clone()), arrival, RefusalCode::UnknownGateway, text.clone(), bytes);
            return Verdict::Knock(gateway, kept, Answer::nack(decoded.seq, RefusalCode::UnknownGateway, text));
        }
        match standing {
            Standing::Imposter => {
                let text = match (peer.needs_certificate, &key) {
                    (true, _) => "a certificate that is registered with the gateway is needed",
                    (false, Some(_)) => "the key is wrong",
                    (false, None) => "the key is missing",
                };
                self.impostor(peer, &decoded, &gateway, arrival, bytes, text)
            }
            Standing::Retired => {
                let text = format!("gateway {gateway} is no longer in use");
                let kept = kept(&peer.witness(), Some(gateway), arrival, RefusalCode::UnknownGateway, text.clone(), bytes);
                Verdict::Keep(kept, Answer::nack(decoded.seq, RefusalCode::UnknownGateway, text))
            }
            standing @ (Standing::Unknown | Standing::Trusted(_)) => {
                if let Standing::Trusted(credential) = standing {
                    peer.prove(&gateway);
                    credential.into_iter().for_each(|credential| self.usage.note(credential, received));
                    self.device_clocks.note(&gateway, &decoded, received);
                }
                if decoded.is_hello {
                    peer.hello = Some(Hello { gateway, key });
                    return Verdict::Answer(Answer::Ack { seq: decoded.seq, readings: 0, rejected: 0 });
                }
                accept(directory, peer, decoded, gateway, arrival, bytes)
            }
        }
    }

    fn impostor(
        &self,
        peer: &Peer,
        decoded: &Decoded,
        gateway: &GatewayId,
        arrival: Arrival,
        bytes: &[u8],
        text: &str,
    ) -> Verdict {
        let (address, received) = (peer.address.ip(), arrival.at);
        if self.wrong_keys.holds(address, received) {
            return Verdict::Answer(Answer::nack(decoded.seq.clone(), RefusalCode::RateLimited, TOO_MANY_KEYS));
        }
        self.wrong_keys.note(address, received);
        let kept = kept(&peer.witness(), Some(gateway.clone()), arrival, RefusalCode::BadKey, text.to_owned(), bytes);
        Verdict::Keep(kept, Answer::nack(decoded.seq.clone(), RefusalCode::BadKey, text))
    }

    /// Writes what has to be written, once it has its turn. Every document has one of these
    /// for a moment: what few of them need is boxed, so that it is small.
    async fn carry_out(self: Arc<Self>, verdict: Verdict, witness: Witness, turn: Instant, place: Option<Box<Place>>) -> Answer {
        self.await_turn(turn).await;
        drop(place);
        match verdict {
            Verdict::Answer(answer) => answer,
            Verdict::Keep(kept, answer) => Box::pin(self.keep(&witness, None, *kept, answer)).await,
            Verdict::Knock(gateway, kept, answer) => Box::pin(self.keep(&witness, Some(gateway), *kept, answer)).await,
            Verdict::Store(document, bytes, answer) => self.store(&witness, document, bytes, answer).await,
        }
    }

    async fn store(&self, witness: &Witness, document: Arc<DocumentWrite>, bytes: Bytes, answer: Answer) -> Answer {
        let record = Record::Document(Arc::clone(&document));
        let written = match self.backfill.turn(&document) {
            Some(turn) => Box::pin(async { turn.await.run(self.spool.write(record)).await }).await,
            None => self.spool.write(record).await,
        };
        match written {
            Ok(()) => {
                document.quarantine.iter().for_each(|entry| quarantine::count(entry.code));
                answer
            }
            Err(error) => Box::pin(self.not_stored(witness, &document, &bytes, answer, error)).await,
        }
    }

    async fn not_stored(
        &self,
        witness: &Witness,
        document: &DocumentWrite,
        bytes: &[u8],
        answer: Answer,
        error: NotKept,
    ) -> Answer {
        match error {
            // It would be refused as often as it is sent again.
            NotKept::Refused(error @ (StoreError::TooManySeries(_) | StoreError::Refused(_))) => {
                let text = error.to_string();
                let arrival = Arrival { at: document.received, stamp: document.stamp };
                let gateway = Some(document.gateway.clone());
                let kept = kept(witness, gateway, arrival, RefusalCode::Unsupported, text.clone(), bytes);
                self.keep(witness, None, *kept, Answer::nack(answer.into_seq(), RefusalCode::Unsupported, text)).await
            }
            error => {
                note(&error, "document cannot be stored");
                unavailable("document_write", answer)
            }
        }
    }

    /// Keeps what was refused, lists who knocked as waiting, then gives the answer.
    /// Where it cannot be kept the gateway is asked to send it again, unless the
    /// connection closes anyway.
    async fn keep(&self, witness: &Witness, knocking: Option<GatewayId>, Kept { entry, key }: Kept, answer: Answer) -> Answer {
        let (address, received) = (witness.address.ip(), entry.received);
        let mark = knocking.as_ref().map(|gateway| self.knocks.mark(gateway, key.as_ref(), &entry.raw));
        if !entry.trusted {
            if self.strangers.holds(address, received) || mark.is_some_and(|mark| self.knocks.holds(mark, received)) {
                if let Some(gateway) = knocking {
                    self.spool.knock(&gateway, &entry.address, received).await;
                }
                return answer;
            }
            self.strangers.note(address, received);
        }
        let code = entry.code;
        match self.spool.write(record(knocking, entry, key)).await {
            Ok(()) => {
                quarantine::count(code);
                if let Some(mark) = mark {
                    self.knocks.note(mark, received);
                }
                answer
            }
            Err(error) => {
                note(&error, "refused document cannot be kept");
                // A request is answered as it is, so that nobody is told of success.
                if answer.closes() && !witness.by_http { answer } else { unavailable("quarantine_add", answer) }
            }
        }
    }
}

/// What is written of something refused, from whom it knocks.
fn record(knocking: Option<GatewayId>, entry: QuarantineNew, key: Option<KeyDigest>) -> Record {
    let presented = key.map(|key| key.bound_to(entry.id));
    let entry = Arc::new(entry);
    match (knocking, presented) {
        (gateway, Some(presented)) => Record::Keyed(gateway, entry, presented),
        (Some(gateway), None) => Record::Knock(gateway, entry),
        (None, None) => Record::Refused(entry),
    }
}

/// Puts a trusted document into canonical units and refuses what the time policy
/// refuses.
fn accept(directory: &Directory, peer: &Peer, decoded: Decoded, gateway: GatewayId, arrival: Arrival, bytes: &Bytes) -> Verdict {
    let policy = directory.settings.time_policy();
    let seq = decoded.seq.clone();
    let Arrival { at: received, stamp } = arrival;
    let shift = directory.clock_shift(&gateway, received);
    let Content { sensors, series, values, refused } = Content::of(decoded, shift, &policy, received, received);
    let answer = Answer::Ack { seq, readings: values.len(), rejected: refused.len() };
    let quarantine = refused.first().map(|first| {
        let (code, reasons) = (first.code, reasons(&refused));
        quarantined(&peer.witness(), Some(gateway.clone()), arrival, code, reasons, bytes)
    });
    let address = peer.address.to_string();
    Verdict::Store(
        Arc::new(DocumentWrite { gateway, received, stamp, address, sensors, series, values, quarantine }),
        bytes.clone(),
        answer,
    )
}

/// Something refused with what was to prove whose it is: the certificate of its
/// connection where a key is not enough, else the key in the document or beside it.
fn kept(
    witness: &Witness,
    gateway: Option<GatewayId>,
    arrival: Arrival,
    code: RefusalCode,
    reason: String,
    bytes: &[u8],
) -> Box<Kept> {
    let entry = quarantined(witness, gateway, arrival, code, reason, bytes);
    let certificate = witness.certificate.as_ref().map(certificate_digest);
    let key = || salvage(bytes).key.map(|key| KeyDigest::of(key.reveal())).or(witness.key);
    let key = if witness.needs_certificate { certificate } else { key().or(certificate) };
    Box::new(Kept { entry, key })
}

fn quarantined(
    witness: &Witness,
    gateway: Option<GatewayId>,
    arrival: Arrival,
    code: RefusalCode,
    reason: String,
    bytes: &[u8],
) -> QuarantineNew {
    QuarantineNew {
        id: arrival.id(),
        received: arrival.at,
        gateway: gateway.map(String::from),
        address: witness.address.to_string(),
        code,
        reason,
        raw: mask_credentials(bytes),
        trusted: witness.trusted,
    }
}

/// The answer where documents of a gateway that is ahead of its rate wait on too many
/// connections: this one has to be sent again.
fn too_much_waits(seq: Option<String>) -> Answer {
    let text = "too many documents of this gateway wait already for its rate, send it again later";
    Answer::nack(seq, RefusalCode::RateLimited, text)
}

/// Says what could not be written. That the spool is full, or cannot be written,
/// it says itself, once.
fn note(error: &NotKept, message: &str) {
    match error {
        NotKept::Refused(error) => tracing::error!(%error, "{message}"),
        NotKept::Full | NotKept::Disk(_) | NotKept::Closed => tracing::debug!(%error, "{message}"),
    }
}

/// The answer where the store cannot take something: nothing of it was written,
/// and the gateway is asked to send it again.
fn unavailable(operation: &'static str, answer: Answer) -> Answer {
    metrics::counter!("heliograph_store_errors_total", "operation" => operation).increment(1);
    Answer::nack(answer.into_seq(), RefusalCode::Unavailable, "the store cannot take this now, send it again")
}
