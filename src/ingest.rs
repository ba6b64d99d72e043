//! `heliograph ingest`: serves the gateways of a provider.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use heliograph_dialects::Limits;
use heliograph_domain::{Actor, ProviderId, ProviderSettings, UnknownGateways};
use heliograph_ingest::{ClientCertificates, Ingest, IngestSettings, Rates, Tls, TlsSettings};
use heliograph_store::{AckCheck, ProviderStore, Store, StoreError, StoreUrl};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::{self, Settings, Sources};
use crate::{bind, logging, notify, ops, role};

/// How long a store may take to open before a start goes on without it.
const OPENING: Duration = Duration::from_secs(3);
/// Between two attempts to lay down the policy of a flag.
const SEEDING: Duration = Duration::from_secs(5);
/// How long a store may take to close, of the time for a drain: as much of it at most.
const CLOSING: Duration = Duration::from_millis(1500);
const CLOSING_PART: u32 = 4;
/// How soon a store that did not answer is asked again what acks survive.
const SHORTFALL_RETRY: Duration = Duration::from_secs(5);

/// Serve the gateways of a provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: role::Args,
    /// Address that gateways push to [default: 0.0.0.0:6000].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address that speaks TLS and nothing else; the other one speaks it too.
    #[arg(long, value_name = "ADDR")]
    tls_listen: Option<String>,
    /// PEM file with the certificate for TLS and those that lead to its root.
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// off, optional or required: whether gateways prove themselves by certificates.
    #[arg(long, value_name = "off|optional|required")]
    client_certificates: Option<String>,
    /// What happens to gateways that nobody has commissioned, until the panel
    /// says otherwise.
    #[arg(long, value_name = "POLICY", value_parser = ["refused", "adopted"])]
    unknown_gateways: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let flags = [
        args.role.store_flag(),
        args.role.ops_flag(),
        ("ingest.listen", args.listen.clone()),
        ("ingest.tls_listen", args.tls_listen.clone()),
        ("ingest.tls_certificate", args.tls_certificate.clone()),
        ("ingest.tls_key", args.tls_key.clone()),
        ("ingest.client_certificates", args.client_certificates.clone()),
    ];
    let mut settings = Settings::load(&args.sources, &flags)?;
    logging::init(&mut settings, Some(&args.role.provider));
    let tls_listen: Option<SocketAddr> = settings.optional("ingest.tls_listen");
    let tls = tls(&mut settings);
    role::raise_file_limit();
    let ingest_settings = ingest_settings(&mut settings);
    let listen: SocketAddr = settings.required("ingest.listen", SocketAddr::from(([0, 0, 0, 0], 0)));
    let ops_address = settings.optional("ops.listen");
    let spool_dir = settings::path(settings.text("ingest.spool_dir"));
    let url = role::store_url(&mut settings, "store.url", "store.user", "store.password");
    settings.finish()?;
    let url = url?;
    let spool = spool_folder(spool_dir, &url, &args.role.provider);
    let store = open_store(url, &args.role.provider, Ingest::knows_gateways(&spool)).await?.acting_as(Actor::System("ingest"));

    let shutdown = role::shutdown_on_signals()?;
    if let Some(policy) = args.unknown_gateways.as_deref() {
        seed_policy(&store, UnknownGateways::parse(policy)?, ingest_settings.store_deadline, &shutdown).await?;
    }
    let listener = bind::listen(listen, "--listen")?;
    let tls_listener = tls_listen.map(|address| bind::listen(address, "--tls-listen")).transpose()?;
    // All of it: connections, spool, store, and what blocks the end of the process.
    let drain = ingest_settings.drain.saturating_sub(crate::ENDING);
    let ingest_settings = IngestSettings { drain: drain - CLOSING.min(drain / CLOSING_PART), ..ingest_settings };
    let mut ingest = Ingest::open(store.clone(), ingest_settings, &spool, role::clock()).await.context("start ingest")?;
    reload_on_hangup(tls.clone())?;
    if let Some(tls) = tls {
        ingest = ingest.with_tls(tls, tls_listener);
    }
    ops::spawn(ops_address, &args.role.provider, store.clone(), Some(ingest.status()), shutdown.clone())?;
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(warn_of_shortfall(store.clone(), args.role.provider.clone())));
    tracing::info!(provider = %args.role.provider, address = %listen, acks_survive = store.ack_level().as_str(), "ingest listens");
    notify::running(&shutdown);
    let told = shutdown.clone();
    let told = tokio::spawn(async move {
        told.cancelled_owned().await;
        Instant::now()
    });
    ingest.run(listener, role::holder(), shutdown).await;
    let until = told.await.context("be told to end")? + drain;
    if tokio::time::timeout_at(until, store.close()).await.is_err() {
        tracing::warn!("the store does not close, what was acked is in it or in the spool");
    }
    tracing::info!(provider = %args.role.provider, "ingest has drained");
    Ok(ExitCode::SUCCESS)
}

/// Says once, as soon as the store can be asked, if acks survive less than they
/// should.
async fn warn_of_shortfall(store: ProviderStore, provider: ProviderId) {
    loop {
        match store.ack_check().await {
            Ok(AckCheck { shortfall: Some(problem), .. }) => {
                return tracing::error!(%provider, %problem, level = store.ack_level().as_str(), "acks survive less than they should");
            }
            // One that is away now may turn out to be the one that falls short.
            Ok(AckCheck { silent: Some(nodes), .. }) => {
                tracing::debug!(%provider, %nodes, "some nodes do not say what acks survive");
            }
            Ok(_) => return,
            Err(error) => tracing::debug!(%provider, %error, "the store does not say what acks survive"),
        }
        tokio::time::sleep(SHORTFALL_RETRY).await;
    }
}

