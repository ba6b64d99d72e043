//! Reports as files: one description of the tables of a page, of which CSV, XLSX
//! and JSON are made.
//!
//! An [`Export`] holds what a report's page shows: a head (what, where, when), the
//! figures, and tables. A cell is rounded once, when the description is made, so
//! that all formats say the same digits. Energies are in Wh and powers in W, three
//! decimals; a `…_source` says where an energy comes from, `covered` how much of
//! the expected time was measured (0 to 1), `estimated` whether part of an energy
//! is right in sum but not in time. What is not known is empty, in JSON `null`.
//!
//! How much a file holds is bounded by what a report does: at most 121 bars, 2,000
//! series a gateway, ten years of gaps.

mod csv;
mod json;
mod tables;
mod xlsx;

use heliograph_domain::{Period, Timestamp, Zone};
use jiff::civil;

use crate::energy::Energy;

pub use csv::neutral;

/// A kind of file that a report can be had as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The bars alone, as RFC 4180 has it: UTF-8, CRLF, one heading row.
    Csv,
    /// A workbook with a sheet for each table.
    Xlsx,
    /// One JSON object.
    Json,
}

impl Format {
    /// Every format, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Xlsx, Self::Json];

    /// What a file's name ends in, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Json => "json",
        }
    }

    /// What to call it in front of people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Xlsx => "XLSX",
            Self::Json => "JSON",
        }
    }

    /// Its media type (RFC 7111, ECMA-376, RFC 8259).
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Json => "application/json",
        }
    }
}

/// A file that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The workbook does not hold what it should.
    #[error("write the workbook")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
    /// The object cannot be written.
    #[error("write the object")]
    Object(#[from] serde_json::Error),
}

/// A report as tables. It owns what it says, so that a file can be made of it on
/// another thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// What the file is called, without its extension.
    stem: String,
    zone: Zone,
    made: Timestamp,
    head: Vec<Fact>,
    figures: Vec<Fact>,
    /// The bars come first.
    tables: Vec<Table>,
}

impl Export {
    /// The file.
    ///
    /// # Errors
    /// When its format cannot hold what the report says.
    pub fn file(&self, format: Format) -> Result<Vec<u8>, ExportError> {
        match format {
            Format::Csv => Ok(self.csv().into_bytes()),
            Format::Xlsx => self.xlsx(),
            Format::Json => self.json(),
        }
    }

    /// A name that is safe in a header and on any disk.
    #[must_use]
    pub fn file_name(&self, format: Format) -> String {
        format!("{}.{}", self.stem, format.extension())
    }
}

/// A named value.
#[derive(Debug, Clone, PartialEq)]
struct Fact {
    name: String,
    cell: Cell,
}

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    name: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// What a column holds, and of which sensor where it is of one.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    name: String,
    of: Option<Owner>,
}

/// The sensor that a column is of.
#[derive(Debug, Clone, PartialEq)]
struct Owner {
    id: String,
    name: String,
}

/// One value, as all formats say it.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Unknown,
    Text(String),
    Number {
        /// Rounded already.
        value: f64,
        decimals: u8,
    },
    Flag(bool),
    /// An instant, told in UTC.
    Utc(Timestamp),
    /// An instant, told in the report's zone.
    Local(Timestamp),
    Day(civil::Date),
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number with so many decimals; `Unknown` where it is none.
    fn number(value: impl Into<Option<f64>>, decimals: u8) -> Self {
        let rounded = |value: f64| digits(value, decimals).parse().ok().filter(|value: &f64| value.is_finite());
        // Adding zero takes the sign from what rounds to nothing.
        value.into().and_then(rounded).map_or(Self::Unknown, |value| Self::Number { value: value + 0.0, decimals })
    }

    fn local(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Unknown, Self::Local)
    }

    fn energy(energy: Option<Energy>) -> Self {
        Self::number(energy.map(|energy| energy.watt_hours), WH_DECIMALS)
    }

    fn source(energy: Option<Energy>) -> Self {
        energy.map_or(Self::Unknown, |energy| Self::text(energy.source.label()))
    }
}

const WH_DECIMALS: u8 = 3;
const W_DECIMALS: u8 = 3;
const RATIO_DECIMALS: u8 = 4;

/// A number as it is written: `.` before its decimals, nothing between thousands.
fn digits(value: f64, decimals: u8) -> String {
    format!("{value:.decimals$}", decimals = usize::from(decimals))
}

/// An instant by RFC 3339, with the offset that the zone has then.
fn rfc3339(time: Timestamp, zone: &Zone) -> String {
    time.to_jiff().to_zoned(zone.to_jiff().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Letters, digits and dashes of a name with the days of its period; `otherwise`
/// where the name has none of them.
fn stem(name: &str, otherwise: &str, period: &Period) -> String {
    let chosen = if name.chars().any(|c| c.is_ascii_alphanumeric()) { name } else { otherwise };
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let safe: String = chosen.chars().take(MAX_STEM).map(safe).collect();
    format!("{safe}_{}_{}", period.first(), period.last())
}

/// Some disks hold 255 bytes.
const MAX_STEM: usize = 100;

#[cfg(test)]
mod tests {
    use heliograph_domain::PeriodKind;

    use super::*;

    #[test]
    fn file_names_hold_nothing_that_a_header_or_disk_would_take_wrong() {
        let day = Period::around(PeriodKind::Day, civil::date(2026, 11, 20));
        assert_eq!(stem("../a\"b\r\nSet-Cookie: x", "id", &day), "___a_b__Set-Cookie__x_2026-11-20_2026-11-20");
        assert_eq!(stem("屋根", "gw-1", &day), "gw-1_2026-11-20_2026-11-20");
        assert_eq!(stem(&"a".repeat(300), "id", &day).len(), MAX_STEM + "_2026-11-20_2026-11-20".len());
    }

    #[test]
    fn numbers_are_rounded_once_and_have_no_minus_that_says_nothing() {
        assert_eq!(Cell::number(1.000_5, 3), Cell::Number { value: 1.0, decimals: 3 });
        assert_eq!(Cell::number(f64::NAN, 3), Cell::Unknown);
        assert_eq!(Cell::number(None, 3), Cell::Unknown);
        let Cell::Number { value, .. } = Cell::number(-0.000_1, 3) else { panic!("a number") };
        assert!(value.is_sign_positive());
    }
}
