//! What goes into the spool: everything that a connection would write.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heliograph_domain::{GatewayId, KeyDigest, Timestamp};
use heliograph_store::{DocumentWrite, ProviderStore, QuarantineNew, StoreError};
use serde::{Deserialize, Serialize};

/// One thing to be written, judged already.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// A document.
    Document(Arc<DocumentWrite>),
    /// Something refused, to be kept.
    Refused(Arc<QuarantineNew>),
    /// Something refused, from a gateway that is to be listed as waiting.
    Knock(GatewayId, Arc<QuarantineNew>),
    /// The same as either, with the key that was presented, bound to the entry.
    Keyed(Option<GatewayId>, Arc<QuarantineNew>, KeyDigest),
}

/// How it stands in a segment. A change here, or in what it is made of, needs
/// another [`super::segment::EXTENSION`].
#[derive(Debug, Serialize, Deserialize)]
enum Spooled<'a> {
    Document(Cow<'a, DocumentWrite>),
    Refused(Cow<'a, QuarantineNew>),
    Knock(Cow<'a, GatewayId>, Cow<'a, QuarantineNew>),
    Keyed(Option<Cow<'a, GatewayId>>, Cow<'a, QuarantineNew>, [u8; 32]),
}

impl Record {
    /// Appends its bytes.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) -> Result<(), postcard::Error> {
        let spooled = match self {
            Self::Document(document) => Spooled::Document(Cow::Borrowed(document)),
            Self::Refused(entry) => Spooled::Refused(Cow::Borrowed(entry)),
            Self::Knock(gateway, entry) => Spooled::Knock(Cow::Borrowed(gateway), Cow::Borrowed(entry)),
            Self::Keyed(gateway, entry, key) => Spooled::Keyed(gateway.as_ref().map(Cow::Borrowed), Cow::Borrowed(entry), key.0),
        };
        postcard::to_io(&spooled, into).map(drop)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        Ok(match postcard::from_bytes(bytes)? {
            Spooled::Document(document) => Self::Document(Arc::new(document.into_owned())),
            Spooled::Refused(entry) => Self::Refused(Arc::new(entry.into_owned())),
            Spooled::Knock(gateway, entry) => Self::Knock(gateway.into_owned(), Arc::new(entry.into_owned())),
            Spooled::Keyed(gateway, entry, key) => {
                Self::Keyed(gateway.map(Cow::into_owned), Arc::new(entry.into_owned()), KeyDigest(key))
            }
        })
    }

    /// Whose it is, as far as it says.
    pub(crate) fn gateway(&self) -> &str {
        match self {
            Self::Document(document) => document.gateway.as_str(),
            Self::Refused(entry) | Self::Knock(_, entry) | Self::Keyed(_, entry, _) => {
                entry.gateway.as_deref().unwrap_or_default()
            }
        }
    }

    /// When it arrived.
    pub(crate) fn received(&self) -> Timestamp {
        match self {
            Self::Document(document) => document.received,
            Self::Refused(entry) | Self::Knock(_, entry) | Self::Keyed(_, entry, _) => entry.received,
        }
    }

    /// Whether it is what a stranger had refused, which has less room.
    pub(crate) fn is_strangers(&self) -> bool {
        match self {
            Self::Document(_) => false,
            Self::Refused(entry) | Self::Knock(_, entry) | Self::Keyed(_, entry, _) => !entry.trusted,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let of_entry = |entry: &QuarantineNew| 256 + entry.raw.len() + entry.reason.len();
        match self {
            Self::Document(document) => {
                256 + 64 * document.series.len() + 16 * document.values.len() + document.quarantine.as_ref().map_or(0, of_entry)
            }
            Self::Refused(entry) | Self::Knock(_, entry) | Self::Keyed(_, entry, _) => of_entry(entry),
        }
    }

    /// What the store is asked for, in figures.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Document(_) => "document_write",
            Self::Refused(_) | Self::Knock(..) | Self::Keyed(..) => "quarantine_add",
        }
    }

    /// Writes it for the first time. Boxed: what a store does to write something is
    /// large, and every connection holds one of these.
    pub(crate) fn write<'a>(&'a self, store: &'a ProviderStore) -> BoxFuture<'a, Result<(), StoreError>> {
        match self {
            Self::Document(document) => store.document_write(Arc::clone(document)).boxed(),
            Self::Refused(entry) => store.quarantine_add(Arc::clone(entry)).boxed(),
            Self::Knock(gateway, entry) => knock(store, Some(gateway), entry, None).boxed(),
            Self::Keyed(gateway, entry, key) => knock(store, gateway.as_ref(), entry, Some(*key)).boxed(),
        }
    }
}

async fn knock(
    store: &ProviderStore,
    gateway: Option<&GatewayId>,
    entry: &Arc<QuarantineNew>,
    presented: Option<KeyDigest>,
) -> Result<(), StoreError> {
    if let Some(gateway) = gateway {
        store.gateway_knock(gateway, &entry.address, entry.received).await?;
    }
    store.quarantine_add_with(Arc::clone(entry), presented).await
}

#[cfg(test)]
pub(crate) mod tests {
    use heliograph_domain::{QuarantineId, RefusalCode, time_ordered_uuid};

    use super::*;
    use crate::sample::power;

    /// The `number`-th document of a gateway: one reading, a second after the one before.
    pub(crate) fn document(gateway: &str, number: i64) -> Record {
        let received = Timestamp::clamped(1_795_176_000_000 + number * 1000);
        Record::Document(Arc::new(power(gateway, received, [(received, number as f64)])))
    }

    pub(crate) fn refused(number: u8, trusted: bool) -> QuarantineNew {
        let received = Timestamp::clamped(1_795_176_000_000);
        QuarantineNew {
            id: QuarantineId::new(time_ordered_uuid(received, &[number; 10])),
            received,
            gateway: Some("gw-1".to_owned()),
            address: "192.0.2.1:5000".to_owned(),
            code: RefusalCode::Malformed,
            reason: "line 1: malformed".to_owned(),
            raw: b"<push>".to_vec(),
            trusted,
        }
    }

    #[test]
    fn records_read_back_as_they_were() {
        let entry = Arc::new(refused(7, false));
        let gateway = GatewayId::parse("gw-1").unwrap();
        let key = KeyDigest::of("correct-horse").bound_to(entry.id);
        for record in [
            document("gw-1", 5),
            Record::Refused(Arc::clone(&entry)),
            Record::Knock(gateway.clone(), Arc::clone(&entry)),
            Record::Keyed(Some(gateway), Arc::clone(&entry), key),
            Record::Keyed(None, entry, key),
        ] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes).unwrap();
            assert_eq!(Record::decode(&bytes).unwrap(), record);
            assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    /// A release that lays records out in another way must not read these segments
    /// as its own: it needs another file extension, and to go on reading this one.
    #[test]
    fn the_layout_of_version_1_stays() {
        let mut bytes = Vec::new();
        document("gw-1", 5).encode(&mut bytes).unwrap();
        Record::Refused(Arc::new(refused(7, true))).encode(&mut bytes).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let document = "000467772d3190f69f8dbf6880edb2c1ffacb0060e3139322e302e322e313a35303030010a696e7665727465722d31010001\
                        0005706f776572015701000100010090f69f8dbf68000000000000144000";
        let entry = "011001a1f8d3ea007707870707070707070780a89f8dbf68010467772d310e3139322e302e322e313a3530303000116c696e65\
                     20313a206d616c666f726d6564063c707573683e01";
        assert_eq!(hex, format!("{document}{entry}"));
    }
}
