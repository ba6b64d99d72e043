//! `heliograph decode`: shows the readings that documents yield.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use heliograph_dialects::{Context, DecodeError, Decoded, Dialect, Frame, Framer, Limits, Mapping, decode, salvage_by};
use heliograph_domain::{GatewayId, RefusalCode, Timestamp, Zone};

/// Show the readings that documents yield, one JSON object a line, as their
/// dialect states them. Refused readings go to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway of documents that name none.
    #[arg(long, value_name = "ID")]
    gateway: Option<GatewayId>,
    /// Insist on this dialect: native, senml, sunspec, acquisuite, egauge,
    /// rainforest, mii or sma.
    #[arg(long, value_name = "DIALECT", value_parser = dialect, conflicts_with = "mapping")]
    dialect: Option<Dialect>,
    /// A mapping for documents that no dialect knows, instead of those that the
    /// product knows.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
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
    let mappings: Vec<_> = args.mapping.iter().map(|file| read_mapping(file)).collect::<Result<_, _>>()?;
    let context = Context { received, zone: &args.zone, hello_gateway: args.gateway.as_ref(), mappings: &mappings };
    let insisted = args.mapping.is_some().then_some(Dialect::Mapped).or(args.dialect);
    let mut whole = true;
    for file in &args.files {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        whole &= show(&bytes, &context, insisted, &file.display().to_string())?;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn dialect(name: &str) -> Result<Dialect, String> {
    Dialect::parse(name).ok_or_else(|| {
        let known: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        format!("it is none of {}", known.join(", "))
    })
}

pub(crate) fn read_mapping(file: &Path) -> anyhow::Result<Arc<Mapping>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(Arc::new(Mapping::parse(&text).with_context(|| format!("mapping {}", file.display()))?))
}

/// Decodes a document, and refuses it where it speaks another dialect than it should, or
/// where another mapping than the one that was given would read it.
fn decode_as(insisted: Option<Dialect>, document: &[u8], context: &Context<'_>) -> Result<Decoded, DecodeError> {
    let is_for_other = || !context.mappings.iter().any(|mapping| mapping.is_for_document(document));
    if insisted == Some(Dialect::Mapped) && salvage_by(document, &[]).dialect == Some(Dialect::Mapped) && is_for_other() {
        let message = "the mapping is for another root element".to_owned();
        return Err(DecodeError { code: RefusalCode::Unsupported, message, seq: None, gateway: None });
    }
    let decoded = decode(document, context)?;
    match insisted {
        Some(dialect) if dialect != decoded.dialect => Err(DecodeError {
            code: RefusalCode::Unsupported,
            message: format!("the document is {}, not {dialect}", decoded.dialect),
            seq: decoded.seq,
            gateway: decoded.gateway,
        }),
        _ => Ok(decoded),
    }
}

/// Shows a file's documents; false where one was refused whole.
fn show(mut bytes: &[u8], context: &Context<'_>, insisted: Option<Dialect>, name: &str) -> anyhow::Result<bool> {
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
        match decode_as(insisted, document, context) {
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
