//! A cluster that is away: paused, killed, started again, and an ingest that is
//! killed meanwhile. What was acked is there and in the rollups, and nobody had to lend
//! a hand.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::binary::free_address;
use crate::crash;
use crate::ingest::{Ingest, segments};
use crate::load::Plan;
use crate::nodes::Nodes;
use crate::oracle;
use crate::tenant::Tenant;

const LANES: usize = 4;
const NODE: u8 = 5;
/// A busy machine on which a node starts.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn a_node_that_syncs_its_log_later_is_named_at_the_start_and_until_that_is_mended() {
    let nodes = Nodes::periodic().await;
    let tenant = Tenant::set_up(nodes.url());
    let mut ingest = Ingest::start(&tenant.id, free_address(), &[], &[], tenant.path());
    let problem = "127.0.2.4 runs with commitlog_sync: periodic";
    let said = ingest.await_ready(&format!("ready, but acks do not survive power-loss: {problem}"), PATIENCE);
    assert!(said.contains(" 200 ") && said.contains("set commitlog_sync: group on every node"), "{said}");
    let deadline = Instant::now() + PATIENCE;
    let logged = |line: &&str| line.contains("ERROR") && line.contains("acks survive less than they should");
    while !ingest.logged().lines().any(|line| logged(&line) && line.contains(problem)) {
        assert!(Instant::now() < deadline, "{}", ingest.logged());
        std::thread::sleep(Duration::from_millis(200));
    }

    nodes.tell(4, "stop");
    let known = format!("what the store acknowledged last did not survive power-loss: {problem}");
    let said = ingest.await_ready(&known, PATIENCE);
    assert!(said.contains(" 200 ") && said.contains("from the spool"), "{said}");
    nodes.tell(4, "start");
    ingest.await_ready("ready, acks survive power-loss", PATIENCE);
    assert!(ingest.runs());
    ingest.terminate();
}

#[tokio::test]
async fn a_cluster_that_is_paused_and_killed_costs_no_document_though_ingest_is_killed_too() {
    let nodes = Nodes::one().await;
    let world = World::new(&nodes).await;
    let mut random = StdRng::seed_from_u64(world.plan.seed);
    let mut wait = |most: u64| std::thread::sleep(Duration::from_millis(random.random_range(0..most)));
    let address = free_address();
    let ingest = world.ingest(address);
    let load = world.plan.start(address);
    world.plan.await_acks(40, PATIENCE);

    nodes.tell(NODE, "pause");
    world.wait("nothing is spooled", |world| !world.segments().is_empty());
    world.plan.await_acks(40, PATIENCE);
    wait(500);
    ingest.kill();
    println!("killed while spooling, {} segments", world.segments().len());
    // A start without the store knows the gateways and their keys.
    let ingest = world.ingest(address);
    world.plan.await_acks(40, PATIENCE);
    let ready = ingest.get("/readyz");
    assert!(ready.contains(" 200 ") && ready.contains("spool"), "{ready}");

    // A node that hangs comes back as it was, and then dies.
    nodes.tell(NODE, "resume");
    world.wait("the spool does not drain", |world| world.segments().is_empty());
    nodes.tell(NODE, "kill");
    world.wait("nothing is spooled", |world| !world.segments().is_empty());
    world.plan.await_acks(400, PATIENCE);
    ingest.kill();
    let ingest = world.ingest(address);
    world.plan.await_acks(40, PATIENCE);

    nodes.tell(NODE, "start");
    world.wait("the spool does not drain", |_| ingest.get("/metrics").contains("heliograph_spool_drained_total"));
    wait(200);
    ingest.kill();
    let left = world.segments().len();
    println!("killed while draining, {left} segments");
    assert!(left > 0, "the spool had drained before the kill");
    let mut ingest = world.ingest(address);
    world.plan.await_acks(40, PATIENCE);
    ingest.await_ready("ready, acks survive power-loss", PATIENCE);
    load.stop();
    world.wait("the spool does not drain", |world| world.segments().is_empty());
    assert!(ingest.runs());
    oracle::check_stored(&oracle::cassandra::read(nodes.addresses(), &world.tenant.id).await, &world.plan);
    println!("{} documents", world.plan.acked());
    // Marks of windows, then of days, then of months, a minute each at the least.
    oracle::cassandra::await_settled(nodes.addresses(), &world.tenant.id, 2 * PATIENCE).await;
    ingest.terminate();
    oracle::rollups::check_keyspace(nodes.addresses(), &world.tenant.id, crash::ZONE).await;
}

struct World {
    tenant: Tenant,
    plan: Plan,
    _journals: tempfile::TempDir,
}

impl World {
    async fn new(nodes: &Nodes) -> Self {
        let tenant = Tenant::set_up(nodes.url());
        let gateways = (0..LANES).map(|lane| format!("gw-{lane}"));
        crash::commission_at(tenant.store(), &tenant.id, gateways, crash::ZONE).await;
        let journals = tempfile::tempdir().unwrap();
        // A pace that leaves the cluster time to catch up.
        let every = Duration::from_millis(30);
        let plan = Plan { in_flight: 2, every, ..Plan::new(&tenant.id, journals.path(), LANES) };
        let plan = plan.across_months(crash::ZONE);
        Self { tenant, plan, _journals: journals }
    }

    fn ingest(&self, address: std::net::SocketAddr) -> Ingest {
        Ingest::start(&self.tenant.id, address, &[], &[("HELIOGRAPH__INGEST__STORE_DEADLINE_MS", "1000")], self.tenant.path())
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.tenant.path().join("spool").join(&self.tenant.id))
    }

    fn wait(&self, problem: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{problem}: {:?}", self.segments());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
