//! `heliograph customer`: everything of one customer out, or its personal data
//! gone.

mod figures;
mod people;
mod surroundings;
mod troubles;

use std::fs::DirBuilder;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::{Commission, Customer, CustomerId, Zone};
use heliograph_store::{Letter, ProviderStore, StoreError, UserRecord};
use serde_json::json;

use crate::readings::{Format, write_all};
use crate::{output, role};

/// Hand over what is kept of a customer, or erase what is personal of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write everything of a customer into a new folder: master data, people with
    /// where they are signed in and what the audit trail says of them, commissions with
    /// sites, sensors and corrections, mails, and the readings, figures, alerts and
    /// refused documents of its gateways within its windows.
    Export(Export),
    /// Erase names and addresses of a customer, its people with their sessions,
    /// and the mails to them and about it. Its running commissions end. What was measured stays.
    Erase(Erase),
}

#[derive(Debug, clap::Args)]
struct Which {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The customer, as the panel's address shows it.
    #[arg(long, value_name = "ID")]
    customer: CustomerId,
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    which: Which,
    /// The folder to write [default: customer-ID].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Erase {
    #[command(flatten)]
    which: Which,
    /// Do it. Nothing brings back what is erased.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Export(args) => export(args).await,
        Action::Erase(args) => erase(&args).await,
    }
}

async fn open(which: &Which) -> anyhow::Result<(ProviderStore, Customer)> {
    let store = which.place.open()?;
    match store.customer_fetch(which.customer).await {
        Ok(customer) => Ok((store, customer)),
        Err(StoreError::NotFound(_)) => bail!("provider {} has no customer {}", store.provider(), which.customer),
        Err(error) => Err(error.into()),
    }
}

