//! Processor time of a server for what it acks: 200 connections, documents of 20
//! readings.

use std::time::{Duration, Instant};

use heliograph_domain::{ProviderId, Secret};
use heliograph_store::{ClusterAdmin, StoreUrl};
use uuid::Uuid;

use crate::corpus::SERIES;
use crate::driver;
use crate::served::{self, Way};
use crate::server::{GATEWAYS, Server};

const NODE: &str = "127.0.0.1:9042";
const ROUNDS: usize = 3;
/// What follows documents on a cluster, and marks, is written by then.
const AFTERWARDS: Duration = Duration::from_secs(3);

pub(crate) async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    measure("SQLite", &server, 500_000.0, 100).await;
}

pub(crate) async fn on_cassandra() {
    let store = format!("cassandra://{NODE}/?dc=datacenter1&rf=1");
    let url = StoreUrl::parse(&store).unwrap().signed_in("cassandra", Secret::new("cassandra"));
    let admin = ClusterAdmin::connect(&url).await.expect("no Cassandra answers, start it with deploy/dev/services.sh start");
    let provider = ProviderId::parse(&format!("bench_{}", &Uuid::new_v4().simple().to_string()[..12])).unwrap();
    admin.keyspace_make(&provider).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::over(folder.path(), &store, provider.as_str());
    measure("Cassandra", &server, 300_000.0, 40).await;
    drop(server);
    driver::Driver::open(NODE, &provider).await.drop_keyspace().await;
}

/// Rounds of both ways after one another, each with so many documents of a gateway.
async fn measure(store: &str, server: &Server, asked: f64, instants: usize) {
    // Series are registered, statements prepared.
    round(server, 0..10, Way::Together).await;
    let mut next = 10;
    for (name, way) in [("as many under way as are taken", Way::Together), ("one under way", Way::OneByOne)] {
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            costs.push(round(server, next..next + instants, way).await);
            next += instants;
        }
        costs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (each, rate) = costs[ROUNDS / 2];
        println!(
            "{store}, {GATEWAYS} connections, {name}: {each:.0} readings a second of the server's processor time (asked: {asked:.0}); {rate:.0} readings/s"
        );
    }
}

/// Readings a second of processor time, and a second.
async fn round(server: &Server, instants: std::ops::Range<usize>, way: Way) -> (f64, f64) {
    let readings = (GATEWAYS * instants.len() * SERIES) as f64;
    let documents = served::documents(GATEWAYS, instants);
    let (began, before) = (Instant::now(), server.processor_time());
    served::push_documents(server.address, documents, way).await;
    let rate = readings / began.elapsed().as_secs_f64();
    tokio::time::sleep(AFTERWARDS).await;
    (readings / (server.processor_time() - before), rate)
}
