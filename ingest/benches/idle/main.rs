//! What a connection costs that has said hello and sends nothing, in resident memory
//! of the server, which is a process of its own.
//!
//! `cargo bench -p heliograph-ingest --bench idle`; the count of connections may be
//! given behind `--`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on ends")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{CredentialId, GatewayId, KeyDigest, Location, LocationId, ProviderId, Timestamp, Zone};
use heliograph_ingest::{ClientCertificates, Ingest, IngestSettings, Tls, TlsSettings};
use heliograph_store::{CredentialNew, GatewayCommissioning, ProviderStore, Store, StoreUrl};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const KEY: &str = "5dr8k2mz-77wq3xbn-0c1vnf4t-9hjse6ay";
const CONNECTIONS: usize = 5_000;
/// Connections that are opened at once.
const AT_ONCE: usize = 50;
/// Connections after which the server has what it needs however many there are.
const WARM: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => runtime.block_on(serve(Path::new(&arguments[2]))),
        _ => {
            let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(CONNECTIONS);
            runtime.block_on(measure(count));
        }
    }
}

/// Serves until standard input ends; says where.
async fn serve(folder: &Path) {
    let store =
        Store::open(StoreUrl::sqlite(folder.join("data"))).unwrap().provider(&ProviderId::parse("idle").unwrap()).unwrap();
    commission(&store).await;
    let settings = IngestSettings { connections: 100_000, connections_per_address: 100_000, ..IngestSettings::default() };
    let ingest = Ingest::open(store, settings, &folder.join("spool"), Arc::new(|| Timestamp::clamped(0))).await.unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let tls = Tls::open(TlsSettings { certificate, key, clients: ClientCertificates::Off }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(ingest.with_tls(tls, None).run(listener, "bench".to_owned(), shutdown.clone()));
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    waiting.await.unwrap().unwrap();
    shutdown.cancel();
    serving.await.unwrap();
}

async fn commission(store: &ProviderStore) {
    let id = LocationId::new(Uuid::from_u128(1));
    let place = Location { id, name: "Roof".into(), zone: Zone::utc(), position: None, installed_kwp: None };
    store.location_save(place).await.unwrap();
    let at = Timestamp::clamped(0);
    let credential = CredentialNew { id: CredentialId::new(Uuid::from_u128(1)), digest: KeyDigest::of(KEY) };
    let gateway = GatewayId::parse("gw-1").unwrap();
    let commissioning = GatewayCommissioning { gateway, label: None, location: id, from: at, credential, at };
    store.gateway_commission(commissioning).await.unwrap();
}

/// A server that ends with this value.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap() }
    }

    /// Its resident memory, bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

async fn measure(count: usize) {
    let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let connector = connector(&certified);
    for (name, tls, aim) in [("TCP", None, 4), ("TLS", Some(connector), 24)] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("certificate.pem"), &certified.cert.pem());
        write(&folder.path().join("key.pem"), &certified.signing_key.serialize_pem());
        let server = Server::start(folder.path());
        drop(open(server.address, WARM, tls.as_ref()).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = server.resident();
        let connections = open(server.address, count, tls.as_ref()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = server.resident();
        let each = after.saturating_sub(before) as f64 / count as f64 / 1024.0;
        println!(
            "idle {name} connection: {each:.1} KiB resident of {count} (aim: {aim} KiB); the server {} MiB in all",
            after >> 20
        );
        drop(connections);
    }
}

fn write(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn connector(certified: &CertifiedKey<rcgen::KeyPair>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certified.cert.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections that say hello and are answered.
async fn open(address: SocketAddr, count: usize, tls: Option<&TlsConnector>) -> Vec<Box<dyn Stream>> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let some: Vec<_> = (0..AT_ONCE.min(count - open.len())).map(|_| tokio::spawn(greet(address, tls.cloned()))).collect();
        for one in some {
            open.push(one.await.unwrap());
        }
    }
    open
}

async fn greet(address: SocketAddr, tls: Option<TlsConnector>) -> Box<dyn Stream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut stream: Box<dyn Stream> = match tls {
        Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()),
        None => Box::new(tcp),
    };
    stream.write_all(format!("<hello gateway=\"gw-1\" key=\"{KEY}\"/>").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"<ack"), "{}", String::from_utf8_lossy(&answer[..read]));
    stream
}
