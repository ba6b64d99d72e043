//! What is deleted is to be gone from the file, not only from its tables.

use rusqlite::Connection;

/// Sets a connection up: what is deleted or replaced is overwritten on the pages that
/// are written anyway. Pages that become free as a whole keep what is on them.
pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "secure_delete", "FAST")
}

/// Runs a job whose deletions are overwritten on pages that become free, too: for
/// what is personal. Zeroing all pages that retention frees would cost too much.
pub(super) fn wholly<T, E: From<rusqlite::Error>>(connection: &Connection, job: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    connection.pragma_update(None, "secure_delete", true)?;
    let done = job();
    set_up(connection)?;
    done
}
