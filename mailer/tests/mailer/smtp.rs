//! A mail server that misbehaves where a test tells it to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the last dot.
    Message,
}

/// What the server does at a stage instead of what it should.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Reply(Stage, &'static str),
    /// Ends the connection without a word.
    HangUp(Stage),
    /// Says nothing any more, and keeps the connection.
    Hang(Stage),
}

/// A running server.
pub struct Server {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    fault: Mutex<Option<Fault>>,
    /// Messages whose last dot was seen, accepted or not.
    messages: Mutex<Vec<Vec<u8>>>,
    connections: Mutex<usize>,
    envelopes: Mutex<Vec<String>>,
    logins: Mutex<Vec<String>>,
    hanging: Notify,
}

impl Server {
    /// Listens on a free port of the loopback, in clear.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// As [`Self::start`], with STARTTLS.
    pub async fn start_tls(acceptor: tokio_rustls::TlsAcceptor) -> Self {
        Self::listen(Some(acceptor)).await
    }

    async fn listen(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *shared.connections.lock().unwrap() += 1;
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let upgrade = Session { state: &state, offers_tls: tls.is_some() }.serve(stream, true).await;
                    if let (Some(stream), Some(tls)) = (upgrade, tls)
                        && let Ok(stream) = tls.accept(stream).await
                    {
                        Session { state: &state, offers_tls: false }.serve(stream, false).await;
                    }
                });
            }
        });
        Self { port, state }
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.state.fault.lock().unwrap() = fault;
    }

    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.state.messages.lock().unwrap().clone()
    }

    /// The lines of MAIL and RCPT.
    pub fn envelopes(&self) -> Vec<String> {
        self.state.envelopes.lock().unwrap().clone()
    }

    /// The lines of AUTH.
    pub fn logins(&self) -> Vec<String> {
        self.state.logins.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }

    /// Returns once a connection hangs.
    pub async fn hanging(&self) {
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, self.state.hanging.notified()).await.expect("no connection got as far as to hang");
    }
}

struct Session<'a> {
    state: &'a State,
    offers_tls: bool,
}

impl Session<'_> {
    /// Speaks until the end of the connection; gives the stream back for TLS.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, greets: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if greets {
            self.reply(&mut stream, Stage::Greeting, "220 test.example ready").await?;
        }
        loop {
            let line = read_line(&mut stream).await?;
            let word = line.trim().split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match word.as_str() {
                "EHLO" => {
                    let extension = if self.offers_tls { "STARTTLS" } else { "AUTH PLAIN LOGIN" };
                    self.reply(&mut stream, Stage::Ehlo, &format!("250-test.example\r\n250 {extension}")).await?;
                }
                "STARTTLS" => {
                    self.reply(&mut stream, Stage::StartTls, "220 go ahead").await?;
                    return Some(stream.into_inner());
                }
                "MAIL" | "RCPT" => {
                    self.state.envelopes.lock().unwrap().push(line.trim().to_owned());
                    let stage = if word == "MAIL" { Stage::Mail } else { Stage::Rcpt };
                    self.reply(&mut stream, stage, "250 2.1.0 ok").await?;
                }
                "AUTH" => {
                    self.state.logins.lock().unwrap().push(line.trim().to_owned());
                    self.reply(&mut stream, Stage::Auth, "235 2.7.0 welcome").await?;
                }
                "DATA" => self.data(&mut stream).await?,
                "QUIT" => {
                    write(&mut stream, "221 bye").await?;
                    return None;
                }
                _ => write(&mut stream, "250 ok").await?,
            }
        }
    }

    async fn data<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>) -> Option<()> {
        if !self.reply(stream, Stage::Data, "354 go ahead").await? {
            return Some(());
        }
        let mut message = String::new();
        loop {
            let line = read_line(stream).await?;
            if line == ".\r\n" {
                break;
            }
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        self.state.messages.lock().unwrap().push(message.into_bytes());
        self.reply(stream, Stage::Message, "250 2.0.0 taken as 42").await.map(drop)
    }

    /// Replies as usual or as the fault says; whether it was as usual.
    async fn reply<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, stage: Stage, usual: &str) -> Option<bool> {
        let fault = *self.state.fault.lock().unwrap();
        match fault {
            Some(Fault::Reply(at, line)) if at == stage => {
                write(stream, line).await?;
                Some(false)
            }
            Some(Fault::HangUp(at)) if at == stage => None,
            Some(Fault::Hang(at)) if at == stage => {
                self.state.hanging.notify_one();
                std::future::pending().await
            }
            _ => {
                write(stream, usual).await?;
                Some(true)
            }
        }
    }
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(length) if length > 0 => Some(line),
        _ => None,
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()
}
