//! The panel over a real socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_admin_web::{PanelSettings, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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

#[tokio::test]
async fn one_address_does_not_take_every_connection() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let settings = PanelSettings { max_connections: 20, ..PanelSettings::default() };
    let served = tokio::spawn(run(listener, world.store.clone(), settings, Arc::new(start), shutdown.clone()));
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let mut excess = TcpStream::connect(address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), excess.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "closed at once: {read:?}");

    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(address).await.unwrap();
    assert!(is_answered(&mut other).await, "another address is served");
    assert!(is_answered(&mut held[0]).await, "those that are open stay open");

    shutdown.cancel();
    served.await.unwrap().unwrap();
}

async fn is_answered(stream: &mut TcpStream) -> bool {
    stream.write_all(b"GET /login HTTP/1.1\r\nHost: panel.example\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    answer == *b"HTTP/1.1 200 OK"
}
