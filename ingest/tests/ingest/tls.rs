//! TLS on the way in: what is spoken under it, certificates as credentials, renewal.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_domain::{Fingerprint, GatewayId, RefusalCode, UnknownGateways};
use heliograph_ingest::{ClientCertificates, Ingest, IngestSettings, Proof, Replayer, Tls, TlsSettings, Verdict};
use heliograph_store::Credential;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::held::{left, of};
use crate::server::{Gateway, KEY, Server, commission, now, push};

pub(crate) type Certificate = CertifiedKey<KeyPair>;

fn certificate() -> Certificate {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

fn fingerprint(of: &Certificate) -> Fingerprint {
    Fingerprint::of(of.cert.der())
}

/// Puts certificate and key where the server looks for them.
fn lay_down(folder: &Path, certificate: &Certificate) {
    for (name, text) in [("certificate.pem", certificate.cert.pem()), ("key.pem", certificate.signing_key.serialize_pem())] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// A server that speaks TLS, too.
pub(crate) struct Secured {
    pub(crate) server: Server,
    pub(crate) certificate: Certificate,
}

impl Secured {
    async fn start(clients: ClientCertificates) -> Self {
        Self::with(clients, IngestSettings::default()).await
    }

    pub(crate) async fn with(clients: ClientCertificates, settings: IngestSettings) -> Self {
        let certificate = certificate();
        let prepare = |ingest: Ingest, folder: &Path| {
            lay_down(folder, &certificate);
            let files = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
            let [chain, key] = files;
            ingest.with_tls(Tls::open(TlsSettings { certificate: chain, key, clients }).unwrap(), None)
        };
        let server = Server::made(settings, UnknownGateways::Refused, prepare).await;
        Self { server, certificate }
    }

    pub(crate) async fn connect(&self, client: &Client<'_>) -> std::io::Result<Gateway<TlsStream<TcpStream>>> {
        let connector = TlsConnector::from(Arc::new(client.config(&self.certificate)));
        let stream = TcpStream::connect(self.server.address).await?;
        Ok(Gateway { stream: connector.connect(localhost(), stream).await? })
    }
}

pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// What a client is like.
#[derive(Default)]
pub(crate) struct Client<'a> {
    shows: Option<&'a Certificate>,
    version: Option<&'static SupportedProtocolVersion>,
}

impl<'a> Client<'a> {
    fn showing(certificate: &'a Certificate) -> Self {
        Self { shows: Some(certificate), version: None }
    }

    /// It trusts one certificate.
    pub(crate) fn config(&self, trusts: &Certificate) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(trusts.cert.der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = self.version.map_or_else(|| rustls::DEFAULT_VERSIONS.to_vec(), |version| vec![version]);
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let Some(shown) = self.shows else { return builder.with_no_client_auth() };
        let key = PrivateKeyDer::try_from(shown.signing_key.serialize_der()).unwrap();
        builder.with_client_auth_cert(vec![CertificateDer::from(shown.cert.der().to_vec())], key).unwrap()
    }
}

/// A push without a key.
fn keyless(seq: &str, minute: usize, value: f64) -> String {
    push(seq, minute, &[value]).replace(&format!(" key=\"{KEY}\""), "")
}

async fn register(server: &Server, gateway: &str, certificate: &Certificate) {
    let gateway = GatewayId::parse(gateway).unwrap();
    server.store.certificate_add(&gateway, fingerprint(certificate), now()).await.unwrap();
    // The directory is renewed within a second or two.
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn one_port_speaks_xml_and_http_plain_and_under_tls() {
    let secured = Secured::start(ClientCertificates::Off).await;
    assert_eq!(secured.server.connect().await.ask(&push("1", 0, &[1.0])).await, "<ack seq=\"1\" readings=\"1\"/>");
    for (seq, version) in [("2", &rustls::version::TLS12), ("3", &rustls::version::TLS13)] {
        let mut gateway = secured.connect(&Client { version: Some(version), shows: None }).await.unwrap();
        assert_eq!(gateway.ask(&push(seq, 1, &[2.0])).await, format!("<ack seq=\"{seq}\" readings=\"1\"/>"));
        assert_eq!(gateway.ask(&push("9", 1, &[2.0])).await, "<ack seq=\"9\" readings=\"1\"/>");
    }
    let document = push("4", 2, &[4.0]);
    let request =
        format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{document}", document.len());
    for number in 0..2 {
        let answer = match number {
            0 => {
                let mut gateway = secured.connect(&Client::default()).await.unwrap();
                gateway.send(&request).await;
                gateway.rest().await
            }
            _ => {
                let mut gateway = secured.server.connect().await;
                gateway.send(&request).await;
                gateway.rest().await
            }
        };
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("<ack seq=\"4\" readings=\"1\"/>\n"), "{answer}");
    }
    assert_eq!(secured.server.values().await, [1.0, 2.0, 4.0]);
}

#[tokio::test]
async fn a_large_document_and_many_small_ones_come_whole_through_tls() {
    let secured = Secured::start(ClientCertificates::Off).await;
    let mut gateway = secured.connect(&Client::default()).await.unwrap();
    let large = push("large", 0, &[1.0]).replace("<sensor", &format!("<!--{}--><sensor", "x".repeat(3 << 20)));
    let (mut reader, mut writer) = tokio::io::split(gateway.stream);
    let small: String = (0..300).map(|seq| push(&seq.to_string(), seq, &[seq as f64])).collect();
    let sending = tokio::spawn(async move {
        writer.write_all(format!("{large}{small}").as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut answers = String::new();
    reader.read_to_string(&mut answers).await.unwrap();
    sending.await.unwrap();
    let seqs: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("<ack seq=\"")?.split('"').next()).collect();
    assert_eq!((seqs.len(), seqs[0], seqs[300]), (301, "large", "299"), "{answers}");
    gateway = secured.connect(&Client::default()).await.unwrap();
    gateway.send(&push("cut", 0, &[1.0])[..90]).await;
    // The connection breaks without a word, in the middle of a document.
    let (tcp, _) = gateway.stream.get_mut();
    tcp.shutdown().await.unwrap();
    assert!(gateway.answer().await.contains("seq=\"cut\" code=\"malformed\""));
}

#[tokio::test]
async fn a_handshake_may_come_in_any_pieces() {
    let secured = Secured::start(ClientCertificates::Off).await;
    let config = Arc::new(Client::default().config(&secured.certificate));
    let mut session = ClientConnection::new(config, localhost()).unwrap();
    let mut stream = TcpStream::connect(secured.server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut received = [0; 4096];
    let document = push("1", 0, &[1.0]);
    let mut is_sent = false;
    let mut answer = Vec::new();
    while !answer.ends_with(b"/>\n") {
        let mut out = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut out).unwrap();
        }
        for byte in out {
            stream.write_all(&[byte]).await.unwrap();
        }
        if !session.is_handshaking() && !std::mem::replace(&mut is_sent, true) {
            std::io::Write::write_all(&mut session.writer(), document.as_bytes()).unwrap();
            continue;
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut received)).await.unwrap().unwrap();
        assert!(read > 0);
        let mut there = &received[..read];
        while !there.is_empty() {
            session.read_tls(&mut there).unwrap();
            session.process_new_packets().unwrap();
        }
        let mut plain = [0; 256];
        if let Ok(read) = std::io::Read::read(&mut session.reader(), &mut plain) {
            answer.extend_from_slice(&plain[..read]);
        }
    }
    assert_eq!(answer, b"<ack seq=\"1\" readings=\"1\"/>\n");
}

#[tokio::test]
async fn a_registered_certificate_is_a_credential_of_its_gateway_alone() {
    let secured = Secured::start(ClientCertificates::Optional).await;
    let (server, mine) = (&secured.server, certificate());
    commission(&server.store, "gw-0002", "UTC", 2).await;
    register(server, "gw-0001", &mine).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Client { shows: Some(&mine), version: Some(version) };
        let mut gateway = secured.connect(&client).await.unwrap();
        assert_eq!(gateway.ask(&keyless("1", 0, 1.0)).await, "<ack seq=\"1\" readings=\"1\"/>");
        // What names no gateway is of the certificate's.
        let senml = "<sensml xmlns='urn:ietf:params:xml:ns:senml'><senml bn='roof' bt='1795172400' u='W' v='5'/></sensml>";
        assert_eq!(gateway.ask(senml).await, "<ack readings=\"1\"/>");
        gateway.send(&push("2", 0, &[1.0]).replace("gw-0001", "gw-0002")).await;
        let answer = gateway.rest().await;
        assert!(answer.contains("seq=\"2\" code=\"bad-key\""), "another's key does not help: {answer}");
    }
    let mut gateway = secured.connect(&Client::showing(&mine)).await.unwrap();
    let document = keyless("3", 1, 2.0);
    gateway
        .send(&format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{document}", document.len()))
        .await;
    assert!(gateway.rest().await.starts_with("HTTP/1.1 200"));
    assert!(server.readings("gw-0002").await.is_empty());
}

#[tokio::test]
async fn where_certificates_are_optional_a_key_is_enough() {
    let secured = Secured::start(ClientCertificates::Optional).await;
    let stranger = certificate();
    let ack = "<ack seq=\"1\" readings=\"1\"/>";
    assert_eq!(secured.connect(&Client::default()).await.unwrap().ask(&push("1", 0, &[1.0])).await, ack);
    let mut gateway = secured.connect(&Client::showing(&stranger)).await.unwrap();
    assert_eq!(gateway.ask(&push("1", 0, &[1.0])).await, ack);
    gateway.send(&keyless("2", 0, 1.0)).await;
    assert!(gateway.rest().await.contains("code=\"bad-key\""));
}

#[tokio::test]
async fn where_certificates_are_required_nothing_else_is_enough() {
    let secured = Secured::start(ClientCertificates::Required).await;
    let (server, mine, stranger) = (&secured.server, certificate(), certificate());
    register(server, "gw-0001", &mine).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let none = secured.connect(&Client { shows: None, version: Some(version) }).await;
        let refused = match none {
            Err(_) => true,
            // In TLS 1.3 a client learns of it when it reads.
            Ok(mut gateway) => gateway.stream.read(&mut [0; 9]).await.is_err(),
        };
        assert!(refused);
    }
    for mut gateway in [secured.connect(&Client::showing(&stranger)).await.unwrap()] {
        gateway.send(&push("1", 0, &[1.0])).await;
        assert!(gateway.rest().await.contains("code=\"bad-key\""));
    }
    let mut plain = server.connect().await;
    plain.send(&push("2", 0, &[1.0])).await;
    let answer = plain.rest().await;
    assert!(answer.contains("code=\"bad-key\"") && answer.contains("certificate"), "{answer}");
    assert!(server.values().await.is_empty());
    let mut gateway = secured.connect(&Client::showing(&mine)).await.unwrap();
    assert_eq!(gateway.ask(&keyless("3", 0, 1.0)).await, "<ack seq=\"3\" readings=\"1\"/>");
}

