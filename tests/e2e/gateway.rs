//! A gateway as it speaks on the wire.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::binary::connect;

/// A busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway on one connection.
pub(crate) struct Gateway(BufReader<TcpStream>);

impl Gateway {
    /// Waits until somebody listens.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = connect(address, PATIENCE);
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// What is answered to a document.
    pub(crate) fn ask(&mut self, document: &str) -> String {
        self.ask_in_parts(document, document.len())
    }

    /// As [`Gateway::ask`], with so many bytes in each segment.
    pub(crate) fn ask_in_parts(&mut self, document: &str, bytes: usize) -> String {
        for part in document.as_bytes().chunks(bytes) {
            self.0.get_mut().write_all(part).unwrap();
        }
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Signs in, as soon as the key is known.
    pub(crate) fn hello(&mut self, gateway: &str, key: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ask(&format!("<hello gateway=\"{gateway}\" key=\"{key}\"/>")).starts_with("<ack") {
            assert!(Instant::now() < deadline, "the key of {gateway} does not come into force");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}
