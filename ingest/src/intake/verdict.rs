//! What a document is worth: whose it is, whether that is proved, and what of it is
//! taken. Nothing is written here.

use std::sync::Arc;

use bytes::Bytes;
use heliograph_dialects::{DecodeError, Decoded, Dialect};
use heliograph_domain::{GatewayId, KeyDigest, RefusalCode};
use heliograph_store::DocumentWrite;

use super::keeping::{Kept, Refused};
use super::{Intake, TOO_MANY_KEYS};
use crate::answer::Answer;
use crate::arrival::Arrival;
use crate::decoding::{Content, decode_for, reasons};
use crate::directory::{Directory, Standing};
use crate::peer::{Hello, Peer};

/// What is to be done with a document once it is decoded and judged.
pub(super) enum Verdict {
    /// Nothing is written; this is the answer.
    Answer(Answer),
    /// This is written, then answered; the bytes are kept where it is refused.
    Store(Arc<DocumentWrite>, Bytes, Answer),
    /// This is kept for people to look at, then answered.
    Keep(Box<Kept>, Answer),
    /// As `Keep`, from a gateway that is to be listed as waiting.
    Knock(GatewayId, Box<Kept>, Answer),
}

impl Verdict {
    /// The token of its document.
    pub(super) fn into_seq(self) -> Option<String> {
        match self {
            Self::Answer(answer) | Self::Keep(_, answer) | Self::Knock(_, _, answer) | Self::Store(_, _, answer) => {
                answer.into_seq()
            }
        }
    }

    /// Whether nothing further may be taken from the connection.
    pub(super) fn closes(&self) -> bool {
        match self {
            Self::Answer(answer) | Self::Keep(_, answer) | Self::Knock(_, _, answer) => answer.closes(),
            Self::Store(..) => false,
        }
    }
}

impl Refused {
    /// That it is kept and answered with its reason.
    fn verdict(self, peer: &Peer, seq: Option<String>, bytes: &[u8]) -> Verdict {
        let answer = Answer::nack(seq, self.code, self.reason.clone());
        Verdict::Keep(self.kept(&peer.witness(), bytes), answer)
    }
}