#[tokio::test]
async fn what_is_held_where_certificates_are_required_is_proven_by_one_and_by_no_key() {
    let secured = Secured::start(ClientCertificates::Required).await;
    let (server, mine, foreign) = (&secured.server, certificate(), certificate());
    let document = |seq: &str, minute| of("gw-new", &push(seq, minute, &[1.0]));
    // All come with the key that the gateway will have.
    for (seq, shown) in [("1", &mine), ("2", &foreign)] {
        let mut gateway = secured.connect(&Client::showing(shown)).await.unwrap();
        assert!(gateway.ask(&document(seq, seq.parse().unwrap())).await.contains("unknown-gateway"));
    }
    assert!(server.connect().await.ask(&document("3", 3)).await.contains("unknown-gateway"));
    left(server, 3).await;
    commission(&server.store, "gw-new", "UTC", 2).await;
    register(server, "gw-new", &mine).await;
    left(server, 2).await;
    assert_eq!(server.readings("gw-new").await.len(), 1);
    for needs_certificate in [true, false] {
        let replayer = Replayer::open(server.store.clone(), None, needs_certificate).await.unwrap();
        for row in server.quarantine().await {
            let judged = replayer.judge(row.entry.id, Proof::Key, now()).await.unwrap();
            assert!(matches!(judged.verdict, Verdict::Refuse { code: RefusalCode::BadKey, .. }), "{judged:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_taken_away_is_refused_on_the_connection_that_shows_it() {
    let secured = Secured::start(ClientCertificates::Optional).await;
    let (server, mine) = (&secured.server, certificate());
    register(server, "gw-0001", &mine).await;
    let mut gateway = secured.connect(&Client::showing(&mine)).await.unwrap();
    assert!(gateway.ask(&keyless("1", 0, 1.0)).await.starts_with("<ack"));
    let id = GatewayId::parse("gw-0001").unwrap();
    server.store.certificate_remove(&id, fingerprint(&mine)).await.unwrap();
    for attempt in 0.. {
        if gateway.ask(&keyless("2", 0, 1.0)).await.contains("bad-key") {
            break;
        }
        assert!(attempt < 100, "it is still taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn when_a_credential_was_last_used_is_written_behind() {
    let secured = Secured::start(ClientCertificates::Optional).await;
    let (server, mine, id) = (&secured.server, certificate(), GatewayId::parse("gw-0001").unwrap());
    register(server, "gw-0001", &mine).await;
    assert!(server.connect().await.ask(&push("1", 0, &[1.0])).await.starts_with("<ack"));
    assert!(secured.connect(&Client::showing(&mine)).await.unwrap().ask(&keyless("2", 0, 1.0)).await.starts_with("<ack"));
    let used = async || {
        let key = server.store.credential_list(&id).await.unwrap()[0].used;
        (key, server.store.certificate_list(&id).await.unwrap()[0].used)
    };
    for attempt in 0.. {
        if used().await == (Some(now()), Some(now())) {
            break;
        }
        assert!(attempt < 100, "{:?}", used().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(Credential::Certificate(fingerprint(&mine)).to_string().len(), 64);
}

#[tokio::test]
async fn a_handshake_has_a_deadline_and_a_bound() {
    let settings = IngestSettings { handshake: Duration::from_millis(300), ..IngestSettings::default() };
    let secured = Secured::with(ClientCertificates::Off, settings).await;
    let began = Instant::now();
    let mut silent = secured.server.connect().await;
    silent.stream.write_all(&[0x16, 3, 1, 2]).await.unwrap();
    assert_eq!(silent.rest().await, "");
    assert!(began.elapsed() >= Duration::from_millis(300));

    let secured = Secured::start(ClientCertificates::Off).await;
    let mut endless = secured.server.connect().await;
    // A hello of 60,000 bytes, in records of 4,096.
    let mut hello = vec![1, 0, 0xEA, 0x60];
    hello.resize(60_004, 0);
    let records: Vec<u8> =
        hello.chunks(4096).flat_map(|part| [&[0x16, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat()).collect();
    let _ = endless.stream.write_all(&records).await;
    let closed = tokio::time::timeout(Duration::from_secs(5), endless.stream.read_to_end(&mut Vec::new())).await;
    assert!(closed.is_ok(), "it is cut before its deadline of ten seconds");
    assert_eq!(secured.server.connect().await.ask(&push("1", 0, &[1.0])).await, "<ack seq=\"1\" readings=\"1\"/>");
}

#[tokio::test]
async fn a_renewed_certificate_is_loaded_and_a_broken_one_is_not() {
    let secured = Secured::start(ClientCertificates::Off).await;
    let folder = secured.server.folder.path().to_owned();
    let mut old = secured.connect(&Client::default()).await.unwrap();
    let (renewed, other) = (certificate(), certificate());
    // A certificate whose key is another's.
    std::fs::write(folder.join("certificate.pem"), other.cert.pem()).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(secured.connect(&Client::default()).await.is_ok(), "the old one stays in force");
    lay_down(&folder, &renewed);
    let connector = TlsConnector::from(Arc::new(Client::default().config(&renewed)));
    let mut attempts = 0;
    let stream = loop {
        let tcp = TcpStream::connect(secured.server.address).await.unwrap();
        match connector.connect(localhost(), tcp).await {
            Ok(stream) => break stream,
            Err(error) => assert!(attempts < 100, "{error}"),
        }
        attempts += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let ack = "<ack seq=\"1\" readings=\"1\"/>";
    assert_eq!(Gateway { stream }.ask(&push("1", 0, &[1.0])).await, ack);
    assert_eq!(old.ask(&push("1", 0, &[1.0])).await, ack, "connections go on as they are");
}
