//! What simulated gateways say.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::journal::{Document, Reading};
use super::tls::Tls;

/// What a device speaks, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `push` over TCP.
    Native,
    /// SenML (RFC 8428) over TCP.
    Senml,
    /// Log uploads of an AcquiSuite by HTTP.
    Acquisuite,
}

const METRICS: [(&str, &str); 5] = [("power", "W"), ("energy", "Wh"), ("voltage", "V"), ("current", "A"), ("frequency", "Hz")];

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
        format!("{}{number}", self.prefix)
    }

    /// A gateway's document with a number, measured at a time (milliseconds UTC).
    /// Every value is a whole number that no other document has.
    pub(super) fn document(&self, gateway: u32, number: u64, time: i64) -> Document {
        // SenML tells what a sensor measures by unit alone, AcquiSuite knows whole seconds.
        let time = if self.kind == Kind::Acquisuite { time.div_euclid(1000) * 1000 } else { time };
        let readings = (0..self.readings as usize).map(|index| {
            let (metric, unit) = METRICS[index % METRICS.len()];
            let value = ((u64::from(gateway) << 30 | (number & 0x3f_ffff) << 8) + index as u64) as f64;
            Reading { sensor: self.sensor(index / METRICS.len()), metric: metric.to_owned(), unit: unit.to_owned(), time, value }
        });
        let mut document = Document {
            provider: self.provider.clone(),
            gateway: self.gateway(gateway),
            seq: format!("{}:{number}", self.gateway(gateway)),
            hash: String::new(),
            readings: readings.collect(),
        };
        document.hash = Sha256::digest(self.xml(&document)).iter().map(|byte| format!("{byte:02x}")).collect();
        document
    }

    fn sensor(&self, number: usize) -> String {
        if self.kind == Kind::Acquisuite { (number + 1).to_string() } else { format!("inverter-{number}") }
    }

    /// The same bytes for the same document, whenever it is asked for.
    pub(super) fn xml(&self, document: &Document) -> String {
        match self.kind {
            Kind::Native => native(document),
            Kind::Senml => senml(document),
            Kind::Acquisuite => acquisuite(document),
        }
    }

    /// What a gateway says first on a connection, if anything.
    pub(super) fn hello(&self, gateway: &str) -> Option<String> {
        let key = self.key.as_ref().map_or(String::new(), |key| format!(" key=\"{}\"", escaped(key)));
        (self.kind != Kind::Acquisuite).then(|| format!("<hello gateway=\"{}\"{key} seq=\"hello\"/>\n", escaped(gateway)))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn by_sensor(document: &Document) -> impl Iterator<Item = &[Reading]> {
    document.readings.chunk_by(|a, b| a.sensor == b.sensor)
}

fn rfc3339(time: i64) -> String {
    jiff::Timestamp::from_millisecond(time).unwrap_or_default().to_string()
}

// Writing to a string cannot fail.

fn native(document: &Document) -> String {
    let mut xml = format!("<push gateway=\"{}\" seq=\"{}\">", escaped(&document.gateway), escaped(&document.seq));
    for readings in by_sensor(document) {
        let _ = write!(xml, "<sensor id=\"{}\" kind=\"inverter\">", readings.first().map_or("", |first| first.sensor.as_str()));
        for Reading { metric, unit, time, value, .. } in readings {
            let _ = write!(xml, "<reading metric=\"{metric}\" unit=\"{unit}\" time=\"{}\">{value}</reading>", rfc3339(*time));
        }
        xml.push_str("</sensor>");
    }
    xml.push_str("</push>\n");
    xml
}

fn senml(document: &Document) -> String {
    let mut xml = String::from("<sensml xmlns=\"urn:ietf:params:xml:ns:senml\">");
    for Reading { sensor, unit, time, value, .. } in &document.readings {
        let _ = write!(xml, "<senml n=\"{sensor}\" t=\"{}.{:03}\" u=\"{unit}\" v=\"{value}\"/>", time / 1000, time % 1000);
    }
    xml.push_str("</sensml>\n");
    xml
}

fn acquisuite(document: &Document) -> String {
    let mut xml = format!("<DAS><mode>LOGFILEUPLOAD</mode><serial>{}</serial><devices>", escaped(&document.gateway));
    for readings in by_sensor(document) {
        let Some(first) = readings.first() else { continue };
        let time = rfc3339(first.time).replace('T', " ").replace('Z', "");
        let _ = write!(
            xml,
            "<device><address>{}</address><records><record><time zone=\"UTC\">{time}</time><error>0</error>",
            first.sensor
        );
        for (number, Reading { metric, unit, value, .. }) in readings.iter().enumerate() {
            let _ = write!(xml, "<point number=\"{number}\" name=\"{metric}\" units=\"{unit}\" value=\"{value}\"/>");
        }
        xml.push_str("</record></records></device>");
    }
    xml.push_str("</devices></DAS>");
    xml
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use heliograph_dialects::{Context, decode};
    use heliograph_domain::{GatewayId, Timestamp, Zone};

    use super::*;

    #[test]
    fn every_dialect_yields_what_the_journal_says() {
        let received = Timestamp::clamped(1_795_000_000_123);
        let zone = Zone::utc();
        for kind in [Kind::Native, Kind::Senml, Kind::Acquisuite] {
            let fleet = Fleet { kind, readings: 12, prefix: "sim-".into(), key: None, provider: "sunrise".into(), tls: None };
            let document = fleet.document(7, 3, received.as_millis());
            let hello = GatewayId::parse("sim-7").unwrap();
            let context = Context { received, zone: &zone, hello_gateway: Some(&hello), mappings: &[] };
            let decoded = decode(fleet.xml(&document).as_bytes(), &context).unwrap();
            assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
            assert_eq!(decoded.gateway, Some(hello.clone()));
            let found: Vec<_> = decoded
                .readings
                .iter()
                .map(|reading| (decoded.sensors[reading.sensor].id.to_string(), reading.time.as_millis(), reading.value))
                .collect();
            let said: Vec<_> =
                document.readings.iter().map(|reading| (reading.sensor.clone(), reading.time, reading.value)).collect();
            assert_eq!(found, said, "{kind:?}");
            let again = fleet.document(7, 3, received.as_millis());
            assert_eq!(document.hash, again.hash);
        }
    }

    #[test]
    fn no_two_documents_have_a_value_in_common() {
        let fleet =
            Fleet { kind: Kind::Native, readings: 200, prefix: "sim-".into(), key: None, provider: String::new(), tls: None };
        let mut seen = HashSet::new();
        for gateway in [0, 1, 2, 59_999] {
            for number in [0, 1, 2, 4_194_303] {
                for reading in fleet.document(gateway, number, 0).readings {
                    assert!(reading.value < 9e15 && seen.insert(reading.value as u64));
                }
            }
        }
    }
}
