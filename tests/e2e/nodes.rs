//! Real Cassandra nodes of a test's own, which it may stop, kill and pause. They
//! and their data are gone when it ends.

use std::path::PathBuf;
use std::process::Command;

use tokio::sync::{Mutex, MutexGuard};

/// One test at a time has a single node, and one the cluster of three.
static FOURTH: Mutex<()> = Mutex::const_new(());
static FIFTH: Mutex<()> = Mutex::const_new(());
static THREE: Mutex<()> = Mutex::const_new(());

/// The heap of a node that carries little and lives for minutes.
const HEAP: &str = "512m";

/// Which nodes a test has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Fourth,
    Fifth,
    Three,
}

pub(crate) struct Nodes {
    which: Which,
    _turn: MutexGuard<'static, ()>,
}

impl Nodes {
    /// Node 5.
    pub(crate) async fn one() -> Self {
        Self::single(Which::Fifth, &FIFTH, "group").await
    }

    /// Node 4, whose commit log is synced after it has answered.
    pub(crate) async fn periodic() -> Self {
        Self::single(Which::Fourth, &FOURTH, "periodic").await
    }

    async fn single(which: Which, turn: &'static Mutex<()>, commitlog: &str) -> Self {
        let nodes = Self { which, _turn: turn.lock().await };
        // What a test that was killed may have left.
        script(&["node", nodes.number(), "remove"], commitlog);
        script(&["node", nodes.number(), "start"], commitlog);
        nodes
    }

    /// Three nodes that each hold everything.
    pub(crate) async fn three() -> Self {
        let nodes = Self { which: Which::Three, _turn: THREE.lock().await };
        script(&["cluster", "stop"], "group");
        script(&["cluster", "start"], "group");
        nodes
    }

    /// That of a single one; of three the first.
    const fn number(&self) -> &'static str {
        match self.which {
            Which::Fourth => "4",
            Which::Fifth => "5",
            Which::Three => "1",
        }
    }

    pub(crate) const fn url(&self) -> &'static str {
        match self.which {
            Which::Fourth => "cassandra://127.0.2.4/?dc=datacenter1&rf=1",
            Which::Fifth => "cassandra://127.0.2.5/?dc=datacenter1&rf=1",
            Which::Three => "cassandra://127.0.2.1,127.0.2.2,127.0.2.3/?dc=datacenter1&rf=3",
        }
    }

    /// Addresses, for whoever reads what the nodes hold.
    pub(crate) const fn addresses(&self) -> &'static [&'static str] {
        match self.which {
            Which::Fourth => &["127.0.2.4:9042"],
            Which::Fifth => &["127.0.2.5:9042"],
            Which::Three => &["127.0.2.1:9042", "127.0.2.2:9042", "127.0.2.3:9042"],
        }
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
        let ended = match self.which {
            Which::Three => try_script(&["cluster", "stop"], "group"),
            Which::Fourth | Which::Fifth => try_script(&["node", self.number(), "remove"], "group"),
        };
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
