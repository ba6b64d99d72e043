//! The end of a connection that a peer may still be sending on: bytes that nobody
//! reads would become a reset, and the reset would take the last answer with it
//! (RFC 9293 section 3.6.1).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::IngestSettings;
use crate::wire::Wire;

/// How long a peer may send nothing, and how long one that is at it may go on once
/// the server drains.
const SILENCE: Duration = Duration::from_secs(2);
/// Bytes that let a peer go on for a second: who sends a body does, who trickles
/// does not.
const RATE: usize = 1024;
/// How long a peer may go on at all.
const LONGEST: Duration = Duration::from_secs(30);
/// Bytes that are read at once.
const READ: usize = 16 * 1024;

/// How many bytes are worth being read of what a peer still sends.
pub(crate) fn most(settings: &IngestSettings) -> usize {
    settings.limits.document_bytes.saturating_mul(4)
}

/// Closes our half, and reads on until the peer has closed its own, has sent
/// `most` bytes more, or has had its time.
pub(crate) async fn close(wire: &mut Wire, most: usize, shutdown: &CancellationToken) {
    let closed = tokio::time::timeout(SILENCE, wire.shutdown()).await;
    if !matches!(closed, Ok(Ok(()))) {
        return;
    }
    let draining = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SILENCE).await;
    };
    tokio::select! {
        () = drain(wire, most) => {}
        () = draining => {}
    }
}

async fn drain(wire: &mut Wire, most: usize) {
    let (tcp, begun) = (wire.tcp(), Instant::now());
    let mut sink = vec![0; READ];
    let mut taken = 0;
    while taken < most {
        let earned = SILENCE + Duration::from_secs((taken / RATE) as u64);
        let until = (begun + earned.min(LONGEST)).min(Instant::now() + SILENCE);
        match tokio::time::timeout_at(until, tcp.read(&mut sink)).await {
            Ok(Ok(read)) if read > 0 => taken += read,
            _ => return,
        }
    }
}
