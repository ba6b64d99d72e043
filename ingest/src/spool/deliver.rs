//! From the spool into the store: what may have been written before is written
//! again. What the store will never take is kept for people to look at.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use heliograph_domain::{KeyDigest, QuarantineId, RefusalCode, time_ordered_uuid};
use heliograph_store::{DocumentWrite, ProviderStore, QuarantineNew, StoreError};

use super::disk::{Disk, blocking};
use super::record::Record;
use super::status::{DRAINING, count_failure};
use super::waiting::Outcome;

/// Records written to a store at once where each is on its own.
pub(crate) const AT_ONCE: usize = 64;

/// Whether the same write may succeed later.
pub(crate) const fn is_temporary(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Open { .. } | StoreError::TooNew(_))
}

/// What has become of records.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// Of each record: the store has it, or will never take it. `None`: it does not
    /// take it now; then it may be written in part, or not at all.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// Why the store does not take those of which nothing is known.
    pub(crate) untaken: Option<String>,
}

impl Delivered {
    fn of(outcomes: Vec<Option<Outcome>>, untaken: Option<String>) -> Self {
        Self { outcomes, untaken }
    }

    fn nothing(records: &[Record], reason: String) -> Self {
        Self::of(records.iter().map(|_| None).collect(), Some(reason))
    }
}

/// Writes records. Where stamps decide, each is on its own, so that one that the
/// store does not take now holds up no other; else they are written in order.
pub(crate) async fn deliver(store: &ProviderStore, records: &[Record]) -> Delivered {
    let delivered =
        if store.orders_by_stamp() { deliver_each(store, records).await } else { deliver_in_order(store, records).await };
    if delivered.untaken.is_some() {
        count_failure(DRAINING);
    }
    delivered
}

async fn deliver_each(store: &ProviderStore, records: &[Record]) -> Delivered {
    let untaken = Mutex::new(None);
    let write = |record: &Record| {
        let (record, untaken) = (record.clone(), &untaken);
        async move {
            // A store that takes one thing not is not tried with all the others.
            if untaken.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return None;
            }
            let written = write_again(store, &record).await;
            if let Err(error) = &written
                && is_temporary(error)
            {
                untaken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
                return None;
            }
            Some(written)
        }
        .boxed()
    };
    let writes: Vec<_> = records.iter().map(write).collect();
    let outcomes = stream::iter(writes).buffered(AT_ONCE).collect().await;
    Delivered::of(outcomes, untaken.into_inner().unwrap_or_else(PoisonError::into_inner))
}

async fn write_again(store: &ProviderStore, record: &Record) -> Outcome {
    match record {
        Record::Document(document) => store.document_write_again(vec![Arc::clone(document)]).await,
        Record::Refused(_) | Record::Knock(..) | Record::Keyed(..) => record.write(store).await,
    }
}

async fn deliver_in_order(store: &ProviderStore, records: &[Record]) -> Delivered {
    let documents: Vec<_> = records.iter().filter_map(document).map(Arc::clone).collect();
    let mut outcomes: Vec<Outcome> = records.iter().map(|_| Ok(())).collect();
    if let Err(error) = store.document_write_again(documents).boxed().await {
        if is_temporary(&error) {
            return Delivered::nothing(records, error.to_string());
        }
        if let Err(error) = one_by_one(store, records, &mut outcomes).await {
            return Delivered::nothing(records, error.to_string());
        }
    }
    let others = records.iter().zip(&mut outcomes).filter(|(record, _)| document(record).is_none());
    let written = join_all(others.map(async |(record, outcome)| {
        *outcome = record.write(store).await;
        outcome.clone()
    }));
    match written.await.into_iter().find_map(|outcome| outcome.err().filter(is_temporary)) {
        Some(error) => Delivered::nothing(records, error.to_string()),
        None => Delivered::of(outcomes.into_iter().map(Some).collect(), None),
    }
}

const fn document(record: &Record) -> Option<&Arc<DocumentWrite>> {
    match record {
        Record::Document(document) => Some(document),
        Record::Refused(_) | Record::Knock(..) | Record::Keyed(..) => None,
    }
}

async fn one_by_one(store: &ProviderStore, records: &[Record], outcomes: &mut [Outcome]) -> Result<(), StoreError> {
    for (record, outcome) in records.iter().zip(outcomes) {
        let Some(document) = document(record) else { continue };
        match store.document_write_again(vec![Arc::clone(document)]).boxed().await {
            Err(error) if is_temporary(&error) => return Err(error),
            written => *outcome = written,
        }
    }
    Ok(())
}