impl Intake {
    /// What is to be done with a document, and what it speaks.
    pub(super) fn judge(&self, peer: &mut Peer, bytes: &Bytes, arrival: Arrival) -> (Option<Dialect>, Verdict) {
        let unavailable = |text: &str| {
            let found = self.salvage(bytes);
            (found.dialect, Verdict::Answer(Answer::nack(found.seq, RefusalCode::Unavailable, text)))
        };
        let Some(directory) = self.directory.now() else {
            return unavailable("gateways are not known yet, send it again");
        };
        if self.spool.clock_fault().is_some() {
            return unavailable("the server's clock is wrong, send it again");
        }
        peer.look_up(&directory);
        match decode_for(&directory, peer.gateway(), directory.mappings.list(), bytes, arrival.at) {
            Ok(decoded) => (Some(decoded.dialect), self.judge_decoded(&directory, peer, decoded, bytes, arrival)),
            Err(DecodeError { code, message, seq, gateway }) => {
                let gateway = gateway.or_else(|| peer.gateway().cloned());
                let refused = Refused { gateway, arrival, code, reason: message };
                (self.salvage(bytes).dialect, refused.verdict(peer, seq, bytes))
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
        let refused = |gateway, code, reason: &str| Refused { gateway, arrival, code, reason: reason.to_owned() };
        let gateway = match gateway_of(peer, &decoded) {
            Ok(gateway) => gateway,
            Err((gateway, code, text)) => return refused(gateway, code, text).verdict(peer, decoded.seq, bytes),
        };
        let key = decoded.key.as_ref().map(|key| KeyDigest::of(key.reveal())).or_else(|| peer.key());
        let hello = Hello { gateway: gateway.clone(), key };
        match directory.standing(&gateway, &peer.proof(key), arrival.at) {
            Standing::Imposter if self.may_guess(peer, arrival.at) => {
                refused(Some(gateway), RefusalCode::BadKey, what_is_wrong(peer, key)).verdict(peer, decoded.seq, bytes)
            }
            Standing::Imposter => Verdict::Answer(Answer::nack(decoded.seq, RefusalCode::RateLimited, TOO_MANY_KEYS)),
            Standing::Retired => {
                let text = format!("gateway {gateway} is no longer in use");
                refused(Some(gateway), RefusalCode::UnknownGateway, &text).verdict(peer, decoded.seq, bytes)
            }
            Standing::Unknown => match self.adoptions.refusal(directory, &gateway) {
                Some(text) => {
                    if decoded.is_hello {
                        peer.knocked = Some(hello);
                    }
                    let kept = refused(Some(gateway.clone()), RefusalCode::UnknownGateway, &text).kept(&peer.witness(), bytes);
                    Verdict::Knock(gateway, kept, Answer::nack(decoded.seq, RefusalCode::UnknownGateway, text))
                }
                None => let_in(directory, peer, decoded, hello, arrival, bytes),
            },
            Standing::Trusted(credential) => {
                peer.prove(&gateway);
                credential.into_iter().for_each(|credential| self.usage.note(credential, arrival.at));
                self.device_clocks.note(&gateway, &decoded, arrival.at);
                let_in(directory, peer, decoded, hello, arrival, bytes)
            }
        }
    }
}

/// Whose a document is, by what it says and by what its connection has said and shown; else
/// why it is nobody's.
fn gateway_of(peer: &Peer, decoded: &Decoded) -> Result<GatewayId, (Option<GatewayId>, RefusalCode, &'static str)> {
    let Some(gateway) = decoded.gateway.clone() else {
        let text = "the document names no gateway and no hello came before it";
        return Err((None, RefusalCode::UnknownGateway, text));
    };
    if peer.hello.as_ref().is_some_and(|hello| hello.gateway != gateway) {
        return Err((Some(gateway), RefusalCode::BadKey, "this connection said hello as another gateway"));
    }
    if peer.owner.as_ref().is_some_and(|owner| *owner != gateway) {
        return Err((Some(gateway), RefusalCode::BadKey, "the certificate of this connection is another gateway's"));
    }
    Ok(gateway)
}

/// What is missing of a proof that is none.
fn what_is_wrong(peer: &Peer, key: Option<KeyDigest>) -> &'static str {
    match (peer.needs_certificate, key) {
        (true, _) => "a certificate that is registered with the gateway is needed",
        (false, Some(_)) => "the key is wrong",
        (false, None) => "the key is missing",
    }
}

/// What is to be done with a document of a gateway that may push.
fn let_in(directory: &Directory, peer: &mut Peer, decoded: Decoded, hello: Hello, arrival: Arrival, bytes: &Bytes) -> Verdict {
    if decoded.is_hello {
        peer.hello = Some(hello);
        return Verdict::Answer(Answer::Ack { seq: decoded.seq, readings: 0, rejected: 0 });
    }
    accept(directory, peer, decoded, hello.gateway, arrival, bytes)
}

/// Puts a trusted document into canonical units and refuses what the time policy
/// refuses.
fn accept(directory: &Directory, peer: &Peer, decoded: Decoded, gateway: GatewayId, arrival: Arrival, bytes: &Bytes) -> Verdict {
    let policy = directory.settings.time_policy();
    let seq = decoded.seq.clone();
    let Arrival { at: received, stamp } = arrival;
    let shift = directory.clock_shift(&gateway, received);
    let content = match Content::of(decoded, shift, &policy, received, received) {
        Ok(content) => content,
        Err(error) => {
            let (code, reason) = (RefusalCode::Unsupported, error.to_string());
            return Refused { gateway: Some(gateway), arrival, code, reason }.verdict(peer, seq, bytes);
        }
    };
    let Content { sensors, series, values, refused } = content;
    let answer = Answer::Ack { seq, readings: values.len(), rejected: refused.len() };
    let quarantine = refused.first().map(|first| {
        let refused = Refused { gateway: Some(gateway.clone()), arrival, code: first.code, reason: reasons(&refused) };
        refused.entry(&peer.witness(), bytes)
    });
    let address = peer.address.to_string();
    Verdict::Store(
        Arc::new(DocumentWrite { gateway, received, stamp, address, sensors, series, values, quarantine }),
        bytes.clone(),
        answer,
    )
}
