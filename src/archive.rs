//! `heliograph archive`: everything that a provider has, in one file.

mod progress;

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::ProviderId;
use heliograph_store::{ArchiveSummary, AuditPolicy, archive_verify};

use crate::{output, role};

use progress::Shown;

/// Put everything that a provider has into one file, check it, or bring it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write an archive of a provider as of now, while its roles go on.
    Create(Create),
    /// Read an archive to its end and check every byte, and its audit trail.
    Verify(Verify),
    /// Fill the empty store of a provider from an archive, all of it or nothing.
    Restore(Restore),
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The file to write; it must not be there yet. It holds personal data and
    /// digests of secrets.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The archive.
    file: PathBuf,
    /// Insist that it is of this provider.
    #[arg(long, value_name = "ID")]
    provider: Option<ProviderId>,
}

#[derive(Debug, clap::Args)]
struct Restore {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The archive, of the provider that --provider names.
    file: PathBuf,
    /// The provider to fill, if it is another one.
    #[arg(long = "as", value_name = "ID")]
    target: Option<ProviderId>,
    /// Restore an archive whose audit trail is not as it was written. The trail comes
    /// in as it is, and says for ever after what was wrong with it.
    #[arg(long)]
    despite_audit_fault: bool,
}

/// The archive is whole, and its audit trail is not as it was written.
const AUDIT_FAULT: u8 = 3;

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Create(args) => create(args).await,
        Action::Verify(args) => verify(&args),
        Action::Restore(args) => restore(args).await,
    }
}

async fn create(args: Create) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    if args.file.exists() {
        bail!("{} is there already", args.file.display());
    }
    // Under its own name it is whole, whatever happens meanwhile.
    let partial = PathBuf::from(format!("{}.part", args.file.display()));
    let at = || format!("write {}", partial.display());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).with_context(at)?;
    let written = file.try_clone().with_context(at)?;
    let shown = Shown::begin(format!("writing {}", args.file.display()), 0);
    let summary = match store.archive_create(BufWriter::new(file), shown.steps()).await {
        Ok(summary) => summary,
        Err(error) => {
            drop(std::fs::remove_file(&partial));
            return Err(error.into());
        }
    };
    written.sync_all().with_context(at)?;
    std::fs::rename(&partial, &args.file).with_context(|| format!("name {}", args.file.display()))?;
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("sync {}", folder.display()))?;
    store.close().await;
    shown.end(&summary);
    tell(&summary)?;
    Ok(warn(&summary, &format!("{} is written, but the audit trail of {}", args.file.display(), store.provider())))
}

fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let summary = check(&args.file)?;
    if let Some(provider) = &args.provider {
        require(&summary, provider)?;
    }
    tell(&summary)?;
    Ok(warn(&summary, &format!("{} is whole, but its audit trail", args.file.display())))
}

/// Says what is wrong with the trail, if anything is, and how that ends.
fn warn(summary: &ArchiveSummary, whose: &str) -> ExitCode {
    let Some(problem) = summary.audit.problem() else { return ExitCode::SUCCESS };
    output::complain(&format!(
        "{whose} is not as it was written: {problem}. Find out who did that; the archive can be restored with --despite-audit-fault"
    ));
    ExitCode::from(AUDIT_FAULT)
}

async fn restore(args: Restore) -> anyhow::Result<ExitCode> {
    // Nothing is opened, and so nothing made, for an archive that is broken.
    let found = check(&args.file)?;
    require(&found, &args.place.provider)?;
    let policy = if args.despite_audit_fault { AuditPolicy::DespiteFault } else { AuditPolicy::Sound };
    if let (AuditPolicy::Sound, Some(problem)) = (policy, found.audit.problem()) {
        bail!(
            "the audit trail of {} is not as it was written: {problem}; to restore it all the same, and have the trail say so, add --despite-audit-fault",
            args.file.display()
        );
    }
    let target = args.target.unwrap_or_else(|| args.place.provider.clone());
    let store = args.place.open_as(&target)?;
    let (file, bytes) = open(&args.file)?;
    let shown = Shown::begin(format!("restoring {target}"), bytes);
    let archive = BufReader::new(shown.counted(file));
    let summary = store.archive_restore(archive, policy, shown.steps()).await.with_context(|| format!("restore {target}"))?;
    store.close().await;
    shown.end(&summary);
    tell(&summary)?;
    if let Some(problem) = summary.audit.problem() {
        output::complain(&format!("restored with an audit trail that is not as it was written: {problem}; the trail says so"));
    }
    Ok(ExitCode::SUCCESS)
}

/// An archive and how many bytes it has; 0 of what is no file.
fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let bytes = file.metadata().with_context(|| format!("look at {}", path.display()))?.len();
    Ok((file, bytes))
}

fn check(path: &Path) -> anyhow::Result<ArchiveSummary> {
    let (file, bytes) = open(path)?;
    let shown = Shown::begin(format!("checking {}", path.display()), bytes);
    let archive = BufReader::new(shown.counted(file));
    let summary = archive_verify(archive, shown.steps()).with_context(|| format!("check {}", path.display()))?;
    shown.end(&summary);
    Ok(summary)
}

fn require(summary: &ArchiveSummary, provider: &ProviderId) -> anyhow::Result<()> {
    let found = &summary.header.provider;
    if found != provider {
        bail!(
            "the archive is of provider {found}, not {provider}; to restore it under another name, use --provider {found} --as {provider}"
        );
    }
    Ok(())
}

fn tell(summary: &ArchiveSummary) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "archive of {} as of {}, {} bytes", summary.header.provider, summary.header.created, summary.bytes())?;
    for table in summary.tables().filter(|table| summary.rows(table) > 0) {
        writeln!(out, "{:>12} {table}", summary.rows(table))?;
    }
    Ok(())
}
