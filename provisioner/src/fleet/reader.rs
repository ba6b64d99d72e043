//! Reading a TOML table strictly: every problem is collected, with its line,
//! and a key that nobody asked for is one of them.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use toml_edit::{Item, TableLike, Value};

/// One thing that is wrong in a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong, beginning with the entry's name.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// A fleet file that cannot be used, with every reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct FleetError {
    /// What is wrong, in the order of the file; never empty.
    pub problems: Vec<Problem>,
}

/// Where problems go.
pub(super) struct Problems<'a> {
    text: &'a str,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: RefCell::new(Vec::new()) }
    }

    pub(super) fn report(&self, span: Option<Range<usize>>, message: String) {
        let line = span.and_then(|span| self.text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        self.found.borrow_mut().push(Problem { line, message });
    }

    pub(super) fn into_result(self) -> Result<(), FleetError> {
        let mut problems = self.found.into_inner();
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(()) } else { Err(FleetError { problems }) }
    }
}

/// One table of the file.
pub(super) struct Section<'a> {
    path: String,
    table: &'a dyn TableLike,
    known: RefCell<Vec<&'static str>>,
    problems: &'a Problems<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a dyn TableLike, problems: &'a Problems<'a>) -> Self {
        Self { path: String::new(), table, known: RefCell::default(), problems }
    }

    /// The full name of one of this table's keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn report(&self, key: &str, message: impl fmt::Display) {
        let span = self.span_of(key).or_else(|| self.own_span());
        self.problems.report(span, format!("{} {message}", self.path_of(key)));
    }

    fn span_of(&self, key: &str) -> Option<Range<usize>> {
        let key = self.table.key(key)?;
        key.span()
    }

    fn own_span(&self) -> Option<Range<usize>> {
        self.table.iter().filter_map(|(key, _)| self.span_of(key)).min_by_key(|span| span.start)
    }

    fn item(&self, key: &'static str) -> Option<&'a Item> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    fn value<T>(&self, key: &'static str, what: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let item = self.item(key)?;
        let value = item.as_value().and_then(read);
        if value.is_none() {
            self.report(key, format_args!("must be {what}"));
        }
        value
    }

    /// A text that is not empty and has no control characters.
    pub(super) fn string(&self, key: &'static str) -> Option<String> {
        let text = self.value(key, "a text in quotes", |value| value.as_str().map(str::to_owned))?;
        if text.trim().is_empty() {
            self.report(key, "is empty");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.report(key, "holds a control character");
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false", Value::as_bool)
    }

    pub(super) fn integer(&self, key: &'static str) -> Option<i64> {
        self.value(key, "a whole number", Value::as_integer)
    }

    pub(super) fn integer_in<T: TryFrom<i64>>(&self, key: &'static str, range: Range<i64>) -> Option<T> {
        let n = self.integer(key)?;
        let fitting = range.contains(&n).then(|| T::try_from(n).ok()).flatten();
        if fitting.is_none() {
            self.report(key, format_args!("is {n}; it must be {} to {}", range.start, range.end - 1));
        }
        fitting
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of processors are small")]
    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        self.value(key, "a number", |value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64)))
    }

    /// A text that a type of ours reads.
    pub(super) fn parsed<T: FromStr>(&self, key: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        self.read(key, |text| text.parse::<T>().map_err(|error| error.to_string()))
    }

    pub(super) fn read<T>(&self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(&self.string(key)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.report(key, format_args!("is wrong: {message}"));
                None
            }
        }
    }

    pub(super) fn require<T>(&self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.table.contains_key(key) {
            self.report(key, "is missing");
        }
        value
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let item = self.item(key)?;
        self.child(key, item)
    }

    fn child(&self, key: &str, item: &'a Item) -> Option<Section<'a>> {
        let Some(table) = item.as_table_like() else {
            self.report(key, format_args!("must be a table: [{}]", self.path_of(key)));
            return None;
        };
        Some(Section { path: self.path_of(key), table, known: RefCell::default(), problems: self.problems })
    }

    /// Every entry of a table whose keys are names that the operator chose.
    pub(super) fn children(&self) -> Vec<(String, Section<'a>)> {
        self.table.iter().filter_map(|(key, item)| Some((key.to_owned(), self.child(key, item)?))).collect()
    }

    /// Reports every key that was never asked for.
    pub(super) fn report_unknown(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !known.contains(key)) {
            self.report(key, format_args!("is not a setting here; there are {}", known.join(", ")));
        }
    }
}
