//! The node at another address, where a test says what becomes of each request.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::cluster::NODE;

/// The native protocol, version 4: what requests to prepare a statement and to run it,
/// and an answer that a request failed are called.
pub(crate) const PREPARE: u8 = 0x09;
pub(crate) const EXECUTE: u8 = 0x0a;
const ERROR: u8 = 0x00;
const ANSWER: u8 = 0x84;
const HEADER: usize = 9;

/// A message of the protocol as it goes over the wire.
pub(crate) struct Frame(Vec<u8>);

/// What becomes of a request.
pub(crate) enum Fate {
    Passes,
    /// Nobody ever answers it.
    Vanishes,
    /// It fails, as the protocol says it.
    Fails(Vec<u8>),
}

impl Frame {
    async fn read(from: &mut OwnedReadHalf) -> Option<Self> {
        let mut frame = vec![0; HEADER];
        from.read_exact(&mut frame).await.ok()?;
        let length = u32::from_be_bytes(frame[5..].try_into().unwrap());
        frame.resize(HEADER + length as usize, 0);
        from.read_exact(&mut frame[HEADER..]).await.ok()?;
        Some(Self(frame))
    }

    /// The answer to this request that it failed.
    fn failure(&self, body: &[u8]) -> Self {
        let mut answer = vec![ANSWER, 0, self.0[2], self.0[3], ERROR];
        answer.extend((body.len() as u32).to_be_bytes());
        answer.extend(body);
        Self(answer)
    }

    pub(crate) fn is(&self, request: u8) -> bool {
        self.0[4] == request
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.0[HEADER..]
    }

    /// What a request to run a statement says of its values: whether it goes on behind
    /// a page, whether it names its timestamp, and others.
    pub(crate) fn has(&self, flag: u8) -> bool {
        let id = usize::from(u16::from_be_bytes([self.body()[0], self.body()[1]]));
        self.body()[2 + id + 2] & flag != 0
    }
}

/// Begins to listen; ends with the test's runtime.
pub(crate) async fn relay(decide: impl Fn(&Frame) -> Fate + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, decide) = (listener.local_addr().unwrap(), Arc::new(decide));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_client, to_client) = client.into_split();
            let (mut from_node, to_node) = TcpStream::connect(NODE).await.unwrap().into_split();
            let to_client = Arc::new(Mutex::new(to_client));
            tokio::spawn(requests(from_client, to_node, Arc::clone(&to_client), Arc::clone(&decide)));
            tokio::spawn(async move {
                while let Some(answer) = Frame::read(&mut from_node).await {
                    // Either side may end as it likes.
                    drop(to_client.lock().await.write_all(&answer.0).await);
                }
            });
        }
    });
    address
}

async fn requests(
    mut client: OwnedReadHalf,
    mut node: OwnedWriteHalf,
    answers: Arc<Mutex<OwnedWriteHalf>>,
    decide: Arc<impl Fn(&Frame) -> Fate>,
) {
    while let Some(request) = Frame::read(&mut client).await {
        match decide(&request) {
            Fate::Passes => drop(node.write_all(&request.0).await),
            Fate::Vanishes => {}
            Fate::Fails(body) => drop(answers.lock().await.write_all(&request.failure(&body).0).await),
        }
    }
}
