//! Heliograph: one binary, one subcommand a role.
//!
//! `main` reads what was asked for, runs it and picks the exit code: 0 when all
//! went well, 64 (EX_USAGE of sysexits.h) for usage and settings, 1 for the rest.

mod admin;
mod archive;
mod array;
mod audit;
mod bind;
mod correction;
mod customer;
mod decode;
mod demo;
mod gateway;
mod healthcheck;
mod ingest;
mod logging;
mod mailer;
mod mapping;
mod notify;
mod ops;
mod output;
mod point;
mod provider;
mod quarantine;
mod readings;
mod role;
mod rollup;
mod settings;
mod show_config;
mod simulate;
mod store;
mod user;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use settings::SettingsError;

/// Documents and reports are made of many pieces that live for moments: the C library's
/// own allocator gives their pages back and fetches them anew each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Usage and settings errors, as sysexits.h numbers them.
const EXIT_USAGE: u8 = 64;

/// Multi-tenant ingestion of gateway XML, with reports, mails and provisioning.
#[derive(Debug, Parser)]
#[command(name = "heliograph", version, disable_help_subcommand = true)]
enum Cli {
    /// Serve the gateways of a provider: XML over TCP in, readings into its store.
    Ingest(ingest::Args),
    /// Serve the web panel of a provider.
    Admin(admin::Args),
    /// Send the summaries of a provider by mail.
    Mailer(mailer::Args),
    /// Plan, apply and look at the tenants of fleet.toml.
    Provider(provider::ProviderArgs),
    /// Add and list the people who sign in to a panel.
    User(user::Args),
    /// Look after the keys and certificates of gateways.
    Gateway(gateway::Args),
    /// Look after a provider's store.
    Store(store::Args),
    /// Put everything that a provider has into one file, check it, or bring it back.
    Archive(archive::Args),
    /// Hand over what is kept of a customer, or erase what is personal of it.
    Customer(customer::Args),
    /// Check and list the audit trail: who changed what.
    Audit(audit::Args),
    /// Print the stored readings of a gateway in time order.
    Readings(readings::Args),
    /// Compute the rollups that are due, as ingest does all the time.
    Rollup(rollup::Args),
    /// Say which sensors stand for which place of a site, and when.
    Point(point::Args),
    /// Say what modules are installed at a location.
    Array(array::Args),
    /// Correct what reports make of readings, and take it back.
    Correction(correction::Args),
    /// Show the readings that documents yield.
    Decode(decode::Args),
    /// Say how XML is read that is of no dialect.
    Mapping(mapping::Args),
    /// Look at what was refused, and try it again.
    Quarantine(quarantine::Args),
    /// Push as many gateways would, and say how fast they are answered.
    Simulate(simulate::Args),
    /// Run the whole platform on this machine, with two providers and a sun.
    Demo(demo::Args),
    /// Show which settings are in force and where each comes from.
    Config(show_config::Args),
    /// Ask a role's ops address whether it is well.
    Healthcheck(healthcheck::Args),
}

/// How long what blocks may go on once a command has ended.
pub(crate) const ENDING: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let failed = error.use_stderr();
            // A closed pipe is no reason to fail differently.
            let _ = error.print();
            return ExitCode::from(if failed { EXIT_USAGE } else { 0 });
        }
    };
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("the TLS provider was installed twice"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("start the runtime")),
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    };
    // A disk or a store that does not answer is not waited for.
    runtime.shutdown_timeout(ENDING);
    code
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli {
        Cli::Ingest(args) => ingest::run(args).await,
        Cli::Admin(args) => admin::run(args).await,
        Cli::Mailer(args) => mailer::run(args).await,
        Cli::Provider(args) => provider::run(args).await,
        Cli::User(args) => user::run(args).await,
        Cli::Gateway(args) => gateway::run(args).await,
        Cli::Store(args) => store::run(args).await,
        Cli::Archive(args) => archive::run(args).await,
        Cli::Customer(args) => customer::run(args).await,
        Cli::Audit(args) => audit::run(args).await,
        Cli::Readings(args) => readings::run(args).await,
        Cli::Rollup(args) => rollup::run(args).await,
        Cli::Point(args) => point::run(args).await,
        Cli::Array(args) => array::run(args).await,
        Cli::Correction(args) => correction::run(args).await,
        Cli::Decode(args) => decode::run(&args),
        Cli::Mapping(args) => mapping::run(args).await,
        Cli::Quarantine(args) => quarantine::run(args).await,
        Cli::Simulate(args) => simulate::run(args).await,
        Cli::Demo(args) => demo::run(args).await,
        Cli::Config(args) => show_config::run(&args),
        Cli::Healthcheck(args) => healthcheck::run(&args).await,
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a command says why it failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("heliograph: {error:#}");
    ExitCode::from(if error.is::<SettingsError>() { EXIT_USAGE } else { 1 })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