/// Keeps what was acked and what the store will never take, for people to look at:
/// in the quarantine or, where that does not take it either, in a file.
///
/// # Errors
/// When it cannot be kept now.
pub(crate) async fn set_aside(store: &ProviderStore, record: &Record, error: &StoreError, aside: Aside) -> Result<(), String> {
    let gateway = record.gateway();
    metrics::counter!("heliograph_spool_set_aside_total").increment(1);
    let why = match record {
        Record::Document(document) => match store.quarantine_add(entry(document, error)).boxed().await {
            Ok(()) => {
                tracing::error!(%error, gateway, "spooled document is not taken by the store, it is in the quarantine");
                return Ok(());
            }
            Err(refusal) if is_temporary(&refusal) => return Err(refusal.to_string()),
            Err(refusal) => refusal,
        },
        Record::Refused(_) | Record::Knock(..) | Record::Keyed(..) => error.clone(),
    };
    let bytes = match record {
        Record::Document(document) => as_push(document).into_bytes(),
        Record::Refused(entry) | Record::Knock(_, entry) | Record::Keyed(_, entry, _) => entry.raw.clone(),
    };
    let kept = aside.path.clone();
    blocking(move || aside.write(&bytes)).await.map_err(|error| format!("{} cannot be written: {error}", kept.display()))?;
    tracing::error!(%error, %why, gateway, kept = %kept.display(), "spooled record is not taken by the store nor by its quarantine, it is kept aside");
    Ok(())
}

/// A file for what the store does not take at all.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) disk: Disk,
    pub(crate) root: PathBuf,
    pub(crate) path: PathBuf,
}

impl Aside {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let file = match self.disk.create(&self.path) {
            Ok(file) => file,
            // It was kept before, and not noted: the same once more.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&self.path)?;
                self.disk.create(&self.path)?
            }
            Err(error) => return Err(error),
        };
        self.disk.write(&file, bytes)?;
        self.disk.sync(&file)?;
        self.disk.sync_folder(&self.root)
    }
}

/// The same for the same document, so that it is kept once.
fn entry(document: &DocumentWrite, error: &StoreError) -> QuarantineNew {
    let named = KeyDigest::of(&format!("{} {}", document.stamp.as_micros(), document.gateway));
    let mut random = [0; 10];
    random.iter_mut().zip(named.0).for_each(|(place, byte)| *place = byte);
    QuarantineNew {
        id: QuarantineId::new(time_ordered_uuid(document.received, &random)),
        received: document.received,
        gateway: Some(document.gateway.to_string()),
        address: document.address.clone(),
        code: RefusalCode::Unsupported,
        reason: format!("{error}; the document had been acknowledged from the spool, this is what it said"),
        raw: as_push(document).into_bytes(),
        trusted: true,
    }
}

/// A document in the native dialect.
fn as_push(document: &DocumentWrite) -> String {
    let mut xml = format!("<push gateway=\"{}\">", escaped(document.gateway.as_str()));
    for value in &document.values {
        let Some(series) = document.series.get(value.series) else { continue };
        let Some(sensor) = document.sensors.get(series.sensor) else { continue };
        let mut optional = String::new();
        // Writing to a string cannot fail.
        if let Some(kind) = series.kind {
            let _ = write!(optional, " kind=\"{kind}\"");
        }
        if let Some(quantity) = series.quantity {
            let _ = write!(optional, " quantity=\"{quantity}\"");
        }
        let role = sensor.role.map(|role| format!(" kind=\"{role}\"")).unwrap_or_default();
        let (id, metric, unit) = (escaped(sensor.id.as_str()), escaped(series.metric.as_str()), escaped(series.unit.as_str()));
        let _ = write!(
            xml,
            "<sensor id=\"{id}\"{role}><reading metric=\"{metric}\" unit=\"{unit}\" time=\"{}\"{optional}>{}</reading></sensor>",
            value.time, value.value
        );
    }
    xml.push_str("</push>");
    xml
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use heliograph_dialects::{Context, decode};
    use heliograph_domain::Zone;

    use super::super::record::tests::document;
    use super::*;

    #[test]
    fn what_is_set_aside_says_all_that_the_document_said_and_is_kept_once() {
        let Record::Document(document) = document("gw <\"&> 1", 5) else { return };
        let error = StoreError::TooManySeries(2000);
        let kept = entry(&document, &error);
        assert_eq!(kept.id, entry(&document, &error).id);
        let zone = Zone::utc();
        let context = Context { received: document.received, zone: &zone, hello_gateway: None, mappings: &[] };
        let decoded = decode(&kept.raw, &context).unwrap();
        assert_eq!(decoded.gateway.as_ref(), Some(&document.gateway));
        assert_eq!(decoded.sensors[0].id, document.sensors[0].id);
        let reading = &decoded.readings[0];
        let (series, value) = (&document.series[0], document.values[0]);
        assert_eq!((&reading.metric, reading.kind, reading.quantity), (&series.metric, series.kind, series.quantity));
        assert_eq!((reading.time, reading.value), (value.time, value.value));
    }
}
