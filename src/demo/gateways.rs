//! Simulated gateways: real XML over TCP to the real ports.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use heliograph_domain::{GatewayId, GatewayKey, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::fleet::Story;
use super::history::meaning;
use super::site::{Report, Site};

/// How often every gateway pushes.
const RHYTHM: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A site and the keys of its gateways.
pub(super) struct SimulatedSite {
    pub(super) site: Site,
    pub(super) keys: HashMap<GatewayId, GatewayKey>,
}

/// Pushes for all gateways of a site until told to stop.
pub(super) async fn push(
    mut simulated: SimulatedSite,
    address: SocketAddr,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    shutdown: CancellationToken,
) {
    let mut connections: HashMap<GatewayId, Line> = HashMap::new();
    let mut seq = 0u64;
    while shutdown.run_until_cancelled(tokio::time::sleep(RHYTHM)).await.is_some() {
        seq += 1;
        for report in simulated.site.advance(clock()) {
            let Some(key) = simulated.keys.get(&report.gateway) else { continue };
            let connection = connections.remove(&report.gateway);
            let gateway = report.gateway.clone();
            match shutdown.run_until_cancelled(deliver(connection, address, &report, key, seq)).await {
                Some(Ok(line)) => drop(connections.insert(gateway, line)),
                // The next push opens a new connection.
                Some(Err(error)) => tracing::warn!(%gateway, error = format!("{error:#}"), "simulated push failed"),
                None => return,
            }
        }
    }
}

type Line = BufReader<TcpStream>;

/// Pushes one report over an open line, or a new one, and waits for the ack.
async fn deliver(line: Option<Line>, address: SocketAddr, report: &Report, key: &GatewayKey, seq: u64) -> anyhow::Result<Line> {
    let mut line = match line {
        Some(line) => line,
        None => open(address, report, key).await?,
    };
    let document = if report.story == Story::SenMl { senml(report) } else { native(report, seq) };
    ask(&mut line, &document).await?;
    Ok(line)
}

async fn open(address: SocketAddr, report: &Report, key: &GatewayKey) -> anyhow::Result<Line> {
    let mut line = BufReader::new(TcpStream::connect(address).await.context("connect")?);
    let hello = format!("<hello gateway=\"{}\" key=\"{}\"/>\n", report.gateway, key.reveal());
    ask(&mut line, &hello).await.context("say hello")?;
    Ok(line)
}

async fn ask(line: &mut Line, document: &str) -> anyhow::Result<()> {
    line.write_all(document.as_bytes()).await.context("send")?;
    let mut answer = String::new();
    let read =
        tokio::time::timeout(PATIENCE, line.read_line(&mut answer)).await.context("wait for the ack")?.context("read the ack")?;
    if read == 0 || !answer.starts_with("<ack") {
        bail!("answered {:?}", answer.trim_end());
    }
    Ok(())
}

fn native(report: &Report, seq: u64) -> String {
    let mut xml = format!("<push gateway=\"{}\" seq=\"{seq}\">\n", report.gateway);
    for sensor in &report.sensors {
        // Writing to a string cannot fail.
        let _ = writeln!(xml, "  <sensor id=\"{}\" kind=\"{}\">", sensor.id, sensor.role);
        for (metric, unit, value) in &sensor.values {
            let quantity = meaning(sensor.role, metric).1.map_or(String::new(), |quantity| format!(" quantity=\"{quantity}\""));
            let _ = writeln!(
                xml,
                "    <reading metric=\"{metric}\" unit=\"{unit}\"{quantity} time=\"{}\">{value}</reading>",
                report.time
            );
        }
        xml.push_str("  </sensor>\n");
    }
    xml.push_str("</push>\n");
    xml
}

/// The same as a SenML pack (RFC 8428). A SenML name is the sensor; all that it
/// measures is told apart by unit.
fn senml(report: &Report) -> String {
    let seconds = report.time.as_millis() as f64 / 1000.0;
    let mut xml = String::from("<sensml xmlns=\"urn:ietf:params:xml:ns:senml\">");
    for sensor in &report.sensors {
        for (_, unit, value) in &sensor.values {
            let _ = write!(xml, "<senml n=\"{}\" t=\"{seconds}\" u=\"{unit}\" v=\"{value}\"/>", sensor.id);
        }
    }
    xml.push_str("</sensml>\n");
    xml
}
