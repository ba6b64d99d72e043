//! `heliograph ingest`: serves the gateways of a provider.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use heliograph_dialects::Limits;
use heliograph_domain::{Actor, ProviderId, ProviderSettings, UnknownGateways};
use heliograph_ingest::{Ingest, IngestSettings};

use crate::settings::{Settings, Sources};
use crate::{bind, logging, ops, role};

/// Serve the gateways of a provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: role::Args,
    /// Address that gateways push to [default: 0.0.0.0:6000].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// What happens to gateways that nobody has commissioned, until the panel
    /// says otherwise.
    #[arg(long, value_name = "POLICY", value_parser = ["refused", "adopted"])]
    unknown_gateways: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut settings =
        Settings::load(&args.sources, &[args.role.store_flag(), args.role.ops_flag(), ("ingest.listen", args.listen.clone())])?;
    logging::init(&mut settings);
    let ingest_settings = ingest_settings(&mut settings);
    let listen: SocketAddr = settings.required("ingest.listen", SocketAddr::from(([0, 0, 0, 0], 0)));
    let ops_address = settings.optional("ops.listen");
    let store = role::open(&args.role.provider, &mut settings)?.acting_as(Actor::System("ingest"));

    if let Some(policy) = args.unknown_gateways.as_deref() {
        seed_policy(&store, &args.role.provider, UnknownGateways::parse(policy)?).await?;
    }
    let shutdown = role::shutdown_on_signals()?;
    let listener = bind::listen(listen, "--listen")?;
    let ingest = Ingest::open(store.clone(), ingest_settings, role::clock()).await.context("start ingest")?;
    ops::spawn(ops_address, &args.role.provider, store.clone(), shutdown.clone())?;
    tracing::info!(provider = %args.role.provider, address = %listen, acks_survive = store.ack_level().as_str(), "ingest listens");
    ingest.run(listener, role::holder(), shutdown).await;
    store.close().await;
    tracing::info!(provider = %args.role.provider, "ingest has drained");
    Ok(ExitCode::SUCCESS)
}

fn ingest_settings(settings: &mut Settings) -> IngestSettings {
    let built_in = IngestSettings::default();
    let seconds =
        |settings: &mut Settings, key, fallback: Duration| Duration::from_secs(settings.required(key, fallback.as_secs()));
    IngestSettings {
        limits: Limits {
            document_bytes: settings.required("ingest.document_bytes", built_in.limits.document_bytes),
            depth: settings.required("ingest.depth", built_in.limits.depth),
            attributes: settings.required("ingest.attributes", built_in.limits.attributes),
            tag_bytes: settings.required("ingest.tag_bytes", built_in.limits.tag_bytes),
        },
        connections: settings.required("ingest.connections", built_in.connections),
        connections_per_address: settings.required("ingest.connections_per_address", built_in.connections_per_address),
        room: settings.required("ingest.room_bytes", built_in.room),
        idle: seconds(settings, "ingest.idle_seconds", built_in.idle),
        minimum_rate: settings.required("ingest.minimum_rate", built_in.minimum_rate),
        stall: seconds(settings, "ingest.stall_seconds", built_in.stall),
        grace: seconds(settings, "ingest.grace_seconds", built_in.grace),
        in_flight: settings.required::<std::num::NonZeroUsize>("ingest.in_flight", std::num::NonZeroUsize::MIN).get(),
        drain: seconds(settings, "ingest.drain_seconds", built_in.drain),
    }
}

/// The flag decides until somebody saves settings in the panel.
async fn seed_policy(
    store: &heliograph_store::ProviderStore,
    provider: &ProviderId,
    policy: UnknownGateways,
) -> anyhow::Result<()> {
    let seed = ProviderSettings { name: provider.to_string(), unknown_gateways: policy, ..ProviderSettings::default() };
    store.settings_seed(seed).await.context("seed settings")
}
