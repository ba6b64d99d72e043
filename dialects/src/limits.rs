//! How large a document may be.

/// Limits on documents. A [`Framer`](crate::Framer) refuses what exceeds them as
/// soon as it does; decoding has its own far ceilings (1,024 levels, 1,024
/// attributes a tag) for documents that never passed a framer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one document, with the comments and instructions before it.
    pub document_bytes: usize,
    /// Elements open at once; the root is the first.
    pub depth: usize,
    /// Attributes of one tag, namespace declarations included.
    pub attributes: usize,
    /// Bytes of one tag from `<` to `>`, and of a DOCTYPE.
    pub tag_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes: 8 << 20, depth: 32, attributes: 64, tag_bytes: 64 << 10 }
    }
}
