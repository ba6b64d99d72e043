//! `heliograph store check`: is everything as it was written?

use std::io::Write;
use std::process::ExitCode;

use crate::settings::{Settings, Sources};
use crate::{logging, role};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role_args: role::Args,
    #[command(flatten)]
    sources: Sources,
}

/// Exits 1 where something is damaged.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(&args.sources, &[args.role_args.store_flag(), ("log.filter", Some("warn".to_owned()))])?;
    logging::init(&mut settings);
    let store = role::open(&args.role_args.provider, &mut settings)?;
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
    anyhow::bail!(
        "{} places of {} are damaged: restore a backup, or archive what can be read",
        damage.len(),
        args.role_args.provider
    )
}
