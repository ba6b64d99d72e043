#![no_main]

#[path = "../../ingest/tests/ingest/invariants.rs"]
#[allow(dead_code)]
mod invariants;
#[path = "../../ingest/tests/ingest/server.rs"]
#[allow(dead_code)]
mod server;

use std::sync::LazyLock;

use server::Server;
use tokio::runtime::Runtime;

// One server for all inputs; a panic in any of its tasks ends the process.
static SERVED: LazyLock<(Runtime, Server)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(invariants::server());
    (runtime, server)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (runtime, server) = &*SERVED;
    runtime.block_on(invariants::unpacking(server, data));
});
