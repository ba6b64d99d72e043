//! Readings and bytes per second of framing and decoding on one core, beside a
//! loop over the XML library's events in the same run.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use heliograph_dialects::{Context, Frame, Framer, Limits, canonical, decode};
use heliograph_domain::{Timestamp, Zone};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

const FOR: Duration = Duration::from_secs(2);

fn main() {
    println!("{:<34}{:>14}{:>10}{:>10}", "", "readings/s", "MB/s", "ratio");
    run("native, 20 readings a push", &native(3, 20), 20);
    run("native, 1,000 readings a push", &native(3, 1000), 1000);
    run("native, local times", &native(3, 1000).replace("Z\"", "\""), 1000);
    run("senml, 1,000 records", &senml(1000), 1000);
}

fn native(sensors: usize, readings: usize) -> String {
    let mut xml = String::from("<push gateway=\"gw-0001\" key=\"5dr8k2mz-77wq3xbn-0c1vnf4t-9hjse6ay\" seq=\"17\">\n");
    for sensor in 0..sensors {
        let _ = writeln!(xml, "  <sensor id=\"inverter-{sensor}\" kind=\"inverter\">");
        let (from, until) = (sensor * readings / sensors, (sensor + 1) * readings / sensors);
        for i in from..until {
            let (metric, unit) = [("power", "W"), ("energy", "Wh"), ("voltage", "V"), ("temperature", "°C")][i % 4];
            let (hour, minute) = (i / 60 % 24, i % 60);
            let value = 1000.0 + i as f64 * 1.37;
            let time = format!("2026-11-20T{hour:02}:{minute:02}:00Z");
            let _ = writeln!(xml, "    <reading metric=\"{metric}\" unit=\"{unit}\" time=\"{time}\">{value:.1}</reading>");
        }
        xml.push_str("  </sensor>\n");
    }
    xml.push_str("</push>\n");
    xml
}

fn senml(records: usize) -> String {
    let mut xml = String::from("<sensml xmlns=\"urn:ietf:params:xml:ns:senml\">\n");
    let _ = writeln!(xml, "<senml bn=\"urn:dev:mac:0024befffe804ff1/\" bt=\"1795176000\" bu=\"W\" n=\"phase0\" v=\"1\"/>");
    for i in 1..records {
        let _ = writeln!(xml, "<senml n=\"phase{}\" t=\"{i}\" v=\"{}.5\"/>", i % 3, 1000 + i);
    }
    xml.push_str("</sensml>\n");
    xml
}

fn run(what: &str, xml: &str, readings: usize) {
    let zone = Zone::parse("Europe/Madrid").unwrap_or_else(|_| Zone::utc());
    let context = Context { received: Timestamp::clamped(1_795_176_000_000), zone: &zone, hello_gateway: None, mappings: &[] };
    let document = xml.trim_end().as_bytes();
    let stream = xml.repeat(64.max(1_000_000 / xml.len()));
    let events = measure(|| count_events(xml));
    let framed = measure(|| count_documents(stream.as_bytes())).mul_f64(xml.len() as f64 / stream.len() as f64);
    let decoded = measure(|| decode(document, &context).map_or(0, |decoded| decoded.readings.len()));
    let both = measure(|| {
        let decoded = decode(document, &context);
        decoded.map_or(0.0, |decoded| decoded.readings.iter().map(|reading| canonical(reading).1).sum::<f64>())
    });
    println!("{what}");
    let row = |step: &str, took: Duration| {
        let per_second = 1.0 / took.as_secs_f64();
        let (readings, megabytes) = (readings as f64 * per_second, xml.len() as f64 * per_second / 1e6);
        println!("  {step:<32}{readings:>14.0}{megabytes:>10.0}{:>10.2}", events.as_secs_f64() / took.as_secs_f64());
    };
    row("events of the XML library", events);
    row("framing", framed);
    row("decoding", decoded);
    row("decoding, canonical units", both);
    row("framing and decoding", framed + decoded);
}

fn count_events(xml: &str) -> usize {
    let mut reader = Reader::from_str(xml);
    let mut count = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Eof) | Err(_) => return count,
            Ok(Event::Start(tag) | Event::Empty(tag)) => count += tag.attributes().flatten().count(),
            Ok(_) => count += 1,
        }
    }
}

fn count_documents(stream: &[u8]) -> usize {
    let mut framer = Framer::new(Limits::default());
    let (mut rest, mut count) = (stream, 0);
    while let Ok(Frame::Document { end, .. }) = framer.next(rest) {
        rest = rest.get(end..).unwrap_or_default();
        count += 1;
    }
    count
}

/// The shortest of many runs: what the machine can do undisturbed.
fn measure<T>(mut work: impl FnMut() -> T) -> Duration {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    while begin.elapsed() < FOR {
        let start = Instant::now();
        black_box(work());
        best = best.min(start.elapsed());
    }
    best
}
