//! The bars of a report as CSV, for spreadsheets.

use ::csv::{Terminator, WriterBuilder};

use super::{Cell, Column, Export, Table, digits, rfc3339};

impl Export {
    /// The bars alone, a row each, under their heading row (RFC 4180, UTF-8, CRLF).
    ///
    /// Names that a spreadsheet would take for a formula (`=`, `+`, `-`, `@`
    /// first) get an apostrophe in front; what a spreadsheet may
    /// split at (`;`, `|`, tab, line ends) becomes a space in them.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut writer = WriterBuilder::new().flexible(true).terminator(Terminator::CRLF).from_writer(Vec::new());
        for row in self.tables.first().map(|bars| self.lines(bars)).unwrap_or_default() {
            // Writing to memory cannot fail.
            _ = writer.write_record(row);
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    fn lines(&self, table: &Table) -> Vec<Vec<String>> {
        let rows = table.rows.iter().map(|row| row.iter().map(|cell| self.written(cell)).collect());
        std::iter::once(table.columns.iter().map(Column::heading).collect()).chain(rows).collect()
    }

    fn written(&self, cell: &Cell) -> String {
        match cell {
            Cell::Unknown => String::new(),
            Cell::Text(text) => neutral(text),
            Cell::Number { value, decimals } => digits(*value, *decimals),
            Cell::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Cell::Utc(time) => time.to_string(),
            Cell::Local(time) => rfc3339(*time, &self.zone),
            Cell::Day(day) => day.to_string(),
        }
    }
}

impl Column {
    /// What stands above it in a spreadsheet.
    pub(super) fn heading(&self) -> String {
        match &self.of {
            Some(owner) => neutral(&format!("{} {}", owner.name, self.name)),
            None => self.name.clone(),
        }
    }
}

/// A cell that no spreadsheet takes for a formula, whole or split: separators
/// other than the comma, and line ends, become spaces.
#[must_use]
pub fn neutral(text: &str) -> String {
    let whole = text.replace([';', '|', '\t', '\r', '\n'], " ");
    let first = whole.trim_start().chars().next();
    if first.is_some_and(|first| "=+-@".contains(first)) { format!("'{whole}") } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_look_like_formulas_are_neutralised() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", " =1"] {
            assert_eq!(neutral(bad), format!("'{bad}"));
        }
        assert_eq!(neutral("\t=1"), "' =1");
        assert_eq!(neutral("a;=cmd|'/C calc'!A0"), "a =cmd '/C calc'!A0");
        assert_eq!(neutral("a\t=1\r\n=2\n-3"), "a =1  =2 -3");
        assert_eq!(neutral("inverter-1"), "inverter-1");
    }
}
