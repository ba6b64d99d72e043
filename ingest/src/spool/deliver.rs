//! From the spool into the store: what may have been written before is written
//! again, in order.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use heliograph_domain::{KeyDigest, QuarantineId, RefusalCode, time_ordered_uuid};
use heliograph_store::{DocumentWrite, ProviderStore, QuarantineNew, StoreError};

use super::record::Record;

/// Whether the same write may succeed later.
pub(crate) const fn is_temporary(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Open { .. } | StoreError::TooNew(_))
}

/// Writes records, of each of which the outcome is known when this succeeds: it
/// is written, or the store will never take it.
///
/// # Errors
/// When the store takes nothing now; some of the records may be written.
pub(crate) async fn deliver(store: &ProviderStore, records: &[Record]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let documents: Vec<_> = records.iter().filter_map(document).map(Arc::clone).collect();
    let mut outcomes: Vec<Result<(), StoreError>> = records.iter().map(|_| Ok(())).collect();
    if let Err(error) = store.document_write_again(documents).boxed().await {
        if is_temporary(&error) {
            return Err(error);
        }
        one_by_one(store, records, &mut outcomes).await?;
    }
    let others = records.iter().zip(&mut outcomes).filter(|(record, _)| document(record).is_none());
    let written = join_all(others.map(async |(record, outcome)| {
        *outcome = record.write(store).await;
        outcome.clone()
    }));
    match written.await.into_iter().find_map(|outcome| outcome.err().filter(is_temporary)) {
        Some(error) => Err(error),
        None => Ok(outcomes),
    }
}

const fn document(record: &Record) -> Option<&Arc<DocumentWrite>> {
    match record {
        Record::Document(document) => Some(document),
        Record::Refused(_) | Record::Knock(..) => None,
    }
}

async fn one_by_one(
    store: &ProviderStore,
    records: &[Record],
    outcomes: &mut [Result<(), StoreError>],
) -> Result<(), StoreError> {
    for (record, outcome) in records.iter().zip(outcomes) {
        let Some(document) = document(record) else { continue };
        match store.document_write_again(vec![Arc::clone(document)]).boxed().await {
            Err(error) if is_temporary(&error) => return Err(error),
            written => *outcome = written,
        }
    }
    Ok(())
}

/// Keeps what was acked and what the store will never take, for people to look at.
///
/// # Errors
/// When it cannot be kept either.
pub(crate) async fn set_aside(store: &ProviderStore, record: &Record, error: &StoreError) -> Result<(), StoreError> {
    let Record::Document(document) = record else { return Err(error.clone()) };
    tracing::error!(%error, gateway = %document.gateway, "spooled document is not taken by the store, it goes to the quarantine");
    store.quarantine_add(entry(document, error)).boxed().await
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
        let context = Context { received: document.received, zone: &zone, hello_gateway: None };
        let decoded = decode(&kept.raw, &context).unwrap();
        assert_eq!(decoded.gateway.as_ref(), Some(&document.gateway));
        assert_eq!(decoded.sensors[0].id, document.sensors[0].id);
        let reading = &decoded.readings[0];
        let (series, value) = (&document.series[0], document.values[0]);
        assert_eq!((&reading.metric, reading.kind, reading.quantity), (&series.metric, series.kind, series.quantity));
        assert_eq!((reading.time, reading.value), (value.time, value.value));
    }
}
