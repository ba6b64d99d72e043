//! `heliograph rollup`: computes what is due by hand, where no ingest does.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::{output, role};

/// Compute the rollups that are due: those of readings and corrections that came since
/// they were made, and the days and months that follow from them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: role::StoreArgs,
    /// Settle what is due once, and end; ingest does it all the time.
    #[arg(long, required = true)]
    once: bool,
}

/// On a cluster a mark goes once it was seen unchanged for 55 s; what comes meanwhile
/// is waited for no longer than this.
const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let (began, mut settled) = (Instant::now(), 0);
    let waiting = loop {
        match store.rollup_settle().await.context("settle rollups")? {
            0 => {}
            some => {
                settled += some;
                continue;
            }
        }
        let waiting = store.rollup_waiting().await.context("count marks")?;
        if waiting == 0 || began.elapsed() >= PATIENCE {
            break waiting;
        }
        tokio::time::sleep(PAUSE).await;
    };
    store.close().await;
    let mut out = std::io::stdout().lock();
    output::ended(match settled {
        0 => writeln!(out, "nothing was due"),
        some => writeln!(out, "{some} marks settled in {:.1} s", began.elapsed().as_secs_f64()),
    })?;
    if waiting > 0 {
        output::ended(writeln!(out, "{waiting} came meanwhile and are left: who reads a report settles what it needs"))?;
    }
    Ok(ExitCode::SUCCESS)
}
