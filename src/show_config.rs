//! `heliograph config`: which settings are in force, and where each comes from.

use std::io::Write;
use std::process::ExitCode;

use crate::settings::{Settings, Sources};

/// Show which settings are in force.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&args.sources, &[])?;
    let mut out = std::io::stdout().lock();
    for entry in settings.in_force() {
        let value = match entry.value.as_str() {
            "" => "(not set)",
            _ if entry.setting.secret => "(secret)",
            value => value,
        };
        writeln!(out, "{:<26} {value:<28} {}\n{:<26} {}", entry.setting.key, entry.origin, "", entry.setting.about)?;
    }
    settings.finish()?;
    Ok(ExitCode::SUCCESS)
}
