//! `heliograph store init`: sets a provider up on a cluster.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use heliograph_domain::{ProviderId, Secret};
use heliograph_store::{ClusterAdmin, Replication, RoleMade};

use crate::settings::{Settings, Sources};
use crate::{logging, output, role};

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Whose keyspace it is.
    #[arg(long, value_name = "ID")]
    provider: ProviderId,
    /// The cluster: `cassandra://HOST,HOST/?dc=NAME&rf=3`.
    #[arg(long, value_name = "URL")]
    admin_url: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

pub(super) async fn init(args: Init) -> anyhow::Result<ExitCode> {
    let flags = [("store.admin_url", args.admin_url.clone()), ("log.filter", Some("warn,scylla=error".to_owned()))];
    let mut settings = Settings::load(&args.sources, &flags)?;
    logging::init(&mut settings, Some(&args.provider));
    if settings.text("store.admin_url").is_empty() {
        settings.problem("store.admin_url", "is needed: --admin-url cassandra://HOST,HOST/?dc=NAME&rf=3");
    }
    let url = role::store_url(&mut settings, "store.admin_url", "store.admin_user", "store.admin_password");
    let password = settings.secret("store.password");
    settings.finish()?;
    let admin = ClusterAdmin::connect(&url?).await.context("connect to the cluster")?;
    admin.keyspace_make(&args.provider).await.context("make the keyspace")?;
    let differs = admin.replication_differs(&args.provider).await.context("look at the keyspace")?;
    let (made, invented) = admin.role_make(&args.provider, password.as_ref(), invent).await.context("make the role")?;
    let mut out = std::io::stdout().lock();
    let name = ClusterAdmin::role_name(&args.provider);
    match &differs {
        None => writeln!(out, "keyspace {name} is there")?,
        Some(differs) => {
            writeln!(out, "keyspace {name} is there, with rf={} and not rf={}", differs.copies(), differs.wanted)?;
        }
    }
    match (made, password.is_some()) {
        (RoleMade::Created, _) => writeln!(out, "role {name} is new and reaches this keyspace alone")?,
        (RoleMade::Kept, true) => writeln!(out, "role {name} was there; it has the given password now")?,
        (RoleMade::Kept, false) => writeln!(out, "role {name} was there and keeps its password")?,
    }
    if let Some(password) = invented {
        writeln!(out, "its password, shown this once: {}", password.reveal())?;
    }
    if let Some(differs) = &differs {
        output::complain(&advice(&name, differs));
    }
    Ok(ExitCode::SUCCESS)
}

/// How a keyspace gets the copies that were asked for: none of it can be done in one
/// statement.
fn advice(keyspace: &str, differs: &Replication) -> String {
    let then = if differs.wanted > differs.copies() {
        // Two new, empty copies of three are a majority that knows nothing.
        format!(
            "stop the roles of the provider, run the statement, then `nodetool repair --full {keyspace}` on each node, then start \
             the roles: until the repair is through, reads miss rows"
        )
    } else {
        format!("run the statement, then `nodetool cleanup {keyspace}` on each node")
    };
    format!("the replication of {keyspace} stays as it is; to change it, {then}:\n  {};", differs.statement())
}

/// 160 random bits.
fn invent() -> Secret {
    let bytes: [u8; 20] = rand::random();
    Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
