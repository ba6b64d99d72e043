//! Temporary.
#[path = "../../src/provider.rs"]
mod provider;
use clap::Parser;
#[derive(Parser)]
#[command(name = "heliograph")]
enum Cli {
    /// Providers
    Provider(provider::ProviderArgs),
}
use heliograph_provisioner as _;
#[tokio::main]
async fn main() -> std::process::ExitCode {
    let Cli::Provider(args) = Cli::try_parse().unwrap_or_else(|e| {
        let c = if e.use_stderr() { 64 } else { 0 };
        let _ = e.print();
        std::process::exit(c)
    });
    match provider::run(args).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
