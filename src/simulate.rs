//! `heliograph simulate`: gateways that push at a rate, whatever the answers do.
//!
//! The load is open: a document is due when the rate says so, and its latency counts
//! from then, so that a server that stalls shows all who wait for it. A document
//! without an answer is sent again, the same bytes, over a new connection.

mod document;
mod gateway;
pub(crate) mod journal;
mod line;
mod progress;
mod recorder;
mod request;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use heliograph_domain::GatewayId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use document::{Fleet, Kind};
use gateway::Gateway;
use progress::Progress;
use recorder::Recorder;
use tls::Tls;

use crate::role;

/// How long answers may take after the last document, or after the run was broken off.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are opened a second at the start.
const OPENED_A_SECOND: u32 = 2_000;

/// Push as many gateways would, and say how fast they were answered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to push.
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
    /// How many gateways push, each on a connection of its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    gateways: u32,
    /// Documents a second of all gateways together.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: f64,
    /// For how long, such as 30s, 10m or 2h.
    #[arg(long = "for", value_name = "D", value_parser = role::duration)]
    duration: Duration,
    /// What they speak, over TCP or by HTTP as such a device does.
    #[arg(long, value_enum, default_value_t = Kind::Native)]
    dialect: Kind,
    /// Readings of a document.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    readings: u32,
    /// Gateways are called PREFIX0, PREFIX1 and so on, those of mii simulated/PREFIX0.
    #[arg(long, value_name = "PREFIX", default_value = "sim-", value_parser = prefix)]
    prefix: String,
    /// The key of all of them; none: gateways that are adopted without.
    #[arg(long, env = "HELIOGRAPH_SIMULATE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Write every document down before it is sent, and its answer; go on where the
    /// file ends.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// The provider, as the journal calls it.
    #[arg(long, default_value = "", value_name = "ID")]
    provider: String,
    /// Push over TLS.
    #[arg(long)]
    tls: bool,
    /// The certificates to trust (PEM), instead of those that the system trusts.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// The name that the server's certificate is for.
    #[arg(long, value_name = "NAME", default_value = "localhost", requires = "tls")]
    server_name: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err("it is no number of documents a second".to_owned()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    GatewayId::parse(&format!("{text}0")).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Pushes; 1 where a document was refused or has no answer in the end. A signal ends
/// it: nothing further becomes due, what is under way may still be answered.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    role::raise_file_limit();
    let shutdown = role::shutdown_on_signals()?;
    let before = match &args.journal {
        Some(path) => journal::read(path).with_context(|| format!("read {}", path.display()))?,
        None => Vec::new(),
    };
    let fleet = Arc::new(Fleet {
        kind: args.dialect,
        readings: args.readings,
        prefix: args.prefix.clone(),
        key: args.key.clone(),
        provider: args.provider.clone(),
        tls: args.tls.then(|| Tls::new(args.ca.as_deref(), &args.server_name)).transpose()?,
    });
    let mut unanswered: HashMap<String, (u64, Vec<journal::Document>)> = HashMap::new();
    for sent in before {
        fleet.check_bytes(&sent.document)?;
        let (count, open) = unanswered.entry(sent.document.gateway.clone()).or_default();
        *count += 1;
        if sent.acked_at.is_none() {
            open.push(sent.document);
        }
    }
    let (recorder, recording) = match &args.journal {
        Some(path) => {
            let file = journal::open(path).with_context(|| format!("open {}", path.display()))?;
            let (recorder, recording) = Recorder::start(file);
            (Some(recorder), Some(recording))
        }
        None => (None, None),
    };
    let progress = Arc::new(Progress::new(args.gateways)?);
    let began = Instant::now() + Duration::from_secs(1) * (args.gateways / OPENED_A_SECOND);
    let gone = CancellationToken::new();
    let tasks = TaskTracker::new();
    for number in 0..args.gateways {
        let (sent_before, again) = unanswered.remove(&fleet.gateway(number)).unwrap_or_default();
        let gateway = Gateway {
            fleet: Arc::clone(&fleet),
            number,
            to: args.to,
            opens: Instant::now() + Duration::from_secs_f64(f64::from(number) / f64::from(OPENED_A_SECOND)),
            first: began + Duration::from_secs_f64(f64::from(number) / args.rate),
            every: Duration::from_secs_f64(f64::from(args.gateways) / args.rate),
            until: began + args.duration,
            broken_off: shutdown.clone(),
            gone: gone.clone(),
            sent_before,
            recorder: recorder.clone(),
            progress: Arc::clone(&progress),
        };
        tasks.spawn(gateway.run(again));
    }
    drop(recorder);
    tasks.close();
    let broken_off = async {
        shutdown.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        () = tasks.wait() => {}
        () = progress.report(began) => {}
        () = tokio::time::sleep_until(began + args.duration + PATIENCE) => {}
        () = broken_off => {}
    }
    gone.cancel();
    tasks.wait().await;
    if let Some(recording) = recording {
        recording.await.context("journal")?.context("write the journal")?;
    }
    if let Some(problem) = progress.hopeless.get() {
        bail!("{problem}");
    }
    progress.print(args.duration, args.json)?;
    Ok(if progress.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
