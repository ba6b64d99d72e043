//! `heliograph mapping`: how a provider's XML is read that is of no dialect.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_dialects::{Mapping, profile_source, profiles};
use heliograph_domain::{MappingName, ProviderMapping, visible};

use crate::{output, role};

/// Say how XML is read that is of no dialect. Ingest follows within seconds.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the provider's mappings, in the order in which they are tried.
    List(List),
    /// Print a mapping as it was written.
    Show(Named),
    /// Store a mapping, over the one of the same name. One that does not compile is
    /// refused.
    Set(Set),
    /// Take a mapping away. Readings that came by it stay.
    Remove(Named),
    /// List the mappings that come with the product. They are tried after the
    /// provider's own, without being stored.
    Profiles,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    place: role::StoreArgs,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Named {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The mapping.
    #[arg(value_name = "NAME")]
    name: MappingName,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The mapping, TOML (docs/mappings.md).
    #[arg(value_name = "FILE", required_unless_present = "profile", conflicts_with = "profile")]
    file: Option<PathBuf>,
    /// One that comes with the product, to be changed later.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => list(args).await?,
        Action::Show(args) => show(args).await?,
        Action::Set(args) => set(args).await?,
        Action::Remove(args) => {
            let store = args.place.open()?;
            store.mapping_remove(args.name).await?;
            store.close().await;
        }
        Action::Profiles => {
            let mut out = output::standard();
            for profile in profiles() {
                output::ended(writeln!(out, "{:<16}  root {}", profile.name(), described(profile)))?;
            }
            output::ended(out.flush())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What documents a mapping is for.
fn described(mapping: &Mapping) -> String {
    let root = visible(mapping.root().as_bytes());
    match mapping.namespace() {
        Some(namespace) => format!("{root} of {}", visible(namespace.as_bytes())),
        None => root,
    }
}

async fn list(args: List) -> anyhow::Result<()> {
    let store = args.place.open()?;
    output::listed(&store.mapping_list().await?, args.json, line)?;
    store.close().await;
    Ok(())
}

fn line(stored: &ProviderMapping) -> String {
    let root = match Mapping::parse(&stored.source) {
        Ok(mapping) => format!("root {}", described(&mapping)),
        Err(_) => "does not compile with this release".to_owned(),
    };
    format!("{:<16}  {root}  revision {} of {}", stored.name.as_str(), stored.revision, stored.changed)
}

async fn show(args: Named) -> anyhow::Result<()> {
    let store = args.place.open()?;
    let found = store.mapping_list().await?.into_iter().find(|stored| stored.name == args.name);
    let own = found.as_ref().map(|stored| stored.source.as_str());
    let Some(source) = own.or_else(|| profile_source(args.name.as_str())) else {
        bail!("provider {} has no mapping {}, and none comes with the product", store.provider(), args.name);
    };
    let mut out = std::io::stdout();
    // Whoever wrote it may have meant another terminal than this one.
    let shown = if out.is_terminal() { visible(source.as_bytes()) } else { source.to_owned() };
    output::ended(out.write_all(shown.as_bytes()))?;
    store.close().await;
    Ok(())
}

async fn set(args: Set) -> anyhow::Result<()> {
    let (source, from) = match (&args.file, &args.profile) {
        (Some(file), _) => {
            let name = file.display().to_string();
            (std::fs::read_to_string(file).with_context(|| format!("read {name}"))?, name)
        }
        (None, Some(profile)) => match profile_source(profile) {
            Some(source) => (source.to_owned(), profile.clone()),
            None => {
                let known: Vec<&str> = profiles().iter().map(|profile| profile.name()).collect();
                bail!("no mapping {profile} comes with the product; these do: {}", known.join(", "))
            }
        },
        (None, None) => bail!("a file or --profile is needed"),
    };
    let mapping = Mapping::parse(&source).with_context(|| format!("mapping {from}"))?;
    let name = MappingName::parse(mapping.name()).with_context(|| format!("mapping {from}"))?;
    let store = args.place.open()?;
    store.mapping_save(name.clone(), source).await?;
    let saved = store.mapping_list().await?.into_iter().find(|stored| stored.name == name);
    store.close().await;
    let revision = saved.map_or(1, |saved| saved.revision);
    output::ended(writeln!(std::io::stdout(), "{name}: root {}, revision {revision}", described(&mapping)))?;
    Ok(())
}
