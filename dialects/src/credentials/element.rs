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
        if let Some(end) = (depth == 0).then(|| find_end(bytes.get(..next).unwrap_or_default(), at, b"-->")).flatten() {
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
    let end = (depth == 0).then(|| find_end(bytes, at, b"-->")).flatten().unwrap_or(bytes.len());
    Content { end, has_elements }
}

/// Where the first such byte stands from a byte on.
fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    memchr::memchr(wanted, bytes.get(from..)?).map(|at| from + at)
}

/// Where the first mark stands from a byte on that has its only `>` at its end. Most are
/// near: no searcher is worth its making.
fn find_end(bytes: &[u8], from: usize, mark: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let mut ends = memchr::memchr_iter(b'>', rest).filter_map(|at| (at + 1).checked_sub(mark.len()));
    ends.find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(mark))).map(|at| from + at)
}

/// Behind the first such mark from a byte on, else the end of all.
fn behind(bytes: &[u8], from: usize, mark: &[u8]) -> usize {
    find_end(bytes, from, mark).map_or(bytes.len(), |at| at + mark.len())
}
