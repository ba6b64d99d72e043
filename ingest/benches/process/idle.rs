//! Connections that have said something and say nothing more.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::corpus;
use crate::served::KEY;
use crate::server::{GATEWAYS, Server};

/// Connections that are opened at once.
const AT_ONCE: usize = 50;
/// Connections after which the server has what it needs however many there are.
const WARM: usize = 500;

/// What a connection says before it is idle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum First {
    Hello,
    Document,
}

pub(crate) async fn measure(count: usize) {
    for (name, tls, first, aim) in [
        ("TCP connection that has said hello", false, First::Hello, 4),
        ("TCP connection that has pushed a document", false, First::Document, 4),
        ("TLS connection that has said hello", true, First::Hello, 24),
        ("TLS connection that has pushed a document", true, First::Document, 24),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let tls = tls.then(|| connector(folder.path()));
        drop(open(server.address, 0..WARM, tls.as_ref(), first).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = server.memory("VmRSS");
        let connections = open(server.address, 0..count, tls.as_ref(), first).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = server.memory("VmRSS");
        let each = after.saturating_sub(before) as f64 / count as f64 / 1024.0;
        println!("idle {name}: {each:.1} KiB resident of {count} (asked: {aim} KiB); the server {} MiB in all", after >> 20);
        drop(connections);
    }
}

fn connector(folder: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("certificate.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections that say something and are answered.
pub(crate) async fn open(
    to: SocketAddr,
    numbers: std::ops::Range<usize>,
    tls: Option<&TlsConnector>,
    first: First,
) -> Vec<Box<dyn Stream>> {
    let (mut open, mut numbers) = (Vec::with_capacity(numbers.len()), numbers);
    while !numbers.is_empty() {
        let some: Vec<_> =
            numbers.by_ref().take(AT_ONCE).map(|number| tokio::spawn(greet(to, number, tls.cloned(), first))).collect();
        for one in some {
            open.push(one.await.unwrap());
        }
    }
    open
}

async fn greet(to: SocketAddr, number: usize, tls: Option<TlsConnector>, first: First) -> Box<dyn Stream> {
    // From several addresses: one has not as many ports.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + (number % 8) as u8), 0))).unwrap();
    let tcp = socket.connect(to).await.unwrap();
    let mut stream: Box<dyn Stream> = match tls {
        Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()),
        None => Box::new(tcp),
    };
    let (gateway, instant) = (number % GATEWAYS, number / GATEWAYS);
    let said = match first {
        First::Hello => format!("<hello gateway=\"{}\" key=\"{KEY}\"/>", corpus::gateway(gateway)),
        First::Document => corpus::live_xml(gateway, instant, KEY),
    };
    stream.write_all(said.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"<ack"), "{}", String::from_utf8_lossy(&answer[..read]));
    stream
}
