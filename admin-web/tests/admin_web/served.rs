//! The panel over a real socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_admin_web::{PanelSettings, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::world::{World, start};

#[tokio::test]
async fn it_answers_on_its_port_and_ends_when_told_to() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(run(
        listener,
        world.store.clone(),
        PanelSettings { max_connections: 2, ..PanelSettings::default() },
        Arc::new(start),
        shutdown.clone(),
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /login HTTP/1.1\r\nHost: panel.example\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 64 * 1024];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    }
    // An idle connection does not hold up the end.
    let _idle = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(12), served).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
