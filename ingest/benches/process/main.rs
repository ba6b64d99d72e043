//! What a server costs, which is a process of its own: resident memory of idle
//! connections, processor time of what it acks, and how long busy connections wait
//! beside idle ones. `docs/performance.md` keeps results.
//!
//! `cargo bench -p heliograph-ingest --bench process`; parts (`idle`, `busy`, `sqlite`,
//! `cassandra`) may be named behind `--`, and a count of idle connections.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and cannot go on without its server"
)]

mod busy;
mod cost;
mod idle;
mod server;

#[expect(dead_code, reason = "the other benchmarks use all of it")]
#[path = "../embedded/corpus.rs"]
mod corpus;
#[expect(dead_code, reason = "the other benchmark uses all of it")]
#[path = "../cluster/driver.rs"]
mod driver;
#[expect(dead_code, reason = "the other benchmark uses all of it")]
#[path = "../embedded/served.rs"]
mod served;

use std::path::Path;

/// What the binary has, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Idle connections, unless said otherwise.
const CONNECTIONS: usize = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let [first, folder, store, provider] = arguments.as_slice()
        && first == "serve"
    {
        return runtime.block_on(server::serve(Path::new(folder), store, provider));
    }
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let named: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<usize>().is_err()).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| *name == part);
    if wanted("idle") {
        runtime.block_on(idle::measure(count.unwrap_or(CONNECTIONS)));
    }
    if wanted("busy") {
        runtime.block_on(busy::measure());
    }
    if wanted("sqlite") {
        runtime.block_on(cost::on_sqlite());
    }
    if wanted("cassandra") {
        runtime.block_on(cost::on_cassandra());
    }
}
