//! A report as a workbook (ECMA-376): a sheet of facts, then one for each table.
//!
//! Numbers are numbers and times are times, which spreadsheets know without a
//! zone: they are local, and headings name the zone. Texts are neutralised as in
//! CSV, because they may be saved as such.

use heliograph_domain::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use super::{Cell, Column, Export, ExportError, Fact, Table, digits, neutral};

/// Widths are in characters of the usual font.
const NARROWEST: usize = 10;
const WIDEST: usize = 44;

impl Export {
    /// The whole report.
    ///
    /// # Errors
    /// When a workbook cannot hold it: a time before 1900, a text of more than
    /// 32,767 characters.
    pub fn xlsx(&self) -> Result<Vec<u8>, ExportError> {
        let mut book = Workbook::new();
        // Else the library would read the clock.
        book.set_properties(&DocProperties::new().set_creation_datetime(&excel(utc(self.made))?));
        let styles = Styles::new();
        let facts = self.facts();
        self.sheet(book.add_worksheet(), &facts, facts.columns.iter().map(Column::heading), &styles)?;
        for table in &self.tables {
            self.sheet(book.add_worksheet(), table, self.headings(table), &styles)?;
        }
        Ok(book.save_to_buffer()?)
    }

    /// Head and figures as a table of two columns.
    fn facts(&self) -> Table {
        let column = |name: &str| Column { name: name.to_owned(), of: None };
        let row = |fact: &Fact| vec![Cell::text(self.told(&fact.name, std::iter::once(&fact.cell))), fact.cell.clone()];
        Table {
            name: "report",
            columns: vec![column("name"), column("value")],
            rows: self.head.iter().chain(&self.figures).map(row).collect(),
        }
    }

    fn headings(&self, table: &Table) -> impl Iterator<Item = String> {
        let heading = |(index, column): (usize, &Column)| self.told(&column.heading(), table.cells(index));
        table.columns.iter().enumerate().map(heading)
    }

    fn sheet(
        &self,
        sheet: &mut Worksheet,
        table: &Table,
        headings: impl Iterator<Item = String>,
        styles: &Styles,
    ) -> Result<(), XlsxError> {
        sheet.set_name(title(table.name))?;
        sheet.set_freeze_panes(1, 0)?;
        for (heading, at) in headings.zip(0u16..) {
            let cells = table.cells(usize::from(at));
            let widest = cells.map(width).chain([heading.chars().count() + 1]).max().unwrap_or(0);
            sheet.write_string_with_format(0, at, heading, &styles.heading)?;
            sheet.set_column_width(at, widest.clamp(NARROWEST, WIDEST) as f64)?;
        }
        for (row, line) in table.rows.iter().zip(1u32..) {
            for (cell, column) in row.iter().zip(0u16..) {
                self.write(sheet, (line, column), cell, styles)?;
            }
        }
        Ok(())
    }

    /// A name, with the zone of the times under it.
    fn told<'a>(&self, name: &str, mut cells: impl Iterator<Item = &'a Cell>) -> String {
        match cells.any(|cell| matches!(cell, Cell::Local(_))) {
            true => format!("{name} ({})", self.zone),
            false => name.to_owned(),
        }
    }

    fn write(&self, sheet: &mut Worksheet, (row, column): (u32, u16), cell: &Cell, styles: &Styles) -> Result<(), XlsxError> {
        match cell {
            Cell::Unknown => return Ok(()),
            Cell::Text(text) => sheet.write_string(row, column, neutral(text))?,
            Cell::Number { value, decimals } => sheet.write_number_with_format(row, column, *value, styles.number(*decimals))?,
            Cell::Flag(flag) => sheet.write_boolean(row, column, *flag)?,
            Cell::Utc(time) => sheet.write_datetime_with_format(row, column, &excel(utc(*time))?, &styles.time)?,
            Cell::Local(time) => sheet.write_datetime_with_format(row, column, &excel(self.zone.civil(*time))?, &styles.time)?,
            Cell::Day(day) => {
                let midnight = day.to_datetime(Time::midnight());
                sheet.write_datetime_with_format(row, column, &excel(midnight)?, &styles.day)?
            }
        };
        Ok(())
    }
}

impl Table {
    /// What stands in a column.
    fn cells(&self, index: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(index))
    }
}

/// How cells look.
struct Styles {
    heading: Format,
    time: Format,
    day: Format,
    /// By the number of decimals.
    numbers: [Format; 7],
}

impl Styles {
    fn new() -> Self {
        let number = |decimals: usize| match decimals {
            0 => Format::new().set_num_format("#,##0"),
            _ => Format::new().set_num_format(format!("#,##0.{}", "0".repeat(decimals))),
        };
        Self {
            heading: Format::new().set_bold(),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            day: Format::new().set_num_format("yyyy-mm-dd"),
            numbers: std::array::from_fn(number),
        }
    }

    fn number(&self, decimals: u8) -> &Format {
        self.numbers.get(usize::from(decimals)).unwrap_or(&self.heading)
    }
}

/// The name of a sheet: `latest_values` is `Latest values`.
fn title(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).map(|c| if c == '_' { ' ' } else { c }).collect()
}

/// About how many characters a cell shows.
fn width(cell: &Cell) -> usize {
    match cell {
        Cell::Unknown => 0,
        Cell::Text(text) => text.chars().count() + 1,
        // Thousands are set apart.
        Cell::Number { value, decimals } => digits(*value, *decimals).len() * 4 / 3 + 1,
        Cell::Flag(_) => 6,
        Cell::Utc(_) | Cell::Local(_) => 20,
        Cell::Day(_) => 11,
    }
}

fn utc(time: Timestamp) -> DateTime {
    time.to_jiff().to_zoned(TimeZone::UTC).datetime()
}

fn excel(time: DateTime) -> Result<ExcelDateTime, XlsxError> {
    let part = |value: i8| u8::try_from(value).unwrap_or(0);
    let year = u16::try_from(time.year()).unwrap_or(0);
    let hour = u16::try_from(time.hour()).unwrap_or(0);
    ExcelDateTime::from_ymd(year, part(time.month()), part(time.day()))?.and_hms(
        hour,
        part(time.minute()),
        f64::from(time.second()) + f64::from(time.subsec_nanosecond()) / 1e9,
    )
}
