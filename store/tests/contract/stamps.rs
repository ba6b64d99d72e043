//! What the cluster is told of when something was written: the same in every
//! attempt to write it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use heliograph_domain::Timestamp;
use heliograph_store::Store;

use crate::backend::{ALL, Backend};
use crate::cluster::{self, url_at};
use crate::refusals::refused;
use crate::relay::{EXECUTE, Fate, Frame, relay};

/// The flag of a request that names its timestamp, which then stands at its end.
const HAS_TIMESTAMP: u8 = 0x20;

/// The timestamps with which each request came, by all else that it says.
type Seen = Arc<Mutex<HashMap<Vec<u8>, Vec<i64>>>>;

/// What a request to write says, and the timestamp that it names.
fn stamped(request: &Frame) -> Option<(Vec<u8>, i64)> {
    if !request.is(EXECUTE) || !request.has(HAS_TIMESTAMP) {
        return None;
    }
    let (what, stamp) = request.body().split_last_chunk()?;
    Some((what.to_vec(), i64::from_be_bytes(*stamp)))
}

/// That the nodes have kept a batch for later and did not say so in time, after which
/// the driver sends what may be sent again.
fn timed_out() -> Vec<u8> {
    let text = |text: &str| [(text.len() as u16).to_be_bytes().as_slice(), text.as_bytes()].concat();
    // Of the one node that LOCAL_QUORUM asks for none has answered.
    let level = [0, 6, 0, 0, 0, 0, 0, 0, 0, 1];
    [0x1100_u32.to_be_bytes().to_vec(), text("for a test"), level.to_vec(), text("BATCH_LOG")].concat()
}

#[tokio::test]
async fn a_write_that_is_sent_again_has_the_timestamp_that_it_had_first() {
    let seen = Seen::default();
    let of_relay = Arc::clone(&seen);
    let address = relay(move |request| {
        let Some((what, stamp)) = stamped(request) else { return Fate::Passes };
        let mut seen = of_relay.lock().unwrap();
        let stamps = seen.entry(what).or_default();
        stamps.push(stamp);
        if stamps.len() == 1 { Fate::Fails(timed_out()) } else { Fate::Passes }
    });
    let url = url_at(&address.await.to_string(), "");
    let keyspace = cluster::keyspace();
    let store = Store::open(url).unwrap().provider(&keyspace.provider).unwrap();
    store.quarantine_add(refused(1, b"<a/>".to_vec())).await.unwrap();
    let writes: Vec<Vec<i64>> = seen.lock().unwrap().values().cloned().collect();
    // Its bytes, what is said of it beside them, and a line in the list.
    assert_eq!(writes.len(), 3, "{writes:?}");
    assert!(writes.iter().all(|stamps| stamps.len() == 2 && stamps[0] == stamps[1]), "{writes:?}");
    let written = cluster::rows(format!("SELECT JSON WRITETIME(reason) AS at FROM provider_{}.quarantine", keyspace.provider));
    let sent = |row: &String| writes.iter().any(|stamps| *row == format!("{{\"at\": {}}}", stamps[0]));
    assert!(written.len() == 2 && written.iter().all(sent), "{written:?} {writes:?}");
}

#[tokio::test]
async fn of_two_processes_whoever_writes_later_wins_however_soon_that_is() {
    let keyspace = cluster::keyspace();
    let [one, another] = [(); 2].map(|()| Store::open(cluster::url()).unwrap().provider(&keyspace.provider).unwrap());
    let added = refused(1, b"<a/>".to_vec());
    one.quarantine_add(added.clone()).await.unwrap();
    let mut row = one.quarantine_fetch(added.id).await.unwrap();
    for round in 0..30 {
        let (writer, reader) = if round % 2 == 0 { (&one, &another) } else { (&another, &one) };
        row.entry.reason = format!("round {round}");
        writer.quarantine_revise(&row).await.unwrap();
        assert_eq!(reader.quarantine_fetch(added.id).await.unwrap().entry.reason, row.entry.reason);
    }
}

#[tokio::test]
async fn a_clock_that_does_not_go_with_the_nodes_is_wrong_until_it_does() {
    let machine = || Timestamp::from(jiff::Timestamp::now());
    for backend in ALL {
        for apart in [365 * 86_400_000, -600_000] {
            let store = backend.fresh();
            let fault = store.with_clock(move || machine().plus_millis(apart)).clock_check().await.unwrap();
            assert_eq!(fault.is_some(), matches!(backend, Backend::Cassandra), "{backend:?}: {fault:?}");
            assert_eq!(store.clock_known(), fault, "{backend:?}: all handles know of it");
            assert_eq!(store.clock_check().await.unwrap(), None, "{backend:?}: it was set right");
        }
    }
}