async fn export(args: Export) -> anyhow::Result<ExitCode> {
    let (store, customer) = open(&args.which).await?;
    let folder = args.out.unwrap_or_else(|| PathBuf::from(format!("customer-{}", customer.id)));
    DirBuilder::new().mode(0o700).create(&folder).with_context(|| format!("make folder {}", folder.display()))?;
    let people = people_of(&store, customer.id).await?;
    let commissions = store.commission_list_by_customer(customer.id).await?;
    let mut all = surroundings::of(&store, &commissions).await?;
    all.insert("customer".to_owned(), json!(customer));
    all.insert("commissions".to_owned(), described(&store, &commissions).await?.into());
    let tokens = people::tokens_of(&store, &people).await?;
    all.insert("people".to_owned(), people::described(&store, &people, &tokens, (role::clock())()).await?);
    let theirs = people::Theirs::new(customer.id, &people, &tokens, &commissions);
    all.insert("audit".to_owned(), theirs.trail(&store).await?);
    all.insert("alerts".to_owned(), troubles::alerts(&store, &commissions).await?);
    let refused = troubles::write_refused(&store, &folder, customer.id, &commissions).await?;
    write_json(&folder.join("customer.json"), &all.into())?;
    let mails = write_mails(&store, &folder, customer.id).await?;
    let zone = store.settings_fetch().await?.zone;
    let mut rollups = 0;
    for name in ["readings", "rollups"] {
        make_folder(&folder.join(name))?;
    }
    for commission in &commissions {
        write_readings(&store, &folder, commission, &zone).await?;
        rollups += write_rollups(&store, &folder, commission, &zone).await?;
    }
    store.close().await;
    writeln!(
        std::io::stdout(),
        "{}: {} people, {} commissions, {rollups} windows of 15 minutes, {mails} mails, {refused} refused documents",
        folder.display(),
        people.len(),
        commissions.len()
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn people_of(store: &ProviderStore, customer: CustomerId) -> anyhow::Result<Vec<UserRecord>> {
    Ok(store.user_list().await?.into_iter().filter(|user| user.customer == Some(customer)).collect())
}

async fn described(store: &ProviderStore, commissions: &[Commission]) -> anyhow::Result<Vec<serde_json::Value>> {
    let gateways = store.gateway_list().await?;
    let describe = |commission: &Commission| {
        let gateway = gateways.iter().find(|gateway| gateway.id == commission.gateway);
        json!({
            "id": commission.id,
            "gateway": commission.gateway,
            "label": gateway.and_then(|gateway| gateway.label.clone()),
            "from": commission.window.from.to_string(),
            "until": commission.window.until.map(|until| until.to_string()),
            "readings": format!("readings/{}.csv", commission.id),
            "rollups": format!("rollups/{}.csv", commission.id),
        })
    };
    Ok(commissions.iter().map(describe).collect())
}

/// The mails of a customer and its people: a list, and each summary as it was sent.
async fn write_mails(store: &ProviderStore, folder: &Path, customer: CustomerId) -> anyhow::Result<usize> {
    let mails = store.outbox_list_by_customer(customer).await?;
    make_folder(&folder.join("mails"))?;
    // Of a mail that is written as it is sent, nothing is kept but that there was one.
    for mail in mails.iter().filter(|mail| !Letter::is_one(&mail.key)) {
        let message = match store.outbox_fetch(mail.id).await {
            Ok(mail) => mail.message,
            // All else is theirs, too.
            Err(StoreError::Damaged(problem)) => {
                tracing::error!(mail = %mail.id, problem, "a mail is damaged and left out");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        create(&folder.join("mails").join(format!("{}.eml", mail.id)))?.write_all(&message).context("write a mail")?;
    }
    let listed = mails.iter().map(|mail| {
        json!({ "id": mail.id, "to": mail.key.recipient, "subject": mail.subject, "report": mail.key.report,
            "period": mail.key.period, "state": mail.state.as_str(), "created": mail.created.to_string(),
            "sent": mail.sent.map(|sent| sent.to_string()) })
    });
    write_json(&folder.join("mails.json"), &listed.collect())?;
    Ok(mails.len())
}

async fn write_readings(store: &ProviderStore, folder: &Path, commission: &Commission, zone: &Zone) -> anyhow::Result<()> {
    let (path, mut file) = csv(folder, "readings", commission)?;
    write_all(store, &commission.gateway, commission.window, None, zone, Format::Csv, &mut file).await?;
    file.flush().with_context(|| format!("write {}", path.display()))
}

async fn write_rollups(store: &ProviderStore, folder: &Path, commission: &Commission, zone: &Zone) -> anyhow::Result<u64> {
    let (path, mut file) = csv(folder, "rollups", commission)?;
    let written = figures::write(store, commission, zone, &mut file).await?;
    file.flush().with_context(|| format!("write {}", path.display()))?;
    Ok(written)
}

/// A commission's file of a kind.
fn csv(folder: &Path, kind: &str, commission: &Commission) -> anyhow::Result<(PathBuf, BufWriter<std::fs::File>)> {
    let path = folder.join(kind).join(format!("{}.csv", commission.id));
    let file = BufWriter::new(create(&path)?);
    Ok((path, file))
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().mode(0o700).create(path).with_context(|| format!("make folder {}", path.display()))
}

/// A new file for its owner alone.
fn create(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("make {}", path.display()))
}

fn write_json(path: &Path, value: &serde_json::Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("write JSON")?;
    create(path)?.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

async fn erase(args: &Erase) -> anyhow::Result<ExitCode> {
    let (store, customer) = open(&args.which).await?;
    let people = people_of(&store, customer.id).await?;
    let mut out = std::io::stdout().lock();
    if !args.yes {
        writeln!(out, "would erase customer {:?}, {} people and the mails to them; --yes does it", customer.name, people.len())?;
        return Ok(ExitCode::SUCCESS);
    }
    let erased = store.customer_erase(customer.id, (role::clock())()).await?;
    store.close().await;
    if erased.left_in_log {
        output::complain(
            "somebody read the store all the time: its log (the file ending in -wal) may still hold what was erased; run this \
             once more",
        );
    }
    writeln!(out, "erased: {} people, {} mails; {} commissions ended", erased.people, erased.mails, erased.commissions_ended)?;
    Ok(ExitCode::SUCCESS)
}
