//! Documents as requests, each in the manner of its device.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes of a chunk.
const CHUNK: usize = 1024;
/// Whom Basic credentials name; loggers have user names of their own.
const USER: &str = "logger";

/// How a device makes a request, and what it takes for success.
#[derive(Debug, Clone, Copy)]
pub(super) struct Http {
    /// Of HTTP. Under 1.0 every request has a connection of its own.
    pub(super) version: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Body,
    pub(super) credentials: Credentials,
    pub(super) status: &'static str,
    /// How the body of the answer begins.
    pub(super) success: &'static str,
}

/// How a body comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    Plain,
    Chunked,
    /// By gzip.
    Packed,
}

/// Where a gateway's key stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Credentials {
    InPath,
    Basic,
}

impl Http {
    /// Whether the connection ends with the answer.
    pub(super) fn closes(&self) -> bool {
        self.version == "1.0"
    }

    /// Whether an answer says that all of a document is stored.
    pub(super) fn is_success(&self, status: &str, body: &str) -> bool {
        status == self.status && body.starts_with(self.success) && !body.contains(" rejected=") && !body.starts_with("<nack")
    }
}

/// Makes the requests of a gateway.
pub(super) struct Requests {
    http: Http,
    /// But for what is said of the body.
    head: String,
}

impl Requests {
    pub(super) fn new(http: Http, to: SocketAddr, gateway: &str, key: Option<&str>) -> Self {
        let path = match (http.credentials, key) {
            (Credentials::InPath, Some(key)) => format!("/push/{}/{}", in_path(gateway), in_path(key)),
            _ => "/".to_owned(),
        };
        let mut head = format!("POST {path} HTTP/{}\r\nHost: {to}\r\nContent-Type: {}\r\n", http.version, http.content_type);
        if let (Credentials::Basic, Some(key)) = (http.credentials, key) {
            // Writing to a string cannot fail.
            let _ = write!(head, "Authorization: Basic {}\r\n", STANDARD.encode(format!("{USER}:{key}")));
        }
        Self { http, head }
    }

    /// The request that pushes a document.
    pub(super) fn request(&self, xml: &str) -> io::Result<Vec<u8>> {
        let (coding, body) = match self.http.body {
            Body::Plain => (format!("Content-Length: {}", xml.len()), xml.as_bytes().to_vec()),
            Body::Chunked => ("Transfer-Encoding: chunked".to_owned(), chunked(xml.as_bytes())?),
            Body::Packed => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(xml.as_bytes())?;
                let packed = packed.finish()?;
                (format!("Content-Encoding: gzip\r\nContent-Length: {}", packed.len()), packed)
            }
        };
        Ok([self.head.as_bytes(), coding.as_bytes(), b"\r\n\r\n", &body].concat())
    }
}

/// RFC 9112 section 7.1.
fn chunked(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(CHUNK) {
        write!(chunks, "{:x}\r\n", chunk.len())?;
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    Ok(chunks)
}

fn in_path(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}
