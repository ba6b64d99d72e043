//! `heliograph user`: the people who sign in to a provider's panel.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_admin_web::users::{LINK_HOURS, Rights, add_user, end_of_day, last_day, link_user};
use heliograph_domain::{
    Actor, Assignment, CustomerId, EmailAddress, LocationId, OutboxId, Secret, Timestamp, UserRole, time_ordered_uuid,
};
use heliograph_store::{Letter, LetterKind, ProviderStore, StoreError, UserRecord};
use jiff::civil::Date;

use crate::{output, role};

/// Add and list the people who sign in to a panel, and let them in again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add somebody. A password that is piped in becomes theirs; without one a
    /// one-time link is printed, with which they choose their own.
    Add(Add),
    /// List everybody.
    List(role::StoreArgs),
    /// Print a new one-time link for somebody who has lost the password.
    Link(Whom),
    /// Ask somebody for the password alone, who has lost the app of the second step and
    /// the recovery codes.
    SecondStepOff(Whom),
}

#[derive(Debug, clap::Args)]
struct Whom {
    #[command(flatten)]
    place: role::StoreArgs,
    /// Address that they sign in with.
    #[arg(long, value_parser = EmailAddress::parse)]
    email: EmailAddress,
}

#[derive(Debug, clap::Args)]
struct Add {
    #[command(flatten)]
    place: role::StoreArgs,
    /// Address to sign in with.
    #[arg(long, value_parser = EmailAddress::parse)]
    email: EmailAddress,
    /// What people call them.
    #[arg(long)]
    name: Option<String>,
    /// owner, operator, installer, viewer or customer.
    #[arg(long = "role", value_name = "ROLE", value_parser = UserRole::parse)]
    user_role: UserRole,
    /// The customer whose data they see, with --role customer.
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// The last day of access, in the provider's time zone, with --role installer.
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
    /// A location where they work, with --role installer; may be given several times.
    #[arg(long = "location", value_name = "ID")]
    locations: Vec<LocationId>,
    /// Insist on a password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(args).await,
        Action::List(place) => list(place).await,
        Action::Link(whom) => link(whom).await,
        Action::SecondStepOff(whom) => second_step_off(whom).await,
    }
}

async fn add(args: Add) -> anyhow::Result<ExitCode> {
    let mut settings = args.place.settings()?;
    let public_url: Option<String> = settings.optional("admin.public_url");
    let store = role::open(&args.place.provider, &mut settings)?.acting_as(Actor::Operator);
    let now = (role::clock())();
    let rights = rights(&store, &args, now).await?;
    let password = read_password(args.password_stdin)?;
    let name = args.name.unwrap_or_else(|| args.email.as_str().split('@').next().unwrap_or_default().to_owned());
    let added = add_user(&store, args.email.clone(), name, rights, password, now).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} may sign in as {}", args.email, args.user_role)?;
    if let Some(token) = added.one_time_link_token {
        write_link(&mut out, public_url.as_deref(), &token)?;
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// What somebody is to do, and of what.
async fn rights(store: &ProviderStore, args: &Add, now: Timestamp) -> anyhow::Result<Rights> {
    let assignment = match args.until {
        Some(day) => {
            let zone = store.settings_fetch().await?.zone;
            let until = end_of_day(day, &zone).context("read --until: the calendar ends there")?;
            Some(Assignment::new(until, args.locations.clone(), now)?)
        }
        None if !args.locations.is_empty() || args.user_role == UserRole::Installer => {
            bail!("an installer needs --until DATE and --location ID")
        }
        None => None,
    };
    Ok(Rights { role: args.user_role, customer: args.customer, assignment })
}

fn write_link(out: &mut impl Write, public_url: Option<&str>, token: &Secret) -> std::io::Result<()> {
    let base = public_url.map_or("", |url| url.trim_end_matches('/'));
    writeln!(out, "one-time link, valid for {LINK_HOURS} hours: {base}/welcome/{}", token.reveal())?;
    if base.is_empty() {
        writeln!(out, "(put the panel's address in front of it)")?;
    }
    Ok(())
}

async fn link(Whom { place, email }: Whom) -> anyhow::Result<ExitCode> {
    let mut settings = place.settings()?;
    let public_url: Option<String> = settings.optional("admin.public_url");
    let store = role::open(&place.provider, &mut settings)?.acting_as(Actor::Operator);
    let user = find(&store, &email).await?;
    let token = link_user(&store, user.id, (role::clock())()).await?;
    write_link(&mut std::io::stdout().lock(), public_url.as_deref(), &token)?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn second_step_off(Whom { place, email }: Whom) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let user = find(&store, &email).await?;
    match store.second_factor_remove(user.id).await {
        Ok(()) => {
            let (now, letter) = ((role::clock())(), Letter::to(&user, LetterKind::SecondStepOff, None));
            store.letter_order(OutboxId::new(time_ordered_uuid(now, &rand::random())), &user, &letter, now).await?;
            writeln!(std::io::stdout().lock(), "the password alone signs {email} in")?;
        }
        Err(StoreError::NotFound(_)) => bail!("{email} is not asked for a second step"),
        Err(error) => return Err(error.into()),
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn find(store: &ProviderStore, email: &EmailAddress) -> anyhow::Result<UserRecord> {
    let found = store.user_find(email).await?;
    found.with_context(|| format!("nobody signs in to {} with {email}", store.provider()))
}

/// The first line of what is piped in, if anything is.
fn read_password(insist: bool) -> anyhow::Result<Option<Secret>> {
    if insist && std::io::stdin().is_terminal() {
        bail!("--password-stdin wants the password through a pipe, so that it is not shown while it is typed");
    }
    if !insist && !is_piped() {
        return Ok(None);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("read the password from standard input")?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() && insist {
        bail!("--password-stdin found no password on standard input");
    }
    Ok((!password.is_empty()).then(|| Secret::new(password)))
}

/// Whether standard input is a pipe or a file: not a terminal, not `/dev/null`,
/// and not the socket of a remote shell, which would never end.
fn is_piped() -> bool {
    std::fs::metadata("/dev/stdin").is_ok_and(|input| input.is_file() || input.file_type().is_fifo())
}

async fn list(place: role::StoreArgs) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let (users, guarded) = (store.user_list().await?, store.second_factor_users().await?);
    let zone = store.settings_fetch().await?.zone;
    output::lines(users.iter().map(|user| {
        let signed_up = if user.password_hash.is_some() { "" } else { "  (no password yet)" };
        let second_step = if guarded.contains(&user.id) { "  (second step)" } else { "" };
        let until = user.assignment.as_ref().map(|given| format!("  (until {})", last_day(given, &zone))).unwrap_or_default();
        format!("{:<10} {:<36} {}{until}{signed_up}{second_step}", user.role, user.email.as_str(), user.name)
    }))?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
