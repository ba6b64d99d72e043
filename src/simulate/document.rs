//! What simulated gateways say.

mod acquisuite;
mod egauge;
mod mii;
mod native;
mod rainforest;
mod senml;
mod sma;
mod sunspec;

use anyhow::ensure;
use sha2::{Digest, Sha256};

use super::journal::{Document, Reading};
use super::request::{Body, Credentials, Http};
use super::tls::Tls;

/// What a device speaks, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `push` over TCP.
    Native,
    /// SenML (RFC 8428) over TCP.
    Senml,
    /// Log uploads of an AcquiSuite by HTTP, with Basic credentials.
    Acquisuite,
    /// Registers of an eGauge by HTTP, in chunks.
    Egauge,
    /// Clusters of a Rainforest EAGLE by HTTP/1.0, a connection each.
    Rainforest,
    /// SunSpec data exchange by HTTP, packed.
    Sunspec,
    /// Data points of a meteocontrol mii logger by HTTP, with Basic credentials.
    Mii,
    /// Files of an SMA Cluster Controller, forwarded over TCP.
    Sma,
}

/// What a device measures of one sensor, as the store calls it.
struct Measure {
    metric: &'static str,
    /// The canonical one.
    unit: &'static str,
    /// How many of them the unit is that stands in documents.
    step: f64,
    /// Whether its numbers are of 32 bits, with a sign.
    is_short: bool,
}

/// A measurement in its canonical unit.
const fn plain(metric: &'static str, unit: &'static str) -> Measure {
    Measure { metric, unit, step: 1.0, is_short: false }
}

/// A measurement in thousands of its canonical unit.
const fn in_thousands(metric: &'static str, unit: &'static str) -> Measure {
    Measure { step: 1e3, ..plain(metric, unit) }
}

/// What an inverter says where nothing else is usual.
const INVERTER: &[Measure] =
    &[plain("power", "W"), plain("energy", "Wh"), plain("voltage", "V"), plain("current", "A"), plain("frequency", "Hz")];

impl Kind {
    fn measures(self) -> &'static [Measure] {
        match self {
            Self::Native | Self::Acquisuite => INVERTER,
            Self::Senml => senml::MEASURES,
            Self::Egauge => egauge::MEASURES,
            Self::Rainforest => rainforest::MEASURES,
            Self::Sunspec => sunspec::MEASURES,
            Self::Mii => mii::MEASURES,
            Self::Sma => sma::MEASURES,
        }
    }

    fn sensor(self, number: usize) -> String {
        match self {
            Self::Acquisuite => (number + 1).to_string(),
            Self::Rainforest => format!("0x0013500100{number:06x}"),
            Self::Sma => format!("STP 10000TL-20:{}", 1_900_000_000 + number),
            _ => format!("inverter-{number}"),
        }
    }

    /// The shortest time that documents tell, in milliseconds.
    const fn tick(self) -> i64 {
        match self {
            Self::Native | Self::Senml | Self::Sunspec | Self::Mii => 1,
            Self::Acquisuite | Self::Egauge | Self::Rainforest | Self::Sma => 1000,
        }
    }

    fn xml(self, document: &Document) -> String {
        match self {
            Self::Native => native::xml(document),
            Self::Senml => senml::xml(document),
            Self::Acquisuite => acquisuite::xml(document),
            Self::Egauge => egauge::xml(document),
            Self::Rainforest => rainforest::xml(document),
            Self::Sunspec => sunspec::xml(document),
            Self::Mii => mii::xml(document),
            Self::Sma => sma::xml(document),
        }
    }

    /// How requests are made, unless documents go over TCP.
    pub(super) const fn http(self) -> Option<Http> {
        let usual = Http {
            version: "1.1",
            content_type: "text/xml",
            body: Body::Plain,
            credentials: Credentials::InPath,
            status: "200",
            success: "<ack",
        };
        Some(match self {
            Self::Native | Self::Senml | Self::Sma => return None,
            Self::Acquisuite => Http { credentials: Credentials::Basic, success: "<DAS><result>SUCCESS</result></DAS>", ..usual },
            Self::Egauge => Http { body: Body::Chunked, ..usual },
            Self::Rainforest => Http { version: "1.0", content_type: "application/x-www-form-urlencoded", ..usual },
            Self::Sunspec => Http { body: Body::Packed, success: sunspec::SUCCESS, ..usual },
            Self::Mii => {
                Http { content_type: "application/xml", credentials: Credentials::Basic, status: "202", success: "", ..usual }
            }
        })
    }
}

/// What all gateways of a run have in common.
pub(super) struct Fleet {
    pub(super) kind: Kind,
    pub(super) readings: u32,
    pub(super) prefix: String,
    pub(super) key: Option<String>,
    pub(super) provider: String,
    /// Whom to trust, where connections are secured.
    pub(super) tls: Option<Tls>,
}

impl Fleet {
    pub(super) fn gateway(&self, number: u32) -> String {
        let maker = if self.kind == Kind::Mii { mii::MAKER } else { "" };
        format!("{maker}{}{number}", self.prefix)
    }

    /// A gateway's document with a number, measured at a time (milliseconds UTC).
    /// Every value is a whole number that no other document of the gateway has, nor,
    /// where there is room for that, any other gateway's.
    pub(super) fn document(&self, gateway: u32, number: u64, time: i64) -> Document {
        let (measures, time) = (self.kind.measures(), time.div_euclid(self.kind.tick()) * self.kind.tick());
        let readings = measures.iter().cycle().take(self.readings as usize).enumerate().map(|(index, measure)| Reading {
            sensor: self.kind.sensor(index / measures.len()),
            metric: measure.metric.to_owned(),
            unit: measure.unit.to_owned(),
            time,
            value: measure.value(gateway, number, index as u64),
        });
        let mut document = Document {
            provider: self.provider.clone(),
            gateway: self.gateway(gateway),
            seq: format!("{}:{number}", self.gateway(gateway)),
            hash: String::new(),
            readings: readings.collect(),
        };
        document.hash = self.hash(&document);
        document
    }

