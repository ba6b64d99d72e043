//! What stands inside an element, in documents that may be broken anywhere.

/// The content of an element from where it begins.
pub(super) struct Content {
    /// Where it ends.
    pub(super) end: usize,
    /// Whether elements stand in it.
    pub(super) has_elements: bool,
}

/// Finds the end of the content that begins at a byte: the end tag of its element,
/// whatever name it has there, else the end of the bytes. A section, a comment or an
/// instruction is passed over as a whole; `-->` outside of one tells that all of this
/// stands in a comment, and ends with it.
pub(super) fn content(bytes: &[u8], from: usize) -> Content {
    let (mut at, mut depth, mut has_elements) = (from, 0_usize, false);
    while let Some(next) = find(bytes, at, b'<') {
        if let Some(end) = (depth == 0).then(|| comment_end(bytes.get(..next).unwrap_or_default(), at)).flatten() {
            return Content { end, has_elements };
        }
        let rest = bytes.get(next..).unwrap_or_default();
        at = match rest {
            _ if rest.starts_with(b"<![CDATA[") => behind(bytes, next + 9, b"]]>"),
            _ if rest.starts_with(b"<!--") => behind(bytes, next + 4, b"-->"),
            _ if rest.starts_with(b"<?") => behind(bytes, next + 2, b"?>"),
            _ if rest.starts_with(b"</") => {
                let Some(less) = depth.checked_sub(1) else { return Content { end: next, has_elements } };
                depth = less;
                next + 2
            }
            _ => {
                let behind = find(bytes, next + 1, b'>').map_or(bytes.len(), |at| at + 1);
                has_elements = true;
                depth += usize::from(!bytes.get(..behind).unwrap_or_default().ends_with(b"/>"));
                behind
            }
        };
    }
    let end = (depth == 0).then(|| comment_end(bytes, at)).flatten().unwrap_or(bytes.len());
    Content { end, has_elements }
}

/// Where the first such byte stands from a byte on.
fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    memchr::memchr(wanted, bytes.get(from..)?).map(|at| from + at)
}

/// Where the first `-->` stands from a byte on.
fn comment_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let mut ends = memchr::memchr_iter(b'>', rest).filter_map(|at| at.checked_sub(2));
    ends.find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(b"--"))).map(|at| from + at)
}

/// Behind the first of these bytes from a byte on, else the end of all.
fn behind(bytes: &[u8], from: usize, wanted: &[u8]) -> usize {
    let found = bytes.get(from..).and_then(|rest| memchr::memmem::find(rest, wanted));
    found.map_or(bytes.len(), |at| from + at + wanted.len())
}
