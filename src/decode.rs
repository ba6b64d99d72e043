//! `heliograph decode`: shows the readings that documents yield.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use heliograph_dialects::{Context, Frame, Framer, Limits, decode};
use heliograph_domain::{GatewayId, Timestamp, Zone};

/// Show the readings that documents yield, one JSON object a line, as their
/// dialect states them. Refused readings go to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway of documents that name none.
    #[arg(long, value_name = "ID")]
    gateway: Option<GatewayId>,
    /// The zone of times that carry none.
    #[arg(long, default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
    /// The receive time, RFC 3339 [default: now].
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    received: Option<Timestamp>,
    /// Files of documents, back to back.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let received = args.received.unwrap_or_else(|| jiff::Timestamp::now().into());
    let context = Context { received, zone: &args.zone, hello_gateway: args.gateway.as_ref(), mappings: &[] };
    let mut whole = true;
    for file in &args.files {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        whole &= show(&bytes, &context, &file.display().to_string())?;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Shows a file's documents; false where one was refused whole.
fn show(mut bytes: &[u8], context: &Context<'_>, name: &str) -> anyhow::Result<bool> {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut framer = Framer::new(Limits::default());
    let mut whole = true;
    loop {
        let document = match framer.next(bytes) {
            Ok(Frame::Document { start, end }) => {
                let document = bytes.get(start..end).unwrap_or_default();
                bytes = bytes.get(end..).unwrap_or_default();
                document
            }
            Ok(Frame::Incomplete { .. }) if !framer.in_document() => return Ok(whole),
            Ok(Frame::Incomplete { .. }) => {
                writeln!(err, "{name}: malformed: the file ends inside a document")?;
                return Ok(false);
            }
            Err(error) => {
                writeln!(err, "{name}: {}: {error}", error.code)?;
                return Ok(false);
            }
        };
        match decode(document, context) {
            Ok(decoded) => {
                for reading in &decoded.readings {
                    let sensor = decoded.sensors.get(reading.sensor).map(|sensor| sensor.id.as_str());
                    let gateway = decoded.gateway.as_ref().map(GatewayId::as_str);
                    let line = serde_json::json!({
                        "gateway": gateway, "sensor": sensor, "metric": reading.metric.as_str(), "unit": unit(reading.unit.as_str()),
                        "ts": reading.time.to_string(), "value": reading.value,
                    });
                    writeln!(out, "{line}")?;
                }
                for refused in &decoded.refused {
                    writeln!(err, "{name}:{}: {}: {}", refused.line, refused.code, refused.reason)?;
                }
            }
            Err(error) => {
                writeln!(err, "{name}: {}: {error}", error.code)?;
                whole = false;
            }
        }
    }
}

fn unit(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
