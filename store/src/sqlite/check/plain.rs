//! What must be true of single rows, in SQL.

use rusqlite::Connection;

use super::Findings;
use super::rows::key;
use crate::error::StoreError;

/// Rows that must not be there.
struct Wrong {
    table: &'static str,
    /// The columns by which a row is named.
    key: &'static str,
    columns: usize,
    /// True of a damaged row.
    is_wrong: &'static str,
    problem: &'static str,
}

/// Whoever reads a rollup passes these over.
const UNKNOWN_FLAG: &str = "flags NOT BETWEEN 0 AND 7";

const WRONG: &[Wrong] = &[
    Wrong {
        table: "counter",
        key: "name",
        columns: 1,
        is_wrong: "typeof(name) <> 'text' OR typeof(value) <> 'integer' OR (value < 0 AND name NOT IN ('sealed', 'clock_since', 'clock_last'))",
        problem: "it is no count",
    },
    Wrong {
        table: "lease",
        key: "name",
        columns: 1,
        is_wrong: "typeof(name) <> 'text' OR typeof(holder) <> 'text' OR typeof(until) <> 'integer'",
        problem: "it cannot be read",
    },
    Wrong {
        table: "session",
        key: "user, expires",
        columns: 2,
        is_wrong: "typeof(digest) <> 'blob' OR length(digest) <> 32 OR typeof(data) <> 'blob' OR typeof(expires) <> 'integer'",
        problem: "it cannot be read",
    },
    Wrong {
        table: "login_link",
        key: "user, expires",
        columns: 2,
        is_wrong: "typeof(digest) <> 'blob' OR length(digest) <> 32 OR typeof(expires) <> 'integer'",
        problem: "it cannot be read",
    },
    Wrong {
        table: "record",
        key: "kind, id",
        columns: 2,
        is_wrong: "(kind = 'key-end' AND id NOT IN (SELECT id FROM credential))
            OR (kind IN ('clock-correction', 'clock-samples') AND id NOT IN (SELECT id FROM gateway))
            OR (kind = 'presented' AND id NOT IN (SELECT id FROM quarantine))",
        problem: "what it belongs to is not there",
    },
    Wrong {
        table: "placement",
        key: "gateway, start",
        columns: 2,
        is_wrong: "until <= start",
        problem: "it ends before it begins",
    },
    Wrong { table: "ownership", key: "id", columns: 1, is_wrong: "until <= start", problem: "it ends before it begins" },
    Wrong {
        table: "series",
        key: "gateway, slot",
        columns: 2,
        is_wrong: "NOT EXISTS (SELECT 1 FROM sensor n WHERE n.gateway = series.gateway AND n.id = series.sensor)",
        problem: "its sensor is not there",
    },
    Wrong {
        table: "latest",
        key: "gateway",
        columns: 1,
        is_wrong: "gateway NOT IN (SELECT number FROM gateway)",
        problem: "its gateway is not there",
    },
    Wrong {
        table: "dirty",
        key: "gateway, start",
        columns: 2,
        is_wrong: "gateway NOT IN (SELECT number FROM gateway) OR typeof(start) <> 'integer' OR start % 900000 <> 0",
        problem: "it is no window of a gateway",
    },
    Wrong {
        table: "quarter",
        key: "key",
        columns: 1,
        is_wrong: "(key >> 32) NOT IN (SELECT number FROM gateway)",
        problem: "it belongs to no gateway",
    },
    Wrong {
        table: "rollup",
        key: "gateway, slot, start",
        columns: 3,
        is_wrong: "typeof(start) <> 'integer' OR start % 900000 <> 0 OR (packed IS NOT NULL AND packed IS NOT 1)
            OR NOT EXISTS (SELECT 1 FROM series s WHERE s.gateway = rollup.gateway AND s.slot = rollup.slot)",
        problem: "it is no window of a series",
    },
    Wrong {
        table: "rollup",
        key: "gateway, slot, start",
        columns: 3,
        is_wrong: UNKNOWN_FLAG,
        problem: "it has a flag that means nothing",
    },
    Wrong {
        table: "span",
        key: "gateway, slot, step, start",
        columns: 4,
        is_wrong: UNKNOWN_FLAG,
        problem: "it has a flag that means nothing",
    },
    Wrong {
        table: "span",
        key: "gateway, slot, step, start",
        columns: 4,
        is_wrong: "typeof(start) <> 'integer' OR typeof(until) <> 'integer' OR start % 900000 <> 0 OR until % 900000 <> 0
            OR until <= start OR step NOT IN ('day', 'month')
            OR NOT EXISTS (SELECT 1 FROM series s WHERE s.gateway = span.gateway AND s.slot = span.slot)",
        problem: "it is no day or month of a series",
    },
];

/// Looks for all of them.
pub(super) fn look(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    for wrong in WRONG {
        let Wrong { table, key: columns, is_wrong, .. } = wrong;
        let sql = format!("SELECT {columns} FROM {table} WHERE {is_wrong}");
        if let Err(error) = look_for(connection, findings, wrong, &sql) {
            findings.add_error(table, "", error);
        }
    }
    Ok(())
}

fn look_for(connection: &Connection, findings: &mut Findings, wrong: &Wrong, sql: &str) -> Result<(), StoreError> {
    let mut query = connection.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        findings.add(wrong.table, key(row, wrong.columns), wrong.problem);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use heliograph_domain::RollupFlags;

    #[test]
    fn the_flags_that_mean_something_are_those_that_are_read() {
        assert_eq!(RollupFlags::from_bits(u8::MAX).to_bits(), 7);
    }
}
