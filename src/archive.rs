//! `heliograph archive`: everything that a provider has, in one file.

mod progress;

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::ProviderId;
use heliograph_store::{ArchiveSummary, archive_verify};

use crate::role;

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
    /// Read an archive to its end and check every byte.
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
}

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
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let summary = check(&args.file)?;
    if let Some(provider) = &args.provider {
        require(&summary, provider)?;
    }
    tell(&summary)?;
    Ok(ExitCode::SUCCESS)
}

async fn restore(args: Restore) -> anyhow::Result<ExitCode> {
    // Nothing is opened, and so nothing made, for an archive that is broken.
    require(&check(&args.file)?, &args.place.provider)?;
    let target = args.target.unwrap_or_else(|| args.place.provider.clone());
    let store = args.place.open_as(&target)?;
    let (file, bytes) = open(&args.file)?;
    let shown = Shown::begin(format!("restoring {target}"), bytes);
    let archive = BufReader::new(shown.counted(file));
    let summary = store.archive_restore(archive, shown.steps()).await.with_context(|| format!("restore {target}"))?;
    store.close().await;
    shown.end(&summary);
    tell(&summary)?;
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
