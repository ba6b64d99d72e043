//! A second copy of each row of what people set up and of what came in besides
//! readings: a bit that flips in either makes them differ.
//!
//! Triggers of the file keep the copies, so that whoever changes a row changes its
//! copy as well: the release before, which knows nothing of them, and a person with
//! a shell. Readings, rollups and the audit trail have checksums, copies and sums of
//! their own; of a mail's and a refused document's bytes a checksum is copied.

use std::fmt::Display;

use rusqlite::{Connection, Row};

use super::check::key;
use crate::error::StoreError;

/// A table whose rows have copies.
pub(super) struct Copied {
    pub(super) table: &'static str,
    /// The columns by which a row is named.
    key: &'static [&'static str],
    /// The others, at most [`COLUMNS`].
    columns: &'static [&'static str],
    /// Which of its rows; all where it is empty. `@` stands for the row.
    only: &'static str,
    /// The column that is too long to be copied and has a checksum, `crc`, instead.
    summed: &'static str,
    /// Whether looking at all of it takes a while.
    pub(super) is_large: bool,
}

const fn copied(table: &'static str, key: &'static [&'static str], columns: &'static [&'static str]) -> Copied {
    Copied { table, key, columns, only: "", summed: "", is_large: false }
}

/// Columns of a copy, called c0, c1 and so on; a table uses as many as it has.
const COLUMNS: usize = 12;

pub(super) const COPIED: &[Copied] = &[
    // The other two counters change with every commit, and their values mean nothing.
    Copied { only: "@.name NOT IN ('config', 'data')", ..copied("counter", &["name"], &["value"]) },
    copied("setting", &["name"], &["value"]),
    copied("location", &["id"], &["name", "zone", "latitude", "longitude", "installed_kwp"]),
    copied("gateway", &["number"], &["id", "label", "state", "first_seen"]),
    copied("placement", &["gateway", "start"], &["until", "location"]),
    copied("credential", &["id"], &["gateway", "digest", "created", "revoked"]),
    copied("sensor", &["gateway", "id"], &["label", "role", "role_chosen", "rated_w"]),
    copied("series", &["gateway", "slot"], &["sensor", "metric", "unit", "kind", "quantity", "chosen"]),
    copied("customer", &["id"], &["name", "email"]),
    copied("ownership", &["id"], &["customer", "gateway", "start", "until"]),
    copied("user", &["id"], &["email", "name", "role", "customer", "password_hash", "created"]),
    copied("record", &["kind", "id"], &["body"]),
    Copied {
        summed: "message",
        is_large: true,
        ..copied(
            "outbox",
            &["id"],
            &[
                "report",
                "period",
                "recipient",
                "subject",
                "message_id",
                "crc",
                "created",
                "state",
                "attempts",
                "due",
                "outcome",
                "sent",
            ],
        )
    },
    Copied {
        summed: "raw",
        is_large: true,
        ..copied("quarantine", &["id"], &["received", "gateway", "address", "code", "reason", "bytes", "crc", "trusted"])
    },
];

impl Copied {
    /// The key of a row in one text. No key holds fractions, which a later release may
    /// spell otherwise.
    fn key_of(&self, row: &str) -> String {
        let quoted: Vec<String> = self.key.iter().map(|column| format!("quote({row}.{column})")).collect();
        quoted.join("||' '||")
    }

    fn columns_of(&self, row: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("{row}.{column}")).collect();
        columns.join(", ")
    }

    /// The columns of a copy that this table uses.
    fn copies(&self, row: &str) -> String {
        let columns: Vec<String> = (0..self.columns.len()).map(|number| format!("{row}c{number}")).collect();
        columns.join(", ")
    }

    fn only_of(&self, row: &str, word: &str) -> String {
        if self.only.is_empty() { String::new() } else { format!("{word} {} ", self.only.replace('@', row)) }
    }

    /// The triggers that keep the copies, and the copies of the rows that there are.
    fn step(&self) -> String {
        let Self { table, .. } = self;
        let (new_key, old_key) = (self.key_of("NEW"), self.key_of("OLD"));
        let (new, old, copies) = (self.columns_of("NEW"), self.columns_of("OLD"), self.copies(""));
        let (when_new, when_old) = (self.only_of("NEW", "WHEN"), self.only_of("OLD", "WHEN"));
        let (new_now, unsummed) = match self.summed {
            "" => (new.clone(), String::new()),
            bytes => {
                // The release before changes the bytes and leaves the checksum.
                let stale = format!("NEW.crc IS NOT NULL AND NEW.crc IS OLD.crc AND NEW.{bytes} IS NOT OLD.{bytes}");
                let new_now = new.replace("NEW.crc", &format!("CASE WHEN {stale} THEN NULL ELSE NEW.crc END"));
                (new_now, format!("\n    UPDATE {table} SET crc = NULL WHERE id = NEW.id AND {stale};"))
            }
        };
        format!(
            "
CREATE TRIGGER {table}_added AFTER INSERT ON {table} {when_new}BEGIN
    DELETE FROM copy WHERE tab = '{table}' AND key = {new_key};
    INSERT INTO copy (tab, key, {copies}) VALUES ('{table}', {new_key}, {new});
END;
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} {when_old}BEGIN
    UPDATE copy SET suspect = 1 WHERE tab = '{table}' AND key = {old_key} AND ({copies}) IS NOT ({old});
    UPDATE copy SET key = {new_key}, ({copies}) = ({new_now}) WHERE tab = '{table}' AND key = {old_key};{unsummed}
END;
CREATE TRIGGER {table}_removed AFTER DELETE ON {table} {when_old}BEGIN
    DELETE FROM copy WHERE tab = '{table}' AND key = {old_key};
END;
{};
",
            self.fill()
        )
    }

    /// Copies all rows.
    fn fill(&self) -> String {
        let Self { table, .. } = self;
        let (key, columns, copies, only) =
            (self.key_of(table), self.columns_of(table), self.copies(""), self.only_of(table, "WHERE"));
        format!("INSERT INTO copy (tab, key, {copies}) SELECT '{table}', {key}, {columns} FROM {table} {only}")
            .trim_end()
            .to_owned()
    }

    /// Tells of each row that differs from its copy, has none, or of which only the
    /// copy is left.
    pub(super) fn compare(&self, connection: &Connection, mut tell: impl FnMut(String, String)) -> Result<(), StoreError> {
        let Self { table, columns, .. } = self;
        let (of_row, row_key) = (self.columns_of(table), self.key_of(table));
        let (copies, and_only) = (self.copies("copy."), self.only_of(table, "AND"));
        let names: Vec<String> = self.key.iter().map(|column| format!("{table}.{column}")).collect();
        let differs: Vec<String> =
            (0..).zip(*columns).map(|(number, column): (usize, _)| format!("copy.c{number} IS NOT {table}.{column}")).collect();
        let sql = format!(
            "SELECT {}, copy.key IS NULL, copy.suspect, {} FROM {table} LEFT JOIN copy ON tab = '{table}' AND copy.key = {row_key}
             WHERE (copy.key IS NULL OR copy.suspect <> 0 OR ({copies}) IS NOT ({of_row})) {and_only}",
            names.join(", "),
            differs.join(", ")
        );
        let mut query = connection.prepare(&sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            tell(key(row, self.key.len()), self.problem(row)?);
        }
        let only = self.only_of(table, "WHERE");
        let gone = format!("SELECT key FROM copy WHERE tab = '{table}' AND key NOT IN (SELECT {row_key} FROM {table} {only})");
        let mut query = connection.prepare(&gone)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            tell(key(row, 1).replace("\\'", ""), "only its copy is left".to_owned());
        }
        Ok(())
    }

    /// What is wrong with a row: its key, whether it has no copy, whether it was
    /// changed while they differed, and of each column whether it differs.
    fn problem(&self, row: &Row<'_>) -> Result<String, StoreError> {
        let first = self.key.len() + 2;
        if row.get(first - 2)? {
            return Ok("it has no copy".to_owned());
        }
        let mut differ = Vec::new();
        for (number, column) in self.columns.iter().enumerate() {
            if row.get(first + number)? {
                differ.push(*column);
            }
        }
        if differ.is_empty() {
            return Ok("it was changed while it differed from its copy".to_owned());
        }
        Ok(format!("it differs from its copy in {}", differ.join(", ")))
    }

    /// Copies the rows anew that differ from their copies, as they stand.
    pub(super) fn accept(&self, connection: &Connection) -> Result<(), StoreError> {
        let Self { table, .. } = self;
        let (row_key, of_row, copies) = (self.key_of(table), self.columns_of(table), self.copies("copy."));
        let (only, and_only) = (self.only_of(table, "WHERE"), self.only_of(table, "AND"));
        connection.execute_batch(&format!(
            "DELETE FROM copy WHERE tab = '{table}' AND (suspect <> 0 OR key NOT IN (SELECT {row_key} FROM {table} {only})
                 OR key IN (SELECT copy.key FROM {table} JOIN copy ON tab = '{table}' AND copy.key = {row_key}
                            WHERE ({copies}) IS NOT ({of_row}) {and_only}))"
        ))?;
        let missing = format!("{row_key} NOT IN (SELECT key FROM copy WHERE tab = '{table}')");
        let word = if only.is_empty() { "WHERE" } else { "AND" };
        connection.execute(&format!("{} {word} {missing}", self.fill()), [])?;
        Ok(())
    }
}

