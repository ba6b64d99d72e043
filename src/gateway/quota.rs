//! How many gateways a provider may have.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use heliograph_domain::{GatewayState, ProviderSettings};

use crate::{output, role};

#[derive(Debug, clap::Args)]
pub(super) struct Quota {
    #[command(flatten)]
    place: role::StoreArgs,
    /// So many from now on. Those that are there stay, however many they are.
    #[arg(long, value_name = "N")]
    set: Option<u32>,
}

pub(super) async fn run(args: Quota) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let mut settings = store.settings_fetch().await?;
    if let Some(max_gateways) = args.set {
        settings = ProviderSettings { max_gateways, ..settings };
        store.settings_save(settings.clone()).await.context("save the quota")?;
    }
    let gateways = store.gateway_list().await?;
    let commissioned = gateways.iter().filter(|gateway| gateway.state == GatewayState::Commissioned).count();
    let adopted = gateways.iter().filter(|gateway| gateway.state == GatewayState::Waiting && gateway.documents > 0).count();
    let line = format!("{commissioned} commissioned, {adopted} adopted, {} at most", settings.max_gateways);
    output::ended(writeln!(std::io::stdout(), "{line}"))?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
