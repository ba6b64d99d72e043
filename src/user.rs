//! `heliograph user`: the people who sign in to a provider's panel.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_admin_web::users::add_user;
use heliograph_domain::{Actor, CustomerId, EmailAddress, Secret, UserRole};

use crate::{output, role};

/// Add and list the people who sign in to a panel.
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
    /// owner, operator, viewer or customer.
    #[arg(long = "role", value_name = "ROLE", value_parser = UserRole::parse)]
    user_role: UserRole,
    /// The customer whose data they see, with --role customer.
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Insist on a password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(args).await,
        Action::List(place) => list(place).await,
    }
}

async fn add(args: Add) -> anyhow::Result<ExitCode> {
    let mut settings = args.place.settings()?;
    let public_url: Option<String> = settings.optional("admin.public_url");
    let store = role::open(&args.place.provider, &mut settings)?.acting_as(Actor::Operator);
    let password = read_password(args.password_stdin)?;
    let name = args.name.unwrap_or_else(|| args.email.as_str().split('@').next().unwrap_or_default().to_owned());
    let added = add_user(&store, args.email.clone(), name, args.user_role, args.customer, password, (role::clock())()).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} may sign in as {}", args.email, args.user_role)?;
    if let Some(token) = added.one_time_link_token {
        let base = public_url.as_deref().map_or("", |url| url.trim_end_matches('/'));
        writeln!(out, "one-time link, valid for 24 hours: {base}/welcome/{}", token.reveal())?;
        if base.is_empty() {
            writeln!(out, "(put the panel's address in front of it)")?;
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
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
    let users = store.user_list().await?;
    output::lines(users.iter().map(|user| {
        let signed_up = if user.password_hash.is_some() { "" } else { "  (no password yet)" };
        format!("{:<10} {:<36} {}{signed_up}", user.role, user.email.as_str(), user.name)
    }))?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