    fn hash(&self, document: &Document) -> String {
        Sha256::digest(self.xml(document)).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Fails where a document of an earlier run would be sent with other bytes now.
    pub(super) fn check_bytes(&self, document: &Document) -> anyhow::Result<()> {
        ensure!(self.hash(document) == document.hash, "{} was sent in another dialect", document.seq);
        Ok(())
    }

    /// The same bytes for the same document, whenever it is asked for.
    pub(super) fn xml(&self, document: &Document) -> String {
        self.kind.xml(document)
    }

    /// What a gateway says first on a connection, if anything.
    pub(super) fn hello(&self, gateway: &str) -> Option<String> {
        let key = self.key.as_ref().map_or(String::new(), |key| format!(" key=\"{}\"", escaped(key)));
        self.kind.http().is_none().then(|| format!("<hello gateway=\"{}\"{key} seq=\"hello\"/>\n", escaped(gateway)))
    }
}

impl Measure {
    /// In the canonical unit. A thousand times 43 bits are whole in a double; 31 bits
    /// leave no room for the gateway, and then every other document is negative.
    fn value(&self, gateway: u32, number: u64, index: u64) -> f64 {
        let whole = match self.is_short {
            false => (u64::from(gateway) << 27 | (number & 0x7_ffff) << 8 | index) as f64,
            true => ((number & 0x7f_ffff) << 8 | index) as f64 * if number.is_multiple_of(2) { 1.0 } else { -1.0 },
        };
        whole * self.step
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn by_sensor(document: &Document) -> impl Iterator<Item = &[Reading]> {
    document.readings.chunk_by(|a, b| a.sensor == b.sensor)
}

/// Sensor by sensor with its name and number.
fn numbered_sensors(document: &Document) -> impl Iterator<Item = (usize, &str, &[Reading])> {
    let named = by_sensor(document).filter_map(|readings| Some((readings.first()?.sensor.as_str(), readings)));
    named.enumerate().map(|(number, (sensor, readings))| (number, sensor, readings))
}

/// When a document was measured, milliseconds UTC.
fn measured_at(document: &Document) -> i64 {
    document.readings.first().map_or(0, |reading| reading.time)
}

fn rfc3339(time: i64) -> String {
    jiff::Timestamp::from_millisecond(time).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::ValueEnum as _;
    use heliograph_dialects::{Context, Decoded, decode};
    use heliograph_domain::{GatewayId, Timestamp, Zone, canonical_unit};

    use super::*;

    fn fleet(kind: Kind, readings: u32) -> Fleet {
        Fleet { kind, readings, prefix: "sim-".into(), key: None, provider: "sunrise".into(), tls: None }
    }

    /// What is stored of a reading: names, canonical unit and value, time.
    fn stored(decoded: &Decoded) -> Vec<Reading> {
        let stored = decoded.readings.iter().map(|reading| {
            let written = if reading.unit.as_str().is_empty() { reading.assumed_unit } else { reading.unit.as_str() };
            let scaled = canonical_unit(written);
            Reading {
                sensor: decoded.sensors[reading.sensor].id.to_string(),
                metric: reading.metric.to_string(),
                unit: scaled.map_or(written, |scaled| scaled.unit).to_owned(),
                time: reading.time.as_millis(),
                value: scaled.map_or(reading.value, |scaled| scaled.apply(reading.value)),
            }
        });
        stored.collect()
    }

    #[test]
    fn every_dialect_yields_what_the_journal_says() {
        let received = Timestamp::clamped(1_795_000_000_123);
        let zone = Zone::utc();
        for kind in Kind::value_variants() {
            let fleet = fleet(*kind, 13);
            for (gateway, number) in [(7, 3), (7, 4), (59_999, 524_287), (0, 0)] {
                let document = fleet.document(gateway, number, received.as_millis());
                let id = GatewayId::parse(&fleet.gateway(gateway)).unwrap();
                let hello = kind.http().is_none().then_some(&id);
                let context = Context { received, zone: &zone, hello_gateway: hello, mappings: &[] };
                let decoded = decode(fleet.xml(&document).as_bytes(), &context).unwrap();
                assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
                assert_eq!(decoded.gateway.as_ref(), Some(&id));
                assert_eq!(stored(&decoded), document.readings, "{kind:?}");
                assert_eq!(document.hash, fleet.document(gateway, number, received.as_millis()).hash);
                assert!(fleet.check_bytes(&document).is_ok());
            }
        }
    }

    #[test]
    fn no_two_documents_have_a_value_in_common() {
        for kind in Kind::value_variants() {
            let fleet = fleet(*kind, 200);
            let mut seen = HashSet::new();
            for gateway in [0, 1, 2, 59_999] {
                // Where there is no room for the gateway, it is told apart by the key.
                let mut of_gateway = HashSet::new();
                for number in [0, 1, 2, 524_287] {
                    for (reading, measure) in
                        fleet.document(gateway, number, 0).readings.iter().zip(kind.measures().iter().cycle())
                    {
                        let seen = if measure.is_short { &mut of_gateway } else { &mut seen };
                        assert!(reading.value.abs() < 9.007e15 && seen.insert(reading.value.to_bits()), "{kind:?}: {reading:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_document_of_another_dialect_is_not_sent_again() {
        let document = fleet(Kind::Native, 5).document(1, 1, 0);
        assert!(fleet(Kind::Senml, 5).check_bytes(&document).is_err());
    }
}
