//! What all roles of a provider share: whose they are, the store, the clock and
//! how they end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use heliograph_domain::{Actor, ProviderId, Timestamp};
use heliograph_store::{ProviderStore, Store, StoreUrl};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::logging;
use crate::settings::{Settings, SettingsError, Sources};

/// Flags that every role that runs takes.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Whose data it works on.
    #[arg(long, value_name = "ID")]
    pub(crate) provider: ProviderId,
    /// Where the data is [default: sqlite:./data].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDR")]
    ops: Option<String>,
}

impl Args {
    pub(crate) fn store_flag(&self) -> (&'static str, Option<String>) {
        ("store.url", self.store.clone())
    }

    pub(crate) fn ops_flag(&self) -> (&'static str, Option<String>) {
        ("ops.listen", self.ops.clone())
    }
}

/// Opens the provider's part of the store that the settings name, after all that
/// is wrong with the settings has been reported.
pub(crate) fn open(provider: &ProviderId, settings: &mut Settings) -> anyhow::Result<ProviderStore> {
    let url = store_url(settings, "store.url", "store.user", "store.password");
    settings.finish()?;
    Ok(Store::open(url?)?.provider(provider)?)
}

/// Flags of the commands that an operator types to see or change a provider's
/// store. What they change stands in the audit trail as the operator's.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct StoreArgs {
    /// Whose data it works on.
    #[arg(long, value_name = "ID")]
    pub(crate) provider: ProviderId,
    /// Where the data is [default: sqlite:./data].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

impl StoreArgs {
    /// What is in force for the command; of its log, only what is wrong is shown.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let flags = [("store.url", self.store.clone()), ("log.filter", Some("warn".to_owned()))];
        let mut settings = Settings::load(&self.sources, &flags)?;
        logging::init(&mut settings, Some(&self.provider));
        Ok(settings)
    }

    /// Opens the provider's part of the store.
    pub(crate) fn open(&self) -> anyhow::Result<ProviderStore> {
        self.open_as(&self.provider)
    }

    /// The same, with settings of which more was asked.
    pub(crate) fn open_by(&self, settings: &mut Settings) -> anyhow::Result<ProviderStore> {
        Ok(open(&self.provider, settings)?.acting_as(Actor::Operator))
    }

    /// Opens the part of another provider in the same store.
    pub(crate) fn open_as(&self, provider: &ProviderId) -> anyhow::Result<ProviderStore> {
        Ok(open(provider, &mut self.settings()?)?.acting_as(Actor::Operator))
    }
}

/// Where a store is and who signs in to it; what is wrong with that is noted.
pub(crate) fn store_url(
    settings: &mut Settings,
    place: &'static str,
    user: &'static str,
    password: &'static str,
) -> Result<StoreUrl, SettingsError> {
    let url = StoreUrl::parse(settings.text(place)).map_err(|error| {
        settings.problem(place, &error.to_string());
        SettingsError::one(error.to_string())
    })?;
    match (settings.optional::<String>(user), settings.secret(password)) {
        (Some(_), None) => settings.problem(password, "is needed with a user name"),
        (None, Some(_)) => settings.problem(user, "is needed with a password"),
        (Some(name), Some(secret)) if url.is_cluster() => return Ok(url.signed_in(name, secret)),
        _ => {}
    }
    Ok(url)
}

/// The machine's clock.
pub(crate) fn clock() -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(|| jiff::Timestamp::now().into())
}

/// A name for leases that no other process has.
pub(crate) fn holder() -> String {
    format!("{}-{:016x}", std::process::id(), rand::random::<u64>())
}

/// A token that SIGTERM and SIGINT cancel.
pub(crate) fn shutdown_on_signals() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(shutdown)
}

/// Reads `30s`, `5m`, `1h` or a bare number of seconds.
pub(crate) fn duration(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(anyhow!("{text:?} is no time such as 30s, 5m or 1h")),
    };
    let number: u64 = number.parse().map_err(|_| anyhow!("{text:?} is no time such as 30s, 5m or 1h"))?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| anyhow!("{text:?} is too long"))
}

/// Lets the process open as many files, so connections, as it may at all: what it
/// is given at first is often 1,024.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, ?maximum, "no more files can be opened than at first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(duration("7").unwrap(), Duration::from_secs(7));
        for bad in ["", "s", "5d", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
