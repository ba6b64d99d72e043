//! What a connection is carried by: a TCP stream, plain or under TLS.

use std::io::{BufRead, ErrorKind, Read, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Bytes asked for at once.
const READ: usize = 16 * 1024;
/// Bytes asked for first where nothing is under way.
const LITTLE: usize = 4 * 1024;
/// Records that are taken in a row before others get their turn.
const RECORDS: usize = 16;

/// A peer's stream. While nothing comes it holds no buffer of its own.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<Encrypted>),
}

/// A stream whose handshake is done.
pub(crate) struct Encrypted {
    stream: TlsStream<Metered>,
    /// There may be something to take without waiting.
    more: bool,
}

impl Wire {
    pub(crate) fn encrypted(stream: TlsStream<Metered>) -> Self {
        // What came with the end of the handshake waits there already.
        Self::Tls(Box::new(Encrypted { stream, more: true }))
    }

    /// Waits until a try to read may find something.
    pub(crate) async fn readable(&self) -> Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            Self::Tls(encrypted) if encrypted.more => Ok(()),
            Self::Tls(encrypted) => encrypted.stream.get_ref().0.tcp.inner.readable().await,
        }
    }

    /// Appends what is there; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there.
    pub(crate) fn try_read(&mut self, buffer: &mut BytesMut) -> Result<usize> {
        match self {
            Self::Plain(stream) if buffer.len() < LITTLE => try_read_little(stream, buffer),
            Self::Plain(stream) => {
                buffer.reserve(READ);
                stream.try_read_buf(buffer)
            }
            Self::Tls(encrypted) => encrypted.try_read(buffer),
        }
    }

    /// Writes what the peer takes at once, which may be nothing; answers how much.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => match stream.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                written => written,
            },
            // A session writes records, and may have to wait in the middle of one.
            Self::Tls(_) => Ok(0),
        }
    }

    /// The stream below, once nothing but its end is waited for.
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(encrypted) => &mut encrypted.stream.get_mut().0.tcp.inner,
        }
    }
}

/// Between documents little comes at once, mostly, and of whoever sends slowly also
/// within one: it gets as much memory as it takes. Of thousands of connections that each had a large buffer for a moment the
/// heap would keep holes between what is left of them.
fn try_read_little(stream: &TcpStream, buffer: &mut BytesMut) -> Result<usize> {
    let mut little = [0; LITTLE];
    let read = stream.try_read(&mut little)?;
    buffer.extend_from_slice(little.get(..read).unwrap_or_default());
    if read < LITTLE {
        return Ok(read);
    }
    buffer.reserve(READ);
    // That the stream has ended or failed is seen again.
    Ok(read + stream.try_read_buf(buffer).unwrap_or(0))
}

impl Encrypted {
    fn try_read(&mut self, buffer: &mut BytesMut) -> Result<usize> {
        let (io, session) = self.stream.get_mut();
        self.more = true;
        for _ in 0..RECORDS {
            let mut plain = session.reader();
            match plain.fill_buf() {
                Ok(chunk) => {
                    let read = chunk.len();
                    buffer.extend_from_slice(chunk);
                    plain.consume(read);
                    return Ok(read);
                }
                // Where a document is cut its framing tells.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if let Err(error) = session.read_tls(&mut Tried(io)) {
                self.more = false;
                return Err(error);
            }
            session.process_new_packets().map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))?;
        }
        // Much came that carries nothing: others get their turn.
        Err(ErrorKind::WouldBlock.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.stream).poll_shutdown(cx),
        }
    }
}

/// A TCP stream below TLS: its first bytes are read already, and during the
/// handshake only so many may come.
pub(crate) struct Metered {
    tcp: Begun<TcpStream>,
    left: usize,
}

impl Metered {
    pub(crate) fn new(begun: Bytes, tcp: TcpStream, most: usize) -> Self {
        Self { tcp: Begun::new(begun, tcp), left: most }
    }

    /// Lets anything through from now on.
    pub(crate) fn open(&mut self) {
        self.left = usize::MAX;
    }

    fn meter(&mut self, read: usize) -> Result<()> {
        self.left = self.left.saturating_sub(read);
        if self.left == 0 { Err(std::io::Error::new(ErrorKind::InvalidData, "the handshake is too long")) } else { Ok(()) }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        Poll::Ready(self.meter(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Reads what is there, without waiting.
struct Tried<'a>(&'a mut Metered);

impl Read for Tried<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let begun = &mut self.0.tcp.begun;
        if begun.is_empty() {
            return self.0.tcp.inner.try_read(bytes);
        }
        let read = begun.len().min(bytes.len());
        bytes.iter_mut().zip(begun.split_to(read)).for_each(|(to, from)| *to = from);
        Ok(read)
    }
}

/// A stream whose first bytes are read already.
pub(crate) struct Begun<S> {
    begun: Bytes,
    inner: S,
}

impl<S> Begun<S> {
    pub(crate) fn new(begun: Bytes, inner: S) -> Self {
        Self { begun, inner }
    }

    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let read = self.begun.len().min(buffer.remaining());
        buffer.put_slice(&self.begun.split_to(read));
        if self.begun.is_empty() {
            // The memory goes with its last byte.
            self.begun = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
