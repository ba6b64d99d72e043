//! Cuts a byte stream into documents: a document ends where its root element
//! ends. Resumable at every byte; each byte is looked at once.

mod scan;

use heliograph_domain::RefusalCode;

use crate::credentials::mask_text;
use crate::limits::Limits;
use scan::{Fault, Scan};

/// What a [`Framer`] found in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Nothing complete yet: read more. `skip` bytes at the front are white
    /// space or NUL between documents and may be dropped from the buffer;
    /// undropped, they are looked at again in each call.
    Incomplete {
        /// How many bytes at the front are not part of a document.
        skip: usize,
    },
    /// `buffer[start..end]` is a document. Drop `end` bytes from the front before
    /// the next call.
    Document {
        /// The first byte of the document.
        start: usize,
        /// The first byte after it.
        end: usize,
    },
}

/// Why a stream can't be cut any further. The stream is lost: the place of the
/// next document can't be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FrameError {
    /// `malformed`, `too-large`, `too-deep`, `doctype` or `encoding`.
    pub code: RefusalCode,
    /// What is wrong and where, by byte and line of the document; generated
    /// keys in it are masked.
    pub message: String,
}

/// Cuts a byte stream into documents, at a cost linear in the bytes however they
/// are cut into reads, one byte at a time too.
///
/// White space and NUL between documents are skipped. A byte order mark, an XML
/// declaration, comments, processing instructions and a DOCTYPE belong to the
/// document that follows; only where a declaration, a mark or a NUL comes after
/// comments do those count as the tail of what was before, and are skipped.
///
/// Checked here is what could make one document swallow the next: quotes, that
/// tags nest and end tags equal their start tags, that nothing but white space
/// stands outside a root, and the [`Limits`]. The rest of well-formedness is
/// checked by [`decode`](crate::decode).
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    scan: Scan,
    begun: bool,
    lost: Option<FrameError>,
}

impl Framer {
    /// A framer at the beginning of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, scan: Scan::default(), begun: false, lost: None }
    }

    /// Looks for the end of the first document in `buffer`: the bytes that are
    /// not consumed yet. Between calls only append to it and drop what a
    /// [`Frame`] says from its front.
    ///
    /// # Errors
    /// When the stream can't be cut or breaks a limit; then in every later call
    /// the same.
    pub fn next(&mut self, buffer: &[u8]) -> Result<Frame, FrameError> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        let skip = buffer.iter().take_while(|byte| is_space(**byte) || **byte == 0).count();
        let unread = buffer.get(skip..).unwrap_or_default();
        self.begun = !unread.is_empty();
        let within = unread.get(..self.limits.document_bytes).unwrap_or(unread);
        match self.scan.advance(within, &self.limits) {
            Ok(Some(end)) => Ok(self.document(skip, end)),
            Ok(None) if within.len() == unread.len() => Ok(Frame::Incomplete { skip }),
            Ok(None) => Err(self.lose(within, &self.document_too_large())),
            Err(fault) => Err(self.lose(within, &fault)),
        }
    }

    /// Whether bytes of a document have been seen whose end has not.
    #[must_use]
    pub fn in_document(&self) -> bool {
        self.begun
    }

    /// Whether the stream may end here without a document being cut: since the
    /// last one there was nothing but white space, whole comments and whole
    /// processing instructions.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        !self.begun || self.scan.only_trailers()
    }

    fn document(&mut self, skip: usize, end: usize) -> Frame {
        let start = skip + self.scan.document_start();
        self.scan.restart();
        self.begun = false;
        Frame::Document { start, end: skip + end }
    }

    fn document_too_large(&self) -> Fault {
        let limit = self.limits.document_bytes;
        Fault { code: RefusalCode::TooLarge, at: limit, what: format!("document is larger than {limit} bytes") }
    }

    fn lose(&mut self, seen: &[u8], fault: &Fault) -> FrameError {
        let start = self.scan.document_start();
        let before = seen.get(start..fault.at).unwrap_or_default();
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let message = format!("{} (byte {}, line {line})", fault.what, before.len());
        let error = FrameError { code: fault.code, message: mask_text(&message) };
        self.lost = Some(error.clone());
        error
    }
}

pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
