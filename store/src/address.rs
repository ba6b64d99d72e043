//! Whom an address stands for.

/// An address without its port, which says nothing. What SQLite compares itself, it
/// trims alike.
pub(crate) fn host_of(address: &str) -> &str {
    address.trim_end_matches(|c: char| c.is_ascii_digit())
}
