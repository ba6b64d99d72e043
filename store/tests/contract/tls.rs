//! TLS to the cluster: what a node has to prove before anything is said to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use heliograph_domain::TimeWindow;
use heliograph_store::{ClusterAdmin, ProviderStore, Store, StoreError, StoreUrl};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{gateway, minute, power};
use crate::cluster::{self, Keyspace, NODE, ca, url_at};

/// What a TLS connection begins with; a plain one begins with the protocol's version.
const HANDSHAKE: u8 = 0x16;

/// The node at another address, where it shows the same certificate. Ends with the
/// test's runtime.
struct Relay {
    address: SocketAddr,
    /// The first byte of each connection.
    begun: Arc<Mutex<Vec<u8>>>,
}

impl Relay {
    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), begun: Arc::default() };
        let begun = Arc::clone(&relay.begun);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, Arc::clone(&begun)));
            }
        });
        relay
    }

    fn url(&self, ca: &Path) -> StoreUrl {
        url_at(&self.address.to_string(), &trusting(ca))
    }

    fn assert_nothing_was_said_in_plain(&self) {
        let begun = self.begun.lock().unwrap();
        assert!(!begun.is_empty() && begun.iter().all(|byte| *byte == HANDSHAKE), "{begun:x?}");
    }
}

async fn pass_on(mut client: TcpStream, begun: Arc<Mutex<Vec<u8>>>) {
    let mut first = [0];
    if client.peek(&mut first).await.is_ok_and(|count| count == 1) {
        begun.lock().unwrap().push(first[0]);
    }
    let mut node = TcpStream::connect(NODE).await.unwrap();
    // Either side may end as it likes.
    drop(tokio::io::copy_bidirectional(&mut client, &mut node).await);
}

fn trusting(ca: &Path) -> String {
    format!("&ca={}", ca.display())
}

fn open(url: StoreUrl, keyspace: &Keyspace) -> ProviderStore {
    Store::open(url).unwrap().provider(&keyspace.provider).unwrap()
}

/// Both who administers and who works is refused; answers what they are told.
async fn refusal(url: StoreUrl) -> String {
    let keyspace = cluster::keyspace();
    let administered = ClusterAdmin::connect(&url).await.map(drop).unwrap_err().to_string();
    let written = open(url, &keyspace).document_write(power("gw-1", &[(0, 1.5)])).await;
    assert!(matches!(&written, Err(StoreError::Unavailable(_))), "{written:?}");
    assert_eq!(written.unwrap_err().to_string(), administered);
    administered
}

#[tokio::test]
async fn a_store_that_trusts_the_nodes_authority_reads_and_writes_under_tls() {
    // The driver expects a node at the address that it says is its own.
    let relay = Relay::at("127.0.0.1").await;
    for url in [relay.url(&ca()), url_at(NODE, &trusting(&ca())), url_at(NODE, &format!("&tls=on{}", trusting(&ca())))] {
        let keyspace = cluster::keyspace();
        ClusterAdmin::connect(&url).await.unwrap().keyspace_make(&keyspace.provider).await.unwrap();
        let store = open(url, &keyspace);
        store.document_write(power("gw-1", &[(0, 1.5), (1, 2.5)])).await.unwrap();
        let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, 10).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|row| (row.time, row.value)).collect();
        assert_eq!(found, [(minute(0), 1.5), (minute(1), 2.5)]);
    }
    relay.assert_nothing_was_said_in_plain();
}

#[tokio::test]
async fn a_node_that_another_authority_has_signed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("another.pem");
    let another = rcgen::generate_simple_self_signed(vec!["another".to_owned()]).unwrap();
    std::fs::write(&file, another.cert.pem()).unwrap();
    let relay = Relay::at("127.0.2.1").await;
    let said = refusal(relay.url(&file)).await;
    assert!(said.contains("UnknownIssuer") && said.contains(&file.display().to_string()), "{said}");
    relay.assert_nothing_was_said_in_plain();
}

#[tokio::test]
async fn a_node_at_an_address_that_its_certificate_does_not_name_is_refused() {
    let relay = Relay::at("127.0.3.1").await;
    let said = refusal(relay.url(&ca())).await;
    assert!(said.contains("not valid for name \"127.0.3.1\"") && said.contains("name the IP address"), "{said}");
    relay.assert_nothing_was_said_in_plain();
}

#[tokio::test]
async fn a_file_that_holds_no_certificate_is_named_before_anything_is_connected() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, nowhere) = (folder.path().join("empty.pem"), folder.path().join("nowhere.pem"));
    std::fs::write(&empty, "no certificate").unwrap();
    let relay = Relay::at("127.0.2.1").await;
    for file in [empty, nowhere] {
        let refused = ClusterAdmin::connect(&relay.url(&file)).await.map(drop);
        let named = matches!(&refused, Err(StoreError::Open { place, .. }) if *place == file.display().to_string());
        assert!(named, "{refused:?}");
    }
    assert!(relay.begun.lock().unwrap().is_empty());
}
