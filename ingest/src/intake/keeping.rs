//! Writing what was judged, and keeping what was refused.

use std::sync::Arc;

use bytes::Bytes;
use heliograph_dialects::{mask_credentials, salvage};
use heliograph_domain::{GatewayId, KeyDigest, RefusalCode};
use heliograph_store::{DocumentWrite, QuarantineNew, StoreError};
use tokio::time::Instant;

use super::Intake;
use super::verdict::Verdict;
use crate::answer::Answer;
use crate::arrival::Arrival;
use crate::directory::certificate_digest;
use crate::peer::Witness;
use crate::quarantine;
use crate::spool::{NotKept, Record};
use crate::turn::{Place, until_polled};

/// What is refused, and why.
pub(super) struct Refused {
    /// Whose it says to be.
    pub(super) gateway: Option<GatewayId>,
    pub(super) arrival: Arrival,
    pub(super) code: RefusalCode,
    pub(super) reason: String,
}

/// Something refused, and what was to prove whose it is.
pub(super) struct Kept {
    entry: QuarantineNew,
    key: Option<KeyDigest>,
}

impl Refused {
    /// What is kept of it, its credentials masked.
    pub(super) fn entry(self, witness: &Witness, bytes: &[u8]) -> QuarantineNew {
        QuarantineNew {
            id: self.arrival.id(),
            received: self.arrival.at,
            gateway: self.gateway.map(String::from),
            address: witness.address.to_string(),
            code: self.code,
            reason: self.reason,
            raw: mask_credentials(bytes),
            trusted: witness.trusted,
        }
    }

    /// The same with what was to prove whose it is: the certificate of its connection
    /// where a key is not enough, else the key in the document or beside it.
    pub(super) fn kept(self, witness: &Witness, bytes: &[u8]) -> Box<Kept> {
        let certificate = witness.certificate.as_ref().map(certificate_digest);
        let key = || salvage(bytes).key.map(|key| KeyDigest::of(key.reveal())).or(witness.key);
        let key = if witness.needs_certificate { certificate } else { key().or(certificate) };
        Box::new(Kept { entry: self.entry(witness, bytes), key })
    }
}

impl Intake {
    /// Writes what has to be written, once it has its turn. Every document has one of these
    /// for a moment: what few of them need is boxed, so that it is small.
    pub(super) async fn carry_out(
        self: Arc<Self>,
        verdict: Verdict,
        witness: Witness,
        turn: Instant,
        place: Option<Box<Place>>,
    ) -> Answer {
        self.await_turn(turn).await;
        let next = match place {
            Some(place) => place.leave().await,
            None => None,
        };
        match verdict {
            Verdict::Answer(answer) => answer,
            Verdict::Keep(kept, answer) => Box::pin(self.keep(&witness, None, *kept, answer)).await,
            Verdict::Knock(gateway, kept, answer) => Box::pin(self.keep(&witness, Some(gateway), *kept, answer)).await,
            Verdict::Store(document, bytes, answer) => match next {
                // What has waited is in the store before what came behind it.
                Some(next) => Box::pin(until_polled(next, self.store(&witness, document, bytes, answer))).await,
                None => self.store(&witness, document, bytes, answer).await,
            },
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
                let (gateway, code) = (Some(document.gateway.clone()), RefusalCode::Unsupported);
                let kept = Refused { gateway, arrival, code, reason: text.clone() }.kept(witness, bytes);
                self.keep(witness, None, *kept, Answer::nack(answer.into_seq(), code, text)).await
            }
            error => {
                note(&error, "document cannot be stored");
                unavailable(answer)
            }
        }
    }

    /// Keeps what was refused, lists who knocked as waiting, then gives the answer.
    /// Where it cannot be kept the gateway is asked to send it again, unless the
    /// connection closes anyway.
    pub(super) async fn keep(
        &self,
        witness: &Witness,
        knocking: Option<GatewayId>,
        Kept { entry, key }: Kept,
        answer: Answer,
    ) -> Answer {
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
                if answer.closes() && !witness.by_http { answer } else { unavailable(answer) }
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
fn unavailable(answer: Answer) -> Answer {
    Answer::nack(answer.into_seq(), RefusalCode::Unavailable, "the store cannot take this now, send it again")
}
