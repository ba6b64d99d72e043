//! What holds of a server whatever comes. The fuzz targets (`fuzz/`) call the same.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use heliograph_dialects::Limits;
use heliograph_domain::UnknownGateways;
use heliograph_ingest::IngestSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, push};

/// The largest document that the server takes.
const DOCUMENT: usize = 64 * 1024;
/// How a gzip stream begins.
const GZIP: [u8; 2] = [0x1F, 0x8B];
/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with small limits, so that small inputs reach them.
pub(crate) async fn server() -> Server {
    let limits = Limits { document_bytes: DOCUMENT, ..Limits::default() };
    Server::with(IngestSettings { limits, ..IngestSettings::default() }, UnknownGateways::Refused).await
}

/// Whatever comes, the server ends the connection, having said nothing but whole
/// answers, and serves others.
pub(crate) async fn requests(server: &Server, data: &[u8]) {
    let said = said(server, data).await;
    let text = String::from_utf8(said).unwrap();
    if text.starts_with("HTTP/") {
        assert!(statuses(&text).iter().all(|status| KNOWN.contains(status)), "{text}");
    } else {
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        assert!(text.lines().all(|line| line.starts_with("<ack ") || line.starts_with("<nack ")), "{text}");
    }
}

/// What the server may answer: first that a body may come, last what is wrong with a head.
const KNOWN: &[u16] = &[100, 200, 202, 400, 401, 405, 413, 422, 429, 503, 408, 414, 431];

/// The statuses of the responses of a connection.
fn statuses(text: &str) -> Vec<u16> {
    let heads = text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 ")));
    heads.map(|head| head.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// A packed body is answered as what it unpacks to, is too large where that is, and
/// malformed where it unpacks to nothing. One that is not packed is taken as it is, and
/// one by gzip is unpacked so, whatever is said of it. The first byte says how it is
/// packed.
pub(crate) async fn unpacking(server: &Server, data: &[u8]) {
    let Some((first, packed)) = data.split_first() else { return };
    let coding = if *first == b'd' { "deflate" } else { "gzip" };
    let unpacked = match coding {
        "deflate" if !packed.starts_with(&GZIP) => {
            unpack(ZlibDecoder::new(packed)).or_else(|| unpack(DeflateDecoder::new(packed)))
        }
        _ => unpack(MultiGzDecoder::new(packed)),
    };
    let holds_xml = unpacked.as_ref().is_some_and(|document| document.len() <= DOCUMENT && looks_plain(document));
    let unpacked = if looks_plain(packed) && !holds_xml { Some(packed.to_vec()) } else { unpacked };
    let got = status(server, &format!("Content-Encoding: {coding}\r\n"), packed).await;
    let expected = match &unpacked {
        None => 400,
        Some(document) if document.len() > DOCUMENT => 413,
        // Plain bytes that look packed would be unpacked once more.
        Some(document) if document.starts_with(&GZIP) => 400,
        Some(document) => status(server, "", document).await,
    };
    // Whoever is refused often is told so.
    assert!(got == expected || got == 429 || expected == 429, "{got}, not {expected}");
}

/// Whether bytes begin as XML does.
fn looks_plain(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(bytes);
    bytes.trim_ascii_start().starts_with(b"<")
}

/// What bytes unpack to, as far as a document goes and one byte more.
fn unpack(packed: impl std::io::Read) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    packed.take(DOCUMENT as u64 + 1).read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}

async fn status(server: &Server, headers: &str, body: &[u8]) -> u16 {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let said = said(server, &[head.as_bytes(), body].concat()).await;
    let statuses = statuses(std::str::from_utf8(&said).unwrap());
    assert_eq!(statuses.len(), 1, "{}", String::from_utf8_lossy(&said));
    statuses[0]
}

/// Sends bytes and answers all that is said to them.
async fn said(server: &Server, data: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut said = Vec::new();
    let sending = async {
        // A server that has refused what came before may have gone.
        let _ = writer.write_all(data).await;
        let _ = writer.shutdown().await;
    };
    let both = async { tokio::join!(sending, reader.read_to_end(&mut said)).1 };
    tokio::time::timeout(PATIENCE, both).await.unwrap().unwrap();
    said
}

/// The server still takes what is right.
pub(crate) async fn still_serves(server: &Server) {
    let mut gateway = server.connect().await;
    assert_eq!(gateway.ask(&push("after", 0, &[1.0])).await, "<ack seq=\"after\" readings=\"1\"/>");
}
