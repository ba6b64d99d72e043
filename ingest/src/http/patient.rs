//! A stream whose peer has to read its answers: hyper itself waits for ever.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Writes as long as something is taken now and then.
pub(super) struct Patient<W> {
    inner: W,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<W> Patient<W> {
    pub(super) fn new(inner: W, patience: Duration) -> Self {
        Self { inner, patience, waiting: None }
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }

    /// What came of a try; an error where nothing was taken for too long.
    fn bound<T>(&mut self, cx: &mut Context<'_>, tried: Poll<Result<T>>) -> Poll<Result<T>> {
        if tried.is_ready() {
            self.waiting = None;
            return tried;
        }
        let until = Instant::now() + self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the peer reads no answers")))
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for Patient<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Patient<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let tried = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.bound(cx, tried)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let tried = Pin::new(&mut self.inner).poll_flush(cx);
        self.bound(cx, tried)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let tried = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.bound(cx, tried)
    }
}
