//! The tables of an archive: what every backend gives and takes.

use serde_json::Value;

use crate::error::StoreError;

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// A whole number; instants are milliseconds since 1970.
    Int,
    /// A finite number, written as text so that it reads back bit for bit.
    Real,
    Text,
    /// Hexadecimal digits.
    Bytes,
    /// The values of one instant: `number=value`, separated by spaces.
    Values,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Numbers of series and values, by number.
    Values(Vec<(u32, f64)>),
}

/// A table of an archive.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Type)],
}

use Type::{Bytes, Int, Real, Text, Values};

/// Every table, in an order in which nothing refers to what comes later.
pub(crate) const ALL: &[Table] = &[
    Table { name: "settings", columns: &[("name", Text), ("value", Text)] },
    Table { name: "sealed", columns: &[("until", Int)] },
    Table {
        name: "locations",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("zone", Text),
            ("latitude", Real),
            ("longitude", Real),
            ("installed_kwp", Real),
        ],
    },
    Table {
        name: "gateways",
        columns: &[
            ("id", Text),
            ("label", Text),
            ("state", Text),
            ("first_seen", Int),
            ("last_seen", Int),
            ("last_address", Text),
            ("documents", Int),
            ("stamp", Int),
        ],
    },
    Table { name: "placements", columns: &[("gateway", Text), ("from", Int), ("until", Int), ("location", Text)] },
    Table {
        name: "credentials",
        columns: &[("id", Text), ("gateway", Text), ("digest", Bytes), ("created", Int), ("revoked", Int)],
    },
    Table {
        name: "sensors",
        columns: &[("gateway", Text), ("id", Text), ("label", Text), ("role", Text), ("role_chosen", Int), ("rated_w", Real)],
    },
    Table {
        name: "series",
        columns: &[
            ("gateway", Text),
            ("number", Int),
            ("sensor", Text),
            ("metric", Text),
            ("unit", Text),
            ("kind", Text),
            ("quantity", Text),
            ("chosen", Int),
            ("first", Int),
            ("last", Int),
            ("latest", Int),
            ("latest_value", Real),
        ],
    },
    Table { name: "customers", columns: &[("id", Text), ("name", Text), ("email", Text)] },
    Table { name: "commissions", columns: &[("id", Text), ("customer", Text), ("gateway", Text), ("from", Int), ("until", Int)] },
    Table {
        name: "users",
        columns: &[
            ("id", Text),
            ("email", Text),
            ("name", Text),
            ("role", Text),
            ("customer", Text),
            ("password_hash", Text),
            ("created", Int),
        ],
    },
    // Points, bindings, arrays, expected yields, corrections, mappings and the like.
    Table { name: "records", columns: &[("kind", Text), ("id", Text), ("body", Text)] },
    Table {
        name: "mails",
        columns: &[
            ("id", Text),
            ("report", Text),
            ("period", Text),
            ("recipient", Text),
            ("subject", Text),
            ("message_id", Text),
            ("message", Bytes),
            ("created", Int),
            ("state", Text),
            ("attempts", Int),
            ("due", Int),
            ("outcome", Text),
            ("sent", Int),
        ],
    },
    Table {
        name: "quarantine",
        columns: &[
            ("id", Text),
            ("received", Int),
            ("gateway", Text),
            ("address", Text),
            ("code", Text),
            ("reason", Text),
            ("raw", Bytes),
            ("trusted", Int),
        ],
    },
    Table {
        name: "audit",
        columns: &[
            ("seq", Int),
            ("at", Int),
            ("actor", Text),
            ("action", Text),
            ("object", Text),
            ("detail", Text),
            ("hash", Bytes),
        ],
    },
    Table { name: "audit_head", columns: &[("head", Text)] },
    Table { name: "marks", columns: &[("gateway", Text), ("start", Int)] },
    Table {
        name: "rollups",
        columns: &[
            ("gateway", Text),
            ("series", Int),
            ("start", Int),
            ("count", Int),
            ("min", Real),
            ("max", Real),
            ("first", Real),
            ("last", Real),
            ("covered_ms", Int),
            ("positive", Real),
            ("negative", Real),
            ("increase", Real),
            ("flags", Int),
        ],
    },
    Table {
        name: "spans",
        columns: &[
            ("gateway", Text),
            ("series", Int),
            ("step", Text),
            ("start", Int),
            ("until", Int),
            ("zone", Text),
            ("count", Int),
            ("min", Real),
            ("max", Real),
            ("first", Real),
            ("last", Real),
            ("covered_ms", Int),
            ("positive", Real),
            ("negative", Real),
            ("increase", Real),
            ("flags", Int),
        ],
    },
    Table { name: "readings", columns: &[("gateway", Text), ("time", Int), ("values", Values)] },
];

impl Table {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|table| table.name == name)
    }

    /// A row from its line.
    pub(crate) fn parse(&self, line: &str) -> Result<Vec<Cell>, StoreError> {
        let bad = || StoreError::Archive(format!("a row of {} cannot be read", self.name));
        let values: Vec<Value> = serde_json::from_str(line).map_err(|_| bad())?;
        if values.len() != self.columns.len() {
            return Err(bad());
        }
        values.into_iter().zip(self.columns).map(|(value, (_, kind))| Cell::parse(value, *kind).ok_or_else(bad)).collect()
    }
}

impl Cell {
    fn parse(value: Value, kind: Type) -> Option<Self> {
        match (kind, value) {
            (_, Value::Null) => Some(Self::Null),
            (Int, Value::Number(number)) => number.as_i64().map(Self::Int),
            (Text, Value::String(text)) => Some(Self::Text(text)),
            (Real, Value::String(text)) => text.parse().ok().map(Self::Real),
            (Bytes, Value::String(text)) => from_hex(&text).map(Self::Bytes),
            (Values, Value::String(text)) => parse_values(&text).map(Self::Values),
            _ => None,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => (*number).into(),
            Self::Real(number) => number.to_string().into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => to_hex(bytes).into(),
            Self::Values(values) => {
                let values: Vec<String> = values.iter().map(|(number, value)| format!("{number}={value}")).collect();
                values.join(" ").into()
            }
        }
    }
}

fn parse_values(text: &str) -> Option<Vec<(u32, f64)>> {
    let mut values: Vec<(u32, f64)> = Vec::new();
    for part in text.split_ascii_whitespace() {
        let (number, value) = part.split_once('=')?;
        let (number, value) = (number.parse().ok()?, value.parse().ok()?);
        if values.last().is_some_and(|(before, _)| *before >= number) {
            return None;
        }
        values.push((number, value));
    }
    Some(values)
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

/// Bytes from hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cells_read_back_bit_for_bit(bits in any::<u64>(), int in any::<i64>(), text in ".*", bytes in any::<Vec<u8>>()) {
            let real = f64::from_bits(bits);
            prop_assume!(real.is_finite());
            let cells = [
                (Real, Cell::Real(real)),
                (Int, Cell::Int(int)),
                (Text, Cell::Text(text)),
                (Bytes, Cell::Bytes(bytes)),
                (Values, Cell::Values(vec![(0, real), (7, -0.0)])),
                (Text, Cell::Null),
            ];
            for (kind, cell) in cells {
                let read = Cell::parse(cell.to_json(), kind).unwrap();
                prop_assert_eq!(format!("{:?}", read), format!("{:?}", cell));
            }
        }

        #[test]
        fn any_line_is_read_or_refused(line in ".*") {
            drop(ALL[0].parse(&line));
            drop(parse_values(&line));
            drop(from_hex(&line));
        }
    }
}
