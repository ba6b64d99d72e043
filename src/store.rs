//! `heliograph store`: looks after a provider's store.

mod check;
mod init;

use std::io::Write;
use std::process::ExitCode;

use heliograph_store::{ProviderStore, RetentionPlan, RetentionPreview};

use crate::role;
use crate::settings::SettingsError;

/// Look after a provider's store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Read everything and name what is damaged: file, table, gateway and time.
    Check(check::Check),
    /// Make or migrate a provider's keyspace on a cluster, and the role that its
    /// processes sign in as. The administrator's name and password are the settings
    /// `store.admin_user` and `store.admin_password` (or `_file`); the role gets
    /// `store.password` (or `_file`), else one that is printed once.
    Init(init::Init),
    /// Show which readings are older than the provider keeps, or delete them now.
    Retention(Retention),
}

#[derive(Debug, clap::Args)]
struct Retention {
    #[command(flatten)]
    place: role::StoreArgs,
    /// Days that readings are kept [default: what the provider's settings say].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_525))]
    days: Option<u32>,
    /// Show what would be deleted, which is also done without this flag.
    #[arg(long, conflicts_with = "run")]
    preview: bool,
    /// Delete it.
    #[arg(long)]
    run: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check(args) => check::run(args).await,
        Action::Init(args) => init::init(args).await,
        Action::Retention(args) => retention(args).await,
    }
}

async fn retention(args: Retention) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let days = match args.days {
        Some(days) => Some(days),
        None => store.settings_fetch().await?.retention_days,
    };
    let mut out = std::io::stdout().lock();
    match days {
        None if args.run => return Err(SettingsError::one("the provider keeps readings for ever: name --days").into()),
        None => writeln!(out, "the provider keeps readings for ever")?,
        Some(days) if args.run => delete(&store, RetentionPlan::of(days, (role::clock())()), &mut out).await?,
        Some(days) => show(&store.retention_preview(RetentionPlan::of(days, (role::clock())())).await?, &mut out)?,
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn delete(store: &ProviderStore, plan: RetentionPlan, out: &mut impl Write) -> anyhow::Result<()> {
    let mut deleted = 0;
    loop {
        let step = store.retention_step(plan).await?;
        deleted += step.deleted;
        if step.done {
            break;
        }
    }
    if deleted > 0 {
        store.retention_note(plan, deleted).await?;
    }
    writeln!(out, "{deleted} readings before {} deleted", plan.delete_before)?;
    Ok(())
}

fn show(preview: &RetentionPreview, out: &mut impl Write) -> std::io::Result<()> {
    let plan = preview.plan;
    for share in &preview.gateways {
        writeln!(out, "{:>12} readings {:>12} bytes  from {}  {}", share.readings, share.bytes, share.oldest, share.gateway)?;
    }
    writeln!(
        out,
        "keeping readings for {} days deletes {} readings before {} ({} bytes)",
        plan.days,
        preview.readings(),
        plan.delete_before,
        preview.bytes()
    )?;
    if let Some(sealing) = preview.sealing {
        writeln!(out, "the rollups from {} to {} stay as they are now, for ever", sealing.from, sealing.end())?;
    }
    Ok(())
}
