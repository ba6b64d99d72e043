//! `heliograph quarantine`: what was refused, kept as it came, and another try.

mod panel;
mod retry;

pub(crate) use panel::replay;
pub(crate) use retry::client_certificates;

use std::io::Write;
use std::process::ExitCode;

use heliograph_domain::{QuarantineId, RefusalCode, visible};
use heliograph_store::{ProviderStore, QuarantineRow, StoreError};
use serde_json::json;

use crate::{output, role};

/// Look at what was refused, and try it again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what is in the quarantine, the newest first.
    List(List),
    /// Show an entry: what is known of it, and its bytes as they came, keys masked.
    Show(Show),
    /// Decode and check entries again, as if they came now. What can be stored is, and
    /// leaves the quarantine.
    Retry(retry::Retry),
}

/// Which entries are meant.
#[derive(Debug, Clone, clap::Args)]
struct Filter {
    /// Those that name this gateway.
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
    /// Those that were refused for this reason, such as no-readings.
    #[arg(long, value_name = "CODE", value_parser = RefusalCode::parse)]
    code: Option<RefusalCode>,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    place: role::StoreArgs,
    #[command(flatten)]
    filter: Filter,
    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The entry.
    #[arg(value_name = "ID")]
    entry: QuarantineId,
    /// One JSON object, with the bytes as a text.
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Nothing but the bytes, as they were kept.
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => list(args).await,
        Action::Show(args) => show(args).await,
        Action::Retry(args) => retry::run(args).await,
    }
}

/// Entries listed at once.
const PAGE: usize = 500;

impl Filter {
    fn takes(&self, row: &QuarantineRow) -> bool {
        let entry = &row.entry;
        self.code.is_none_or(|code| code == entry.code)
            && self.gateway.as_ref().is_none_or(|gateway| entry.gateway.as_ref() == Some(gateway))
    }

    /// Shows the entries that are meant to `take`, the newest first, until it says
    /// that it has enough.
    async fn each(
        &self,
        store: &ProviderStore,
        mut take: impl FnMut(QuarantineRow) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut before = None;
        loop {
            let page = store.quarantine_page(before, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some((last.entry.received, last.entry.id));
            for row in page.into_iter().filter(|row| self.takes(row)) {
                if take(row)? {
                    return Ok(());
                }
            }
        }
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let mut out = output::standard();
    let mut left = args.limit.unwrap_or(usize::MAX);
    args.filter
        .each(&store, |row| {
            let Some(one_less) = left.checked_sub(1) else { return Ok(true) };
            left = one_less;
            output::ended(writeln!(out, "{}", if args.json { as_json(&row).to_string() } else { line(&row) }))
        })
        .await?;
    output::ended(out.flush())?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn as_json(row: &QuarantineRow) -> serde_json::Value {
    let entry = &row.entry;
    json!({
        "id": entry.id, "time": entry.received.to_string(), "gateway": entry.gateway, "address": entry.address,
        "code": entry.code.as_str(), "reason": entry.reason, "bytes": row.bytes, "proven": entry.trusted,
    })
}

fn line(row: &QuarantineRow) -> String {
    let entry = &row.entry;
    let (reason, more) = match entry.reason.split_once('\n') {
        Some((first, _)) => (first, " …"),
        None => (entry.reason.as_str(), ""),
    };
    let gateway = visible(entry.gateway.as_deref().unwrap_or("-").as_bytes());
    let (time, code) = (entry.received.to_string(), entry.code.as_str());
    let reason = visible(reason.as_bytes());
    format!("{}  {time:<24}  {gateway:<16}  {:<21}  {code:<15}  {:>8} B  {reason}{more}", entry.id, entry.address, row.bytes)
}

async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let row = fetch(&store, args.entry).await?;
    store.close().await;
    let mut out = output::standard();
    let entry = &row.entry;
    if args.raw {
        output::ended(out.write_all(&entry.raw))?;
    } else if args.json {
        let mut object = as_json(&row);
        if let Some(fields) = object.as_object_mut() {
            fields.insert("raw".to_owned(), String::from_utf8_lossy(&entry.raw).into());
        }
        output::ended(writeln!(out, "{object}"))?;
    } else {
        let gateway = entry.gateway.as_deref().unwrap_or("not named");
        let who = if entry.trusted { "somebody whose key was right" } else { "a stranger" };
        output::ended(writeln!(out, "entry    {}\nreceived {}", entry.id, entry.received))?;
        output::ended(writeln!(out, "gateway  {}\nfrom     {}, {who}", visible(gateway.as_bytes()), entry.address))?;
        output::ended(writeln!(out, "code     {}\nbytes    {}", entry.code, row.bytes))?;
        for reason in entry.reason.lines() {
            output::ended(writeln!(out, "reason   {}", visible(reason.as_bytes())))?;
        }
        output::ended(writeln!(out, "\n{}", visible(&entry.raw)))?;
    }
    output::ended(out.flush())?;
    Ok(ExitCode::SUCCESS)
}

async fn fetch(store: &ProviderStore, entry: QuarantineId) -> anyhow::Result<QuarantineRow> {
    match store.quarantine_fetch(entry).await {
        Ok(row) => Ok(row),
        Err(StoreError::NotFound(_)) => anyhow::bail!("provider {} has no entry {entry} in its quarantine", store.provider()),
        Err(error) => Err(error.into()),
    }
}
