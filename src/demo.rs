//! `heliograph demo`: the whole platform on this machine, with two providers,
//! simulated gateways and a believable sun.

mod fleet;
mod gateways;
mod history;
mod people;
mod planning;
mod site;
mod weather;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use heliograph_admin_web::PanelSettings;
use heliograph_domain::{Actor, EmailAddress};
use heliograph_ingest::{ClientCertificates, Ingest, IngestSettings};
use heliograph_mailer::{MailSettings, Sender, TransportSettings};
use heliograph_store::{Store, StoreUrl};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::settings::{Settings, Sources};
use crate::{bind, logging, role};
use fleet::ProviderPlan;
use people::Logins;

/// Run the whole platform on this machine: two providers with a panel each,
/// simulated gateways, 90 days of history, mails written to files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End by itself after this long, such as 30s, 5m or 1h.
    #[arg(long = "for", value_name = "TIME", value_parser = role::duration)]
    run_for: Option<Duration>,
    /// Folder for stores and mails [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
}

/// The sockets of one provider, taken before anything else is done.
struct Sockets {
    plan: &'static ProviderPlan,
    ingest: TcpListener,
    panel: TcpListener,
}

/// One provider, ready to run.
struct Tenant {
    sockets: Sockets,
    store: heliograph_store::ProviderStore,
    logins: Logins,
    gateways: Vec<gateways::SimulatedSite>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(&args.sources, &[("log.filter", Some("warn".to_owned()))])?;
    logging::init(&mut settings, None);
    settings.finish()?;
    let began = Instant::now();
    let shutdown = role::shutdown_on_signals()?;
    let sockets = fleet::PROVIDERS.iter().map(listen).collect::<anyhow::Result<Vec<_>>>()?;
    let (folder, temporary) = folder(args.dir)?;

    say("writing 90 days of history for two providers …")?;
    let seeding = sockets.into_iter().map(|sockets| {
        let folder = folder.clone();
        tokio::spawn(async move { prepare(sockets, &folder).await })
    });
    let mut tenants = Vec::new();
    for seeded in seeding.collect::<Vec<_>>() {
        tenants.push(seeded.await.context("write the history")??);
    }
    let tasks = TaskTracker::new();
    let summary = summary(&tenants, &folder);
    for tenant in tenants {
        start(tenant, &folder, &tasks, &shutdown).await?;
    }
    say(&format!("ready after {:.1} s\n\n{summary}", began.elapsed().as_secs_f64()))?;

    match args.run_for {
        Some(time) => {
            shutdown.run_until_cancelled(tokio::time::sleep(time)).await;
        }
        None => shutdown.cancelled().await,
    }
    say("ending …")?;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    drop(temporary);
    Ok(ExitCode::SUCCESS)
}

fn listen(plan: &'static ProviderPlan) -> anyhow::Result<Sockets> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let take = |port| bind::listen(local(port), "other ports: the demo always uses 6001, 6002, 8081 and 8082");
    Ok(Sockets { plan, ingest: take(plan.ingest_port)?, panel: take(plan.panel_port)? })
}

/// The folder to use; a temporary one goes when its guard is dropped.
fn folder(given: Option<PathBuf>) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(folder) = given {
        return Ok((folder, None));
    }
    let temporary = tempfile::Builder::new().prefix("heliograph-demo-").tempdir().context("make a temporary folder")?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

async fn prepare(sockets: Sockets, folder: &Path) -> anyhow::Result<Tenant> {
    let store = Store::open(StoreUrl::sqlite(folder))?.provider(&sockets.plan.provider()?)?.acting_as(Actor::System("demo"));
    let now = (role::clock())();
    let locations = fleet::set_up(&store, sockets.plan, now).await?;
    let logins = people::set_up(&store, sockets.plan, now).await?;
    let mut gateways = Vec::new();
    for location in locations {
        let mut site = location.site;
        history::write(&store, &mut site, now).await?;
        gateways.push(gateways::SimulatedSite { site, keys: location.keys });
    }
    while store.rollup_settle().await? > 0 {}
    Ok(Tenant { sockets, store, logins, gateways })
}

/// Starts a provider's roles and its gateways.
async fn start(tenant: Tenant, folder: &Path, tasks: &TaskTracker, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let Tenant { sockets, store, gateways, .. } = tenant;
    let clock = role::clock();
    let push_to = sockets.ingest.local_addr().context("read the address of ingest")?;
    let spool = folder.join("spool").join(store.provider().as_str());
    let ingest = Ingest::open(store.clone(), IngestSettings::default(), &spool, clock.clone()).await.context("start ingest")?;
    tasks.spawn(ingest.run(sockets.ingest, role::holder(), shutdown.clone()));

    let panel_url = format!("http://127.0.0.1:{}", sockets.plan.panel_port);
    let panel = PanelSettings {
        public_url: Some(panel_url.clone()),
        replay: Some(crate::quarantine::replay(ClientCertificates::default())),
        ..PanelSettings::default()
    };
    let (panel_store, panel_clock, panel_shutdown) = (store.clone(), clock.clone(), shutdown.clone());
    tasks.spawn(async move {
        if let Err(error) = heliograph_admin_web::run(sockets.panel, panel_store, panel, panel_clock, panel_shutdown).await {
            tracing::error!(%error, "panel has ended");
        }
    });

    let mail = MailSettings {
        from: Sender::new(None, EmailAddress::parse(&format!("reports@{}.example", sockets.plan.id))?)?,
        transport: TransportSettings::Folder(mails(folder, sockets.plan)),
        hour: MailSettings::DEFAULT_HOUR,
        public_url: Some(panel_url),
        links: true,
    };
    let (mail_clock, mail_shutdown) = (clock.clone(), shutdown.clone());
    tasks.spawn(async move {
        if let Err(error) = heliograph_mailer::run(store, mail, mail_clock, mail_shutdown).await {
            tracing::error!(%error, "mailer has ended");
        }
    });
    for site in gateways {
        tasks.spawn(gateways::push(site, push_to, clock.clone(), shutdown.clone()));
    }
    Ok(())
}

fn mails(folder: &Path, plan: &ProviderPlan) -> PathBuf {
    folder.join("mails").join(plan.id)
}

fn summary(tenants: &[Tenant], folder: &Path) -> String {
    let mut text = String::new();
    for Tenant { sockets: Sockets { plan, .. }, logins, .. } in tenants {
        text.push_str(&format!(
            "  {}\n    panel     http://127.0.0.1:{}\n    owner     {}   password {}\n    customer  {}   password {}\n    gateways  push to 127.0.0.1:{}\n    mails     {}\n    store     {}\n\n",
            plan.name,
            plan.panel_port,
            logins.owner,
            logins.owner_password.reveal(),
            logins.customer,
            logins.customer_password.reveal(),
            plan.ingest_port,
            mails(folder, plan).display(),
            folder.join(format!("{}.db", plan.id)).display(),
        ));
    }
    text.push_str("Ctrl-C ends it.");
    text
}

/// Says something on standard output, at once.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("write to standard output")
}
