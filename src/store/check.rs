//! `heliograph store check`: is everything as it was written?

use std::io::Write;
use std::process::ExitCode;

use crate::role;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    place: role::StoreArgs,
    /// Take rows that differ from their copies for right, as they stand. Look at them
    /// before, and put right what is wrong.
    #[arg(long)]
    accept: bool,
}

/// Exits 1 where something is damaged.
pub(super) async fn run(Check { place, accept }: Check) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let mut out = std::io::stdout().lock();
    if accept {
        for damage in store.damage_accept().await? {
            writeln!(out, "accepted: {damage}")?;
        }
    }
    let damage = store.damage_list().await?;
    store.close().await;
    for damage in &damage {
        writeln!(out, "{damage}")?;
    }
    if damage.is_empty() {
        writeln!(out, "nothing is damaged")?;
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("{} places of {} are damaged: restore a backup, or archive what can be read", damage.len(), place.provider)
}