/// The statements that bring copies into a file.
pub(super) fn step() -> String {
    let columns: Vec<String> = (0..COLUMNS).map(|number| format!("c{number}")).collect();
    let mut step = format!(
        "
ALTER TABLE outbox ADD COLUMN crc INTEGER;
ALTER TABLE quarantine ADD COLUMN crc INTEGER;
CREATE TABLE copy (
    tab TEXT NOT NULL, key TEXT NOT NULL, suspect INTEGER NOT NULL DEFAULT 0, {}, PRIMARY KEY (tab, key)
) WITHOUT ROWID;
",
        columns.join(", ")
    );
    for copied in COPIED {
        step.push_str(&copied.step());
    }
    step
}

/// CRC-32 over an id and the bytes that belong to it.
pub(super) fn checksum(id: &str, bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(id.as_bytes());
    sum.update(&[0]);
    sum.update(bytes);
    sum.finalize()
}

/// Fails where bytes are not what their checksum says. The release before wrote none.
pub(super) fn verify(id: &str, bytes: &[u8], crc: Option<i64>, what: impl Display) -> Result<(), StoreError> {
    if crc.is_some_and(|crc| crc != i64::from(checksum(id, bytes))) {
        return Err(StoreError::Damaged(format!("{what} {id} does not match its checksum")));
    }
    Ok(())
}
