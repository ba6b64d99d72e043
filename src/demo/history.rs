//! Ninety days of history, written through the store's own interface.

use heliograph_domain::{Kind, MetricName, Quantity, SensorRole, Timestamp, Unit, WINDOW_MS, canonical_unit, window_of};
use heliograph_store::{DocumentWrite, ProviderStore, SensorSeen, SeriesSeen, Value, WriteStamp};

use super::fleet::Story;
use super::site::{Report, Site};

const DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;
/// Instants written as one document: two days.
const INSTANTS: usize = 192;

/// What a SenML gateway's series are called: the pack has no word for it.
pub(super) const SENML_METRIC: &str = "value";

/// When the history begins.
pub(super) fn begin(now: Timestamp) -> Timestamp {
    window_of(now).plus_millis(-DAYS * DAY_MS)
}

/// Lets a site live from where it stands until now, a quarter of an hour a step.
pub(super) async fn write(store: &ProviderStore, site: &mut Site, now: Timestamp) -> anyhow::Result<()> {
    let mut time = window_of(site.time());
    let mut steps = Vec::with_capacity(INSTANTS);
    let mut rated = false;
    loop {
        time = time.plus_millis(WINDOW_MS);
        let over = time > now;
        if !over {
            steps.push(site.advance(time));
        }
        if over || steps.len() == INSTANTS {
            let writes: Vec<_> =
                documents(std::mem::take(&mut steps), now)?.into_iter().map(|document| store.document_write(document)).collect();
            for write in writes {
                write.await?;
            }
            if !rated {
                site.rate(store).await?;
                rated = true;
            }
        }
        if over {
            return Ok(());
        }
    }
}

/// The reports of many instants as one document a gateway.
fn documents(steps: Vec<Vec<Report>>, now: Timestamp) -> anyhow::Result<Vec<DocumentWrite>> {
    let mut documents: Vec<DocumentWrite> = Vec::new();
    for report in steps.into_iter().flatten() {
        let document = match documents.iter_mut().find(|document| document.gateway == report.gateway) {
            Some(document) => document,
            None => {
                documents.push(empty_document(&report, now)?);
                documents.last_mut().ok_or_else(|| anyhow::anyhow!("a document was just added"))?
            }
        };
        document.received = document.received.max(report.time);
        let values = report.sensors.iter().flat_map(|sensor| &sensor.values);
        for (series, (_, unit, value)) in values.enumerate() {
            let value = canonical_unit(unit).map_or(*value, |scaled| scaled.apply(*value));
            document.values.push(Value { series, time: report.time, value });
        }
    }
    Ok(documents)
}

fn empty_document(report: &Report, now: Timestamp) -> anyhow::Result<DocumentWrite> {
    let received = report.time.min(now);
    let mut document = DocumentWrite {
        gateway: report.gateway.clone(),
        received,
        stamp: WriteStamp::at(received),
        address: "127.0.0.1:0".to_owned(),
        sensors: Vec::new(),
        series: Vec::new(),
        values: Vec::new(),
        quarantine: None,
    };
    for (sensor, shown) in report.sensors.iter().enumerate() {
        document.sensors.push(SensorSeen { id: shown.id.clone(), role: SensorRole::recognise(shown.role) });
        for (metric, unit, _) in &shown.values {
            let unit = canonical_unit(unit).map_or(*unit, |scaled| scaled.unit);
            let (kind, quantity) = meaning(shown.role, metric);
            let metric = if report.story == Story::SenMl { SENML_METRIC } else { metric };
            let (metric, unit) = (MetricName::parse(metric)?, Unit::parse(unit)?);
            document.series.push(SeriesSeen { sensor, metric, unit, kind, quantity });
        }
    }
    Ok(document)
}

/// What the simulated gateways say of their series besides the names.
pub(super) fn meaning(role: &str, metric: &str) -> (Option<Kind>, Option<Quantity>) {
    match (role, metric) {
        ("weather", "irradiance") => (None, Some(Quantity::IrradiancePlane)),
        _ => (None, None),
    }
}
