//! Standard output of commands that print much: buffered, and a reader that has
//! seen enough ends them quietly. And standard error, where a command has something to
//! say beside its result.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write as _};

use serde::Serialize;

/// Standard output, written in blocks.
pub(crate) fn standard() -> BufWriter<Stdout> {
    BufWriter::with_capacity(64 * 1024, io::stdout())
}

/// Whether whoever reads has gone away, as `head` does; any other failure to
/// write stays one.
pub(crate) fn ended(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(anyhow::Error::new(error).context("write to standard output")),
    }
}

/// Prints a line each, until there are no more or whoever reads has gone away.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mut out = standard();
    for line in lines {
        if ended(writeln!(out, "{line}"))? {
            return Ok(());
        }
    }
    ended(out.flush()).map(drop)
}

/// Says on standard error what is wrong, where the command goes on or ends with more
/// than that.
pub(crate) fn complain(message: &str) {
    // Where nobody hears it there is nobody to tell.
    let _ = writeln!(io::stderr(), "heliograph: {message}");
}

/// What is listed as a line each: for people, or for programs as JSON.
pub(crate) fn listed<T: Serialize>(items: &[T], json: bool, describe: impl Fn(&T) -> String) -> anyhow::Result<()> {
    let line = |item: &T| if json { serde_json::to_string(item) } else { Ok(describe(item)) };
    lines(items.iter().map(line).collect::<Result<Vec<_>, _>>()?)
}
