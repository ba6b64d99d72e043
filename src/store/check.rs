//! `heliograph store check`: is everything as it was written?

use std::io::Write;
use std::process::ExitCode;

use crate::role;

/// Exits 1 where something is damaged.
pub(super) async fn run(place: role::StoreArgs) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let damage = store.damage_list().await?;
    store.close().await;
    let mut out = std::io::stdout().lock();
    for damage in &damage {
        writeln!(out, "{damage}")?;
    }
    if damage.is_empty() {
        writeln!(out, "nothing is damaged")?;
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("{} places of {} are damaged: restore a backup, or archive what can be read", damage.len(), place.provider)
}
