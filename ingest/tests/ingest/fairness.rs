//! One peer, however fast it is, leaves the others their turn.

use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use heliograph_domain::UnknownGateways;
use heliograph_ingest::IngestSettings;

use crate::server::{Server, push};

#[tokio::test]
async fn who_sends_without_a_pause_leaves_others_their_turn() {
    let server = Server::with(IngestSettings::default(), UnknownGateways::Adopted).await;
    let address = server.address;
    // All of the server runs on one thread, this one.
    let answer = tokio::task::spawn_blocking(move || answer_beside_a_flood(address)).await.unwrap();
    assert_eq!(answer, "<ack seq=\"1\" readings=\"1\"/>\n");
}

/// Pushes a document while another connection sends one `hello` after the other, and
/// reads what is answered, as fast as it can.
fn answer_beside_a_flood(address: SocketAddr) -> String {
    let flood = TcpStream::connect(address).unwrap();
    let (mut writer, mut reader) = (flood.try_clone().unwrap(), flood.try_clone().unwrap());
    let (begin, begun) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let hellos = "<hello gateway='flood'/>".repeat(10_000);
            while writer.write_all(hellos.as_bytes()).is_ok() {}
        });
        scope.spawn(move || {
            reader.read_exact(&mut [0; 64 * 1024]).unwrap();
            begin.send(()).unwrap();
            // It ends by being cut.
            copy(&mut reader, &mut sink()).unwrap_or_default();
        });
        begun.recv().unwrap();
        let mut other = TcpStream::connect(address).unwrap();
        other.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        other.write_all(push("1", 0, &[1.0]).as_bytes()).unwrap();
        let mut answer = String::new();
        let read = BufReader::new(&other).read_line(&mut answer);
        flood.shutdown(Shutdown::Both).unwrap();
        read.unwrap();
        answer
    })
}
