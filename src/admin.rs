//! `heliograph admin`: serves the web panel of a provider.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use heliograph_admin_web::PanelSettings;
use heliograph_domain::Actor;

use crate::settings::{Settings, Sources};
use crate::{bind, logging, notify, ops, role};

/// Serve the web panel of a provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    role: role::Args,
    /// Address of the panel [default: 0.0.0.0:8080].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address that people type; with https, cookies are Secure.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let flags = [
        args.role.store_flag(),
        args.role.ops_flag(),
        ("admin.listen", args.listen.clone()),
        ("admin.public_url", args.public_url.clone()),
    ];
    let mut settings = Settings::load(&args.sources, &flags)?;
    logging::init(&mut settings, Some(&args.role.provider));
    let panel = panel_settings(&mut settings);
    let listen: SocketAddr = settings.required("admin.listen", SocketAddr::from(([0, 0, 0, 0], 0)));
    let ops_address = settings.optional("ops.listen");
    let store = role::open(&args.role.provider, &mut settings)?.acting_as(Actor::System("panel"));

    let shutdown = role::shutdown_on_signals()?;
    let listener = bind::listen(listen, "--listen")?;
    ops::spawn(ops_address, &args.role.provider, store.clone(), None, shutdown.clone())?;
    tracing::info!(provider = %args.role.provider, address = %listen, "panel listens");
    notify::running(&shutdown);
    heliograph_admin_web::run(listener, store.clone(), panel, role::clock(), shutdown).await.context("serve the panel")?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn panel_settings(settings: &mut Settings) -> PanelSettings {
    let built_in = PanelSettings::default();
    let clients = crate::quarantine::client_certificates(settings);
    let public_url: Option<String> = settings.optional("admin.public_url");
    if public_url.as_deref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
        settings.problem("admin.public_url", "must begin with https:// or http://");
    }
    PanelSettings {
        public_url,
        links_by_mail: settings.required("admin.links_by_mail", true),
        session_idle: Duration::from_hours(settings.required("admin.session_idle_hours", 12)),
        behind_proxy: settings.required("admin.behind_proxy", false),
        replay: Some(crate::quarantine::replay(clients)),
        ..built_in
    }
}
