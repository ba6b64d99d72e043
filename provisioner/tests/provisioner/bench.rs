//! A fleet of its own on the real engine, gone when the test ends, also when
//! it fails.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use heliograph_domain::ProviderId;
use heliograph_provisioner::{
    ApplyError, Endpoint, Engine, Fleet, Observed, Plan, Slot, Unhealthy, apply, await_health, build_image, desired,
    examine_secrets, plan,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provisioner/stand_in.rs");
const IMAGE: &str = "heliograph-stand-in:test";
const HEALTH_TIMEOUT: Duration = Duration::from_secs(30);

static FLEETS: AtomicU32 = AtomicU32::new(0);
static SLOTS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
static STAND_IN: OnceCell<(TempDir, PathBuf)> = OnceCell::const_new();
static BUILT: OnceCell<()> = OnceCell::const_new();

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) fleet: String,
    pub(crate) folder: TempDir,
    /// What the fleet file says above its providers.
    pub(crate) settings: String,
    /// Each provider and the text of its entry.
    pub(crate) providers: Vec<(ProviderId, Slot, String)>,
}

impl Bench {
    /// A fleet of so many providers that exists in its file alone.
    pub(crate) async fn of(count: usize) -> Self {
        let engine = connect().await;
        BUILT.get_or_init(|| build(&engine, IMAGE, &[])).await;
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let fleet = format!("test_{}_{number}", std::process::id());
        let provider = |index: usize| {
            let id = ProviderId::parse(&format!("t{}_{number}_{index}", std::process::id())).unwrap();
            (id, free_slot(), String::new())
        };
        let settings = settings(&fleet, IMAGE);
        let folder = tempfile::tempdir().unwrap();
        Self { engine, fleet, folder, settings, providers: (0..count).map(provider).collect() }
    }

    pub(crate) fn use_image(&mut self, tag: &str) {
        self.settings = settings(&self.fleet, tag);
    }

    fn text(&self) -> String {
        let entry = |(id, slot, more): &(ProviderId, Slot, String)| format!("[provider.{id}]\nn = {slot}\n{more}\n");
        format!("{}{}", self.settings, self.providers.iter().map(entry).collect::<String>())
    }

    pub(crate) fn container(&self, provider: usize, prefix: &str) -> String {
        format!("{prefix}_{}", self.providers[provider].0)
    }

    pub(crate) async fn observe(&self) -> Observed {
        self.engine.observer().observe(&self.fleet).await.unwrap()
    }

    pub(crate) async fn plan(&self) -> Plan {
        let fleet = Fleet::parse(&self.text()).unwrap();
        let image = self.engine.observer().image(&fleet.image).await.unwrap().expect("the image is built");
        let secrets = examine_secrets(&fleet, self.folder.path()).unwrap();
        plan(&desired(&fleet, &image, &secrets), &self.observe().await)
    }

    pub(crate) async fn try_apply(&self) -> Result<(Plan, Vec<Unhealthy>), ApplyError> {
        let plan = self.plan().await;
        apply(&self.engine, &plan, |_| ()).await?;
        let specs: Vec<_> = plan.containers.iter().collect();
        let unhealthy = await_health(&self.engine, &specs, HEALTH_TIMEOUT, |_| ()).await?;
        Ok((plan, unhealthy))
    }

    /// Applies, and expects that all is well then and that nothing is left to do.
    pub(crate) async fn apply(&self) -> Plan {
        let (plan, unhealthy) = self.try_apply().await.unwrap();
        assert_eq!(unhealthy, [], "after\n{plan}");
        let rest = self.plan().await;
        assert!(rest.is_empty() && rest.refusals.is_empty(), "left after\n{plan}\n{rest}");
        plan
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let filter = format!("label=heliograph.fleet={}", self.fleet);
        for (list, remove) in [
            (&["ps", "-aq", "--filter"][..], &["rm", "-fv"][..]),
            (&["network", "ls", "-q", "--filter"], &["network", "rm"]),
            (&["volume", "ls", "-q", "--filter"], &["volume", "rm", "-f"]),
        ] {
            let found = output(Command::new("docker").args(list).arg(&filter));
            let names: Vec<_> = found.split_whitespace().collect();
            if !names.is_empty() {
                output(Command::new("docker").args(remove).args(names));
            }
        }
    }
}

fn settings(fleet: &str, image: &str) -> String {
    format!(
        "fleet = \"{fleet}\"\nimage = \"{image}\"\ningest_address = \"127.0.0.1\"\nadmin_address = \"127.0.0.1\"\nstop_grace_s = 1\n"
    )
}

pub(crate) async fn connect() -> Engine {
    let host = std::env::var("DOCKER_HOST").ok();
    let connected = Engine::connect(&Endpoint::new(host.as_deref())).await;
    connected.unwrap_or_else(|error| panic!("{error}\nstart it: deploy/dev/docker.sh start"))
}

/// Builds the stand-in's image, with `tail` behind the program, which makes it another one.
pub(crate) async fn build(engine: &Engine, tag: &str, tail: &[u8]) {
    let (_, binary) = STAND_IN.get_or_init(compile).await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("heliograph");
    let mut program = std::fs::read(binary).unwrap();
    program.extend_from_slice(tail);
    std::fs::write(&other, program).unwrap();
    build_image(engine, &other, tag, "0.0.0").await.unwrap();
}

async fn compile() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("stand_in");
    let target = "x86_64-unknown-linux-gnu";
    let args = ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "--target", target, "-o"];
    output(Command::new("rustc").args(args).arg(&binary).arg(Path::new(SOURCE)));
    (folder, binary)
}

/// A place whose two ports nothing listens on and no other test has got.
fn free_slot() -> Slot {
    let mut taken = SLOTS.lock().unwrap();
    let start = std::process::id() * 37;
    let slot = (0..2000)
        .filter_map(|i| Slot::new(i64::from(20 + (start + i) % 2000)))
        .find(|slot| !taken.contains(&slot.n()) && is_free(slot.ingest_port()) && is_free(slot.admin_port()))
        .expect("some place is free");
    taken.insert(slot.n());
    slot
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

pub(crate) fn docker(args: &[&str]) -> String {
    output(Command::new("docker").args(args))
}

pub(crate) fn inspect(name: &str) -> Value {
    let mut found: Value = serde_json::from_str(&docker(&["inspect", name])).unwrap();
    found[0].take()
}

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success() || std::thread::panicking(), "{command:?}\n{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
