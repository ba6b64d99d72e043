//! How wrong a gateway's clock is, and what is added to its times.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::{ClockCorrection, ClockShift, ClockState, Zone};
use heliograph_store::{GatewayClock, GatewayRecord, ProviderStore, StoreError};

use super::Of;
use crate::{output, role};

#[derive(Debug, clap::Args)]
pub(super) struct Clock {
    #[command(flatten)]
    of: Of,
    /// Add this to the times of what arrives from now on: -1h, +5h30m, 90s. What is
    /// stored stays as it is.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = ClockShift::parse)]
    correct: Option<ClockShift>,
    /// Take times from now on as the gateway says them.
    #[arg(long, conflicts_with = "correct")]
    no_correction: bool,
}

pub(super) async fn run(args: Clock) -> anyhow::Result<ExitCode> {
    let (store, id) = (args.of.place.open()?, &args.of.gateway);
    let gateway = match store.gateway_fetch(id).await {
        Ok(gateway) => gateway,
        Err(StoreError::NotFound(_)) => bail!("provider {} has no gateway {id}", store.provider()),
        Err(error) => return Err(error).context("look for the gateway"),
    };
    let shift = if args.no_correction { Some(ClockShift::default()) } else { args.correct };
    if let Some(shift) = shift {
        store
            .gateway_clock_correct(id, ClockCorrection { from: (role::clock())(), shift })
            .await
            .context("set the correction")?;
    }
    let zone = zone_of(&store, &gateway).await?;
    let clock = store.gateway_clock(id).await.context("read what is known of the clock")?;
    let mut out = output::standard();
    for line in lines(&store, &gateway, &zone, &clock) {
        if output::ended(writeln!(out, "{line}"))? {
            break;
        }
    }
    output::ended(out.flush())?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The zone of the gateway's location, else the provider's.
async fn zone_of(store: &ProviderStore, gateway: &GatewayRecord) -> anyhow::Result<Zone> {
    let locations = store.location_list().await?;
    match locations.into_iter().find(|location| Some(location.id) == gateway.location) {
        Some(location) => Ok(location.zone),
        None => Ok(store.settings_fetch().await?.zone),
    }
}

fn lines(store: &ProviderStore, gateway: &GatewayRecord, zone: &Zone, clock: &GatewayClock) -> Vec<String> {
    let state = clock.samples.judge(zone);
    let mut lines = vec![format!("clock       {state}")];
    let shift = clock.corrections.last().map(|last| last.shift).unwrap_or_default();
    let correction = match clock.corrections.last() {
        Some(last) if !last.shift.is_none() => format!("{} to what arrives since {}", last.shift, last.from),
        Some(last) => format!("none since {}", last.from),
        None => "none".to_owned(),
    };
    lines.push(format!("correction  {correction}"));
    let ClockState::Known(estimate) = state else { return lines };
    let right = estimate.correction();
    if right != shift {
        let command = format!("heliograph gateway clock --provider {} {} --correct {right}", store.provider(), gateway.id);
        lines.push(format!("to correct  {command}"));
    }
    if !right.is_none() {
        lines.extend(estimate.caveats(zone).into_iter().map(|caveat| format!("            {caveat}")));
    }
    lines
}
