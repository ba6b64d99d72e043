//! The server that the targets of the wire talk to.

#[path = "../../ingest/tests/ingest/invariants.rs"]
#[allow(dead_code)]
pub(crate) mod invariants;
#[path = "../../ingest/tests/ingest/server.rs"]
#[allow(dead_code)]
pub(crate) mod server;

use std::sync::LazyLock;

use server::Server;
use tokio::runtime::Runtime;

/// One for all inputs; a panic in any of its tasks ends the process.
static SERVED: LazyLock<(Runtime, Server)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(invariants::server());
    (runtime, server)
});

/// Runs to its end what talks to the server.
pub(crate) fn served(talk: impl AsyncFnOnce(&Server)) {
    let (runtime, server) = &*SERVED;
    runtime.block_on(talk(server));
}
