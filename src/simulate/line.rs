//! A connection to the server: documents out, answers in, in order.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::document::Fleet;
use super::request::{Http, Requests};

/// The longest answer that is read.
const ANSWER: usize = 64 * 1024;

/// What the server says to a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it is stored.
    Ack,
    /// It may be sent again later: what was said.
    Later(String),
    /// It, or some of it, is not: what was said.
    Refused(String),
}

/// The reading side.
pub(super) struct Answers {
    read: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    http: Option<Http>,
    /// Of an answer that has not come whole: reading may be broken off.
    line: Vec<u8>,
}

/// The writing side.
pub(super) struct Documents {
    write: Box<dyn AsyncWrite + Send + Unpin>,
    requests: Option<Requests>,
}

/// Connects, and says whose connection it is.
pub(super) async fn open(to: SocketAddr, fleet: &Fleet, gateway: &str) -> io::Result<(Documents, Answers)> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (read, write): (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>) = match &fleet.tls {
        None => {
            let (read, write) = stream.into_split();
            (Box::new(read), Box::new(write))
        }
        Some(tls) => {
            let (read, write) = tokio::io::split(tls.connector.connect(tls.name.clone(), stream).await?);
            (Box::new(read), Box::new(write))
        }
    };
    let http = fleet.kind.http();
    let mut answers = Answers { read: BufReader::new(read), http, line: Vec::new() };
    let requests = http.map(|http| Requests::new(http, to, gateway, fleet.key.as_deref()));
    let mut documents = Documents { write, requests };
    if let Some(hello) = fleet.hello(gateway) {
        documents.write.write_all(hello.as_bytes()).await?;
        documents.write.flush().await?;
        match answers.next().await? {
            Answer::Ack => {}
            Answer::Later(answer) => return Err(io::Error::other(answer)),
            Answer::Refused(answer) => return Err(io::Error::new(io::ErrorKind::PermissionDenied, answer)),
        }
    }
    Ok((documents, answers))
}

impl Documents {
    pub(super) async fn send(&mut self, xml: &str) -> io::Result<()> {
        match &self.requests {
            None => self.write.write_all(xml.as_bytes()).await?,
            Some(requests) => self.write.write_all(&requests.request(xml)?).await?,
        }
        self.write.flush().await
    }
}

impl Answers {
    /// The next answer. Where waiting for it is broken off, the next call goes on.
    pub(super) async fn next(&mut self) -> io::Result<Answer> {
        match self.http {
            Some(http) => self.response(&http).await,
            None => self.text_line().await,
        }
    }

    async fn text_line(&mut self) -> io::Result<Answer> {
        self.read_line().await?;
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        let whole = line.starts_with("<ack") && !line.contains(" rejected=");
        Ok(match () {
            () if whole => Answer::Ack,
            () if line.contains(" retry=\"true\"") => Answer::Later(line),
            () => Answer::Refused(line),
        })
    }

    async fn read_line(&mut self) -> io::Result<()> {
        self.read.read_until(b'\n', &mut self.line).await?;
        if self.line.ends_with(b"\n") { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads until the head is whole, then the body that it announces.
    async fn response(&mut self, http: &Http) -> io::Result<Answer> {
        let head = loop {
            if let Some(end) = self.line.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if self.line.len() > ANSWER {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer has no end"));
            }
            self.read_some().await?;
        };
        let text = String::from_utf8_lossy(self.line.get(..head).unwrap_or_default()).to_ascii_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|length| length.trim().parse().ok());
        let whole = head + length.unwrap_or(0usize).min(ANSWER);
        while self.line.len() < whole {
            self.read_some().await?;
        }
        let body = String::from_utf8_lossy(self.line.get(head..whole).unwrap_or_default()).trim().to_owned();
        self.line.drain(..whole);
        let status = text.split(' ').nth(1).unwrap_or_default();
        Ok(match status {
            _ if http.is_success(status, &body) => Answer::Ack,
            "429" | "503" => Answer::Later(format!("{status} {body}")),
            _ => Answer::Refused(format!("{status} {body}")),
        })
    }

    async fn read_some(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let read = self.read.read(&mut bytes).await?;
        self.line.extend_from_slice(bytes.get(..read).unwrap_or_default());
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
