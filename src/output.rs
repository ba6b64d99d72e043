//! Standard output of commands that print much: buffered, and a reader that has
//! seen enough ends them quietly.

use std::io::{BufWriter, ErrorKind, Stdout};

/// Standard output, written in blocks.
pub(crate) fn standard() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 * 1024, std::io::stdout())
}

/// Whether whoever reads has gone away, as `head` does; any other failure to
/// write stays one.
pub(crate) fn ended(written: std::io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(anyhow::Error::new(error).context("write to standard output")),
    }
}
