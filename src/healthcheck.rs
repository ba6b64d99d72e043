//! `heliograph healthcheck`: asks a role's ops address, for images without a shell.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than this nobody waits for a health check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a role's ops address whether it is well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The role's ops address.
    address: SocketAddr,
    /// Ask whether it is ready for work rather than whether it is alive.
    #[arg(long)]
    ready: bool,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let answer = tokio::time::timeout(TIMEOUT, ask(args.address, path))
        .await
        .with_context(|| format!("{} does not answer", args.address))??;
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{} is not well: {}", args.address, answer.lines().last().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await.context("ask")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await.context("read the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