/// Certificate and key, if TLS is to be spoken; what is wrong with them is noted.
fn tls(settings: &mut Settings) -> Option<Tls> {
    let clients = ClientCertificates::parse(settings.text("ingest.client_certificates"));
    let clients = clients.map_err(|problem| settings.problem("ingest.client_certificates", problem)).unwrap_or_default();
    let certificate = settings::path(settings.text("ingest.tls_certificate"));
    let key = settings::path(settings.text("ingest.tls_key"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let opened = Tls::open(TlsSettings { certificate, key, clients });
            opened.map_err(|error| settings.problem("ingest.tls_certificate", &error.to_string())).ok()
        }
        (Some(_), None) => {
            settings.problem("ingest.tls_key", "is needed with a certificate");
            None
        }
        (None, Some(_)) => {
            settings.problem("ingest.tls_certificate", "is needed with a key");
            None
        }
        (None, None) => {
            for key in ["ingest.tls_listen", "ingest.client_certificates"] {
                if !matches!(settings.text(key), "" | "off") {
                    settings.problem(key, "needs ingest.tls_certificate and ingest.tls_key");
                }
            }
            None
        }
    }
}

/// Reads certificate and key again at SIGHUP, which ends nothing here.
fn reload_on_hangup(tls: Option<Tls>) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match &tls {
                Some(tls) => tls.reload(),
                None => tracing::info!("there is no certificate to load again"),
            }
        }
    });
    Ok(())
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
        room_per_address: settings.required("ingest.room_bytes_per_address", built_in.room_per_address),
        idle: seconds(settings, "ingest.idle_seconds", built_in.idle),
        minimum_rate: settings.required("ingest.minimum_rate", built_in.minimum_rate),
        stall: seconds(settings, "ingest.stall_seconds", built_in.stall),
        grace: seconds(settings, "ingest.grace_seconds", built_in.grace),
        handshake: seconds(settings, "ingest.handshake_seconds", built_in.handshake),
        in_flight: settings.required::<std::num::NonZeroUsize>("ingest.in_flight", std::num::NonZeroUsize::MIN).get(),
        drain: seconds(settings, "ingest.drain_seconds", built_in.drain),
        store_deadline: Duration::from_millis(
            settings.required::<std::num::NonZeroU32>("ingest.store_deadline_ms", std::num::NonZeroU32::MIN).get().into(),
        ),
        spool_bytes: settings.required("ingest.spool_bytes", built_in.spool_bytes),
        rates: Rates {
            gateway_readings: settings.required("ingest.gateway_readings_per_second", built_in.rates.gateway_readings),
            readings: settings.required("ingest.readings_per_second", built_in.rates.readings),
            bytes_a_day: settings.required("ingest.bytes_per_day", built_in.rates.bytes_a_day),
            burst: seconds(settings, "ingest.burst_seconds", built_in.rates.burst),
        },
    }
}

/// The provider's own folder below the one that is set; each process has one of
/// its own in it.
fn spool_folder(set: Option<PathBuf>, url: &StoreUrl, provider: &ProviderId) -> PathBuf {
    let beside_the_data = || url.folder().unwrap_or(Path::new(".")).join("spool");
    set.unwrap_or_else(beside_the_data).join(provider.as_str())
}

/// Opens the store. Where the gateways are known from before, a store that is away
/// keeps nobody from being served: it is opened when it is there.
async fn open_store(url: StoreUrl, provider: &ProviderId, knows_gateways: bool) -> anyhow::Result<ProviderStore> {
    let (place, id) = (url.clone(), provider.clone());
    let opening = tokio::task::spawn_blocking(move || Store::open(place)?.provider(&id));
    let patience = if knows_gateways { OPENING } else { Duration::MAX };
    let problem = match tokio::time::timeout(patience, opening).await {
        Ok(opened) => match opened.context("open the store")? {
            Err(error @ (StoreError::Open { .. } | StoreError::Unavailable(_))) if knows_gateways => error.to_string(),
            opened => return Ok(opened?),
        },
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::error!(%provider, problem, "the store cannot be opened: documents go to the spool until it can");
    Ok(ProviderStore::open_later(&url, provider)?)
}

/// The flag decides until somebody saves settings in the panel. Where the store is
/// away the settings that were last known hold, and the flag is laid down later.
async fn seed_policy(
    store: &ProviderStore,
    policy: UnknownGateways,
    deadline: Duration,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let name = store.provider().to_string();
    let seed = ProviderSettings { name, unknown_gateways: policy, ..ProviderSettings::default() };
    match tokio::time::timeout(deadline, store.settings_seed(seed.clone())).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(StoreError::Unavailable(_) | StoreError::Open { .. })) | Err(_) => {}
        Ok(Err(error)) => return Err(error).context("seed settings"),
    }
    let (store, shutdown) = (store.clone(), shutdown.clone());
    tokio::spawn(async move {
        while shutdown.run_until_cancelled(tokio::time::sleep(SEEDING)).await.is_some() {
            if store.settings_seed(seed.clone()).await.is_ok() {
                break;
            }
        }
    });
    Ok(())
}
