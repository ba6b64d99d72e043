//! One document in, one answer out: judged (`verdict`), written or kept (`keeping`).

mod keeping;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heliograph_dialects::{Dialect, Salvaged, salvage, salvage_by};
use heliograph_domain::{GatewayId, RefusalCode, Timestamp};
use heliograph_store::{DocumentWrite, Stamps, WriteStamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::adoption::Adoptions;
use crate::answer::Answer;
use crate::apart::apart;
use crate::arrival::Arrival;
use crate::backfill::Backfill;
use crate::decode_budget::DecodeBudget;
use crate::device_clocks::DeviceClocks;
use crate::directory::{DirectoryFeed, Standing};
use crate::knocks::Knocks;
use crate::lockout::Lockout;
use crate::peer::Peer;
use crate::rate::{Hold, Pace, Pushed, Who};
use crate::spool::Spool;
use crate::usage::Usage;
use keeping::Refused;
use verdict::Verdict;

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
    /// Where large documents are worked on.
    pub(crate) decode_budget: DecodeBudget,
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

/// A document that has been judged.
pub(crate) struct Taken<F> {
    /// Whether the connection closes after the answer.
    pub(crate) closes: bool,
    /// What it speaks, as far as that can be told.
    pub(crate) dialect: Option<Dialect>,
    /// When to read on, where its gateway is ahead of a rate.
    pub(crate) resume: Option<Instant>,
    /// Whether it has to wait for its turn before it is written.
    pub(crate) waits: bool,
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
        let waits = place.is_some();
        let answer = match verdict {
            Verdict::Answer(answer) => Answering::Now(answer),
            verdict => Answering::Later(Arc::clone(self).carry_out(verdict, peer.witness(), turn, place)),
        };
        // What is over already is no reason to wait: a timer takes a millisecond.
        let resume = (read > Instant::now()).then_some(read);
        if resume.is_some() {
            metrics::counter!("heliograph_ingest_slowed_total").increment(1);
        }
        Taken { closes, dialect, resume, waits, answer }
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
        if self.spool.clock_fault().is_some() {
            self.stamps.begin_anew();
            return Arrival { at, stamp: WriteStamp::at(at) };
        }
        Arrival { at, stamp: self.stamps.next(at) }
    }

    /// How long a gateway has to wait for a document and after it; `None` where too much
    /// waits already. What is refused counts by its bytes.
    fn hold(&self, verdict: &Verdict, peer: &Peer, bytes: usize) -> Option<Hold> {
        let (gateway, pushed) = match verdict {
            Verdict::Store(document, _, answer) => {
                let kept = bytes + footprint(document);
                (Some(&document.gateway), Pushed { readings: answer.readings(), bytes, kept })
            }
            Verdict::Keep(..) | Verdict::Knock(..) => (peer.proven.as_ref(), refused(bytes)),
            Verdict::Answer(_) => return Some(Hold::none(Instant::now())),
        };
        self.note(gateway, peer, pushed)
    }

    /// Notes what has come from a gateway that has proved itself or is adopted. Anybody
    /// can name anybody's gateway in what is refused: that counts as a stranger's.
    fn note(&self, gateway: Option<&GatewayId>, peer: &Peer, pushed: Pushed) -> Option<Hold> {
        let is_commissioned = |gateway: &&GatewayId| self.directory.now().is_some_and(|now| now.is_commissioned(gateway));
        let who = gateway.filter(is_commissioned).map_or(Who::Stranger(peer.address.ip()), Who::Gateway);
        self.pace.note(who, pushed, Instant::now())
    }

    /// Whether what a peer has said beside its documents is right; then they are
    /// trusted, readable or not. Wrong keys count, and too many are answered.
    pub(crate) fn vouch(&self, peer: &mut Peer) -> Result<bool, Answer> {
        let Some(directory) = self.directory.now() else { return Ok(false) };
        peer.look_up(&directory);
        let (now, key) = ((self.clock)(), peer.key());
        if key.is_none() && peer.owner.is_none() {
            return Ok(false);
        }
        let standing = peer.gateway().map_or(Standing::Unknown, |gateway| directory.standing(gateway, &peer.proof(key), now));
        match standing {
            Standing::Trusted(_) => {
                peer.trusted = true;
                peer.proven = peer.gateway().cloned();
                Ok(true)
            }
            Standing::Imposter if self.may_guess(peer, now) => Ok(false),
            Standing::Imposter => Err(Answer::nack(None, RefusalCode::RateLimited, TOO_MANY_KEYS)),
            // Loggers have user names of their own: then the key says whose it is.
            Standing::Unknown if peer.hello.is_none() && !peer.needs_certificate => {
                let is_known = key.is_some_and(|key| directory.knows_key(&key, now));
                peer.trusted |= is_known;
                Ok(is_known)
            }
            Standing::Unknown | Standing::Retired => Ok(false),
        }
    }

    /// Counts a wrong key, once of a request or connection however often it comes up; false
    /// where its address has sent too many. Right ones are never asked here: many loggers
    /// may share an address.
    fn may_guess(&self, peer: &mut Peer, now: Timestamp) -> bool {
        let address = peer.address.ip();
        if peer.guessed {
            return true;
        }
        peer.guessed = !self.wrong_keys.holds(address, now);
        if peer.guessed {
            self.wrong_keys.note(address, now);
        }
        peer.guessed
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
        let place = self.decode_budget.acquire(bytes.len()).await;
        let found = apart(bytes.len(), || self.salvage(bytes));
        drop(place);
        let Some(Hold { turn, place: waited, .. }) = self.note(peer.proven.as_ref(), peer, refused(bytes.len())) else {
            return (too_much_waits(found.seq), found.dialect);
        };
        self.await_turn(turn).await;
        drop(waited);
        let (witness, answer) = (peer.witness(), Answer::nack(found.seq, code, message.clone()));
        // What is not kept need not be looked through.
        if !witness.trusted && self.strangers.holds(witness.address.ip(), arrival.at) {
            return (answer, found.dialect);
        }
        let gateway = found.gateway.or_else(|| peer.gateway().cloned());
        let refused = Refused { gateway, arrival, code, reason: message };
        let place = self.decode_budget.acquire(bytes.len()).await;
        let kept = apart(bytes.len(), || refused.kept(&witness, bytes));
        drop(place);
        (self.keep(&witness, None, *kept, answer).await, found.dialect)
    }

    /// The answer to a request of which nothing is there to keep, and when to give it: it
    /// costs its sender what other refusals cost.
    pub(crate) fn turn_down(&self, peer: &Peer, code: RefusalCode, message: String) -> (Answer, Option<Instant>) {
        let hold = self.note(peer.proven.as_ref(), peer, refused(0));
        (Answer::nack(None, code, message), hold.map(|hold| hold.read))
    }

    /// What can be told of a document without decoding it.
    fn salvage(&self, bytes: &[u8]) -> Salvaged {
        match self.directory.now() {
            Some(directory) => salvage_by(bytes, directory.mappings.list()),
            None => salvage(bytes),
        }
    }
}

/// What counts of so many bytes that are refused.
fn refused(bytes: usize) -> Pushed {
    Pushed { readings: bytes.div_ceil(REFUSED), bytes, kept: bytes }
}

/// What a document takes of memory beside its bytes, but for names.
fn footprint(document: &DocumentWrite) -> usize {
    let DocumentWrite { sensors, series, values, .. } = document;
    size_of_val(sensors.as_slice()) + size_of_val(series.as_slice()) + size_of_val(values.as_slice())
}

/// The answer where documents of a gateway that is ahead of its rate wait on too many
/// connections: this one has to be sent again.
fn too_much_waits(seq: Option<String>) -> Answer {
    let text = "too many documents of this gateway wait already for its rate, send it again later";
    Answer::nack(seq, RefusalCode::RateLimited, text)
}
