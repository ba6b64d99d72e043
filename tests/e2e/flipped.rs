//! A bit flips on a node's disk, in a file that no other node has: nothing is read from
//! there that nobody pushed, the node names the file, and other providers are served.

use std::path::{Path, PathBuf};

use heliograph_domain::{GatewayId, ProviderId, TimeWindow, Timestamp};
use heliograph_store::{ProviderStore, ReadingRow, Store, StoreError};

use crate::nodes::Nodes;
use crate::sample::document;
use crate::tenant::Tenant;

const NODE: u8 = 5;
const READINGS: i64 = 5_000;

#[tokio::test]
#[ignore = "starts a node twice: make soak"]
async fn a_flipped_bit_on_a_node_is_named_and_makes_up_no_reading() {
    let nodes = Nodes::one().await;
    let tenants = [Tenant::set_up(nodes.url()), Tenant::set_up(nodes.url())];
    for tenant in &tenants {
        fill(tenant).await;
        nodes.nodetool(NODE, &["flush", &keyspace(tenant)]).unwrap();
    }
    nodes.tell(NODE, "stop");
    let file = data_file(&nodes.folder(NODE), &keyspace(&tenants[0]));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();
    nodes.tell(NODE, "start");

    let error = read(&tenants[0]).await.expect_err("what cannot be read whole is not read");
    assert!(matches!(error, StoreError::Unavailable(_) | StoreError::Damaged(_)), "{error:?}");
    let name = file.file_name().unwrap().to_str().unwrap();
    let verified = nodes.nodetool(NODE, &["verify", "--force", "--extended-verify", &keyspace(&tenants[0]), "reading"]);
    let said = verified.expect_err("the file is damaged");
    let log = std::fs::read_to_string(nodes.folder(NODE).join("log")).unwrap();
    let is_named = |text: &str| text.lines().any(|line| line.contains(name) && line.contains(&keyspace(&tenants[0])));
    println!("nodetool verify says: {said}");
    assert!(is_named(&said) || is_named(&log), "neither nodetool nor the node names {}: {said}", file.display());

    let others = read(&tenants[1]).await.unwrap();
    assert_eq!(others.len() as i64, READINGS);
    assert!(others.iter().zip(0..).all(|(row, number)| row.value == f64::from(number)), "another provider's readings");
}

fn keyspace(tenant: &Tenant) -> String {
    format!("provider_{}", tenant.id)
}

fn open(tenant: &Tenant) -> ProviderStore {
    Store::open(tenant.store()).unwrap().provider(&ProviderId::parse(&tenant.id).unwrap()).unwrap()
}

/// A reading a minute, of one day after the other.
async fn fill(tenant: &Tenant) {
    let store = open(tenant);
    let begin = Timestamp::parse_rfc3339("2026-10-01T00:00:00Z").unwrap();
    let at = |number: i64| begin.plus_millis(number * 60_000);
    for first in (0..READINGS).step_by(500) {
        let values = (first..first + 500).map(|number| (at(number), number as f64));
        store.document_write(document("gw-1", ("s", "power", "W"), at(READINGS), values)).await.unwrap();
    }
    store.close().await;
}

async fn read(tenant: &Tenant) -> Result<Vec<ReadingRow>, StoreError> {
    let store = open(tenant);
    let page = store.reading_page(&GatewayId::parse("gw-1").unwrap(), TimeWindow::ALWAYS, usize::MAX).await;
    store.close().await;
    page.map(|page| page.rows)
}

/// The one file that holds the readings of a keyspace.
fn data_file(node: &Path, keyspace: &str) -> PathBuf {
    let below = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let table = below(node.join("data").join(keyspace)).find(|path| name(path).starts_with("reading-")).unwrap();
    let files: Vec<PathBuf> = below(table).filter(|path| name(path).ends_with("-Data.db")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}
