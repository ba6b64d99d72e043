//! `heliograph audit`: who changed what, and whether that was changed since.

use std::io::Write;
use std::process::ExitCode;

use heliograph_store::{AuditHead, AuditRow};
use serde_json::json;

use crate::{output, role};

/// Check and list the audit trail of a provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Walk the trail and name the first entry that is not as it was written.
    /// Prints its head as SEQ:HASH; note it elsewhere, for whoever may write the
    /// whole store may also write a whole new trail.
    Verify(Verify),
    /// List entries, the oldest first.
    List(List),
}

#[derive(Debug, clap::Args)]
struct Verify {
    #[command(flatten)]
    place: role::StoreArgs,
    /// A head noted earlier: a trail written anew since then is found too.
    #[arg(long, value_name = "SEQ:HASH", value_parser = AuditHead::parse)]
    noted: Option<AuditHead>,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The first entry to list.
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Verify(args) => verify(args).await,
        Action::List(args) => list(args).await,
    }
}

async fn verify(args: Verify) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let verdict = store.audit_verify(args.noted).await?;
    store.close().await;
    if let Some(problem) = verdict.problem() {
        anyhow::bail!("audit trail of {}: {problem}", store.provider());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} entries, all as they were written", verdict.head.seq)?;
    if verdict.waiting > 0 {
        writeln!(out, "{} of them in the catalog alone, until the next change copies them to the trail", verdict.waiting)?;
    }
    writeln!(out, "head {}", verdict.head)?;
    Ok(ExitCode::SUCCESS)
}

/// Entries read at once.
const PAGE: usize = 500;

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let mut out = output::standard();
    let mut from = args.from;
    loop {
        let rows = store.audit_list(from, PAGE).await?;
        let Some(last) = rows.last() else { break };
        from = last.seq + 1;
        for row in &rows {
            if output::ended(write_row(&mut out, row, args.json))? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    output::ended(out.flush())?;
    Ok(ExitCode::SUCCESS)
}

fn write_row(out: &mut impl Write, row: &AuditRow, json: bool) -> std::io::Result<()> {
    let AuditRow { seq, at, actor, action, object, detail, hash } = row;
    if json {
        let detail: serde_json::Value = serde_json::from_str(detail).unwrap_or_else(|_| detail.as_str().into());
        let object = json!({
            "seq": seq, "at": at.to_string(), "actor": actor, "action": action, "object": object, "detail": detail,
            "hash": hash.to_string()
        });
        writeln!(out, "{object}")
    } else {
        writeln!(out, "{seq:>6}  {at}  {actor:<41}  {action:<18}  {object}  {detail}")
    }
}
