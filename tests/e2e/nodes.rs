//! Real Cassandra nodes of a test's own, which it may stop, kill and pause. They
//! and their data are gone when it ends.

use std::path::PathBuf;
use std::process::Command;

use tokio::sync::{Mutex, MutexGuard};

/// One test at a time has the single node, and one the cluster of three.
static ONE: Mutex<()> = Mutex::const_new(());
static THREE: Mutex<()> = Mutex::const_new(());

/// The number of the single one.
const SINGLE: &str = "5";
/// The heap of a node that carries little and lives for minutes.
const HEAP: &str = "512m";

pub(crate) struct Nodes {
    three: bool,
    _turn: MutexGuard<'static, ()>,
}

impl Nodes {
    /// A node whose commit log is synced as its settings say: `group` or `periodic`.
    pub(crate) async fn one(commitlog: &str) -> Self {
        let nodes = Self { three: false, _turn: ONE.lock().await };
        // What a test that was killed may have left.
        script(&["node", SINGLE, "remove"], commitlog);
        script(&["node", SINGLE, "start"], commitlog);
        nodes
    }

    /// Three nodes that each hold everything.
    pub(crate) async fn three() -> Self {
        let nodes = Self { three: true, _turn: THREE.lock().await };
        script(&["cluster", "stop"], "group");
        script(&["cluster", "start"], "group");
        nodes
    }

    pub(crate) const fn url(&self) -> &'static str {
        if self.three {
            "cassandra://127.0.2.1,127.0.2.2,127.0.2.3/?dc=datacenter1&rf=3"
        } else {
            "cassandra://127.0.2.5/?dc=datacenter1&rf=1"
        }
    }

    /// Addresses, for whoever reads what the nodes hold.
    pub(crate) const fn addresses(&self) -> &'static [&'static str] {
        if self.three { &["127.0.2.1:9042", "127.0.2.2:9042", "127.0.2.3:9042"] } else { &["127.0.2.5:9042"] }
    }

    /// Does something to a node (`start`, `stop`, `kill`, `pause`, `resume`) and
    /// waits until it is done.
    #[expect(clippy::unused_self, reason = "whoever tells a node what to do has it")]
    pub(crate) fn tell(&self, node: u8, action: &str) {
        script(&["node", &node.to_string(), action], "group");
    }

    /// Asks a node to do something with its files; where it fails, what was said.
    #[expect(clippy::unused_self, reason = "whoever tells a node what to do has it")]
    pub(crate) fn nodetool(&self, node: u8, arguments: &[&str]) -> Result<String, String> {
        try_script(&[&["nodetool", &node.to_string()], arguments].concat(), "group")
    }

    /// Where a node keeps its files and its log.
    #[expect(clippy::unused_self, reason = "whoever looks at a node has it")]
    pub(crate) fn folder(&self, node: u8) -> PathBuf {
        let state = std::env::var_os("HELIOGRAPH_CASSANDRA_STATE")
            .map_or_else(|| std::env::temp_dir().join("heliograph-dev-cassandra"), PathBuf::from);
        state.join(format!("node-{node}"))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let ended = try_script(if self.three { &["cluster", "stop"] } else { &["node", SINGLE, "remove"] }, "group");
        assert!(std::thread::panicking() || ended.is_ok(), "{ended:?}");
    }
}

/// The file with the certificate that nodes' certificates are signed by.
pub(crate) fn ca() -> String {
    script(&["ca"], "group").trim().to_owned()
}

/// Answers what the script printed.
fn script(arguments: &[&str], commitlog: &str) -> String {
    try_script(arguments, commitlog).unwrap_or_else(|said| panic!("cassandra.sh {arguments:?}: {said}"))
}

fn try_script(arguments: &[&str], commitlog: &str) -> Result<String, String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/dev/cassandra.sh");
    let done = Command::new(path)
        .args(arguments)
        .env("HELIOGRAPH_CASSANDRA_HEAP", HEAP)
        .env("HELIOGRAPH_CASSANDRA_COMMITLOG", commitlog)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr) + &text(&done.stdout)) }
}
