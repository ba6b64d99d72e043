//! Store URLs: which backend, where, and how safe an ack is.

use std::path::PathBuf;

use heliograph_domain::ParseError;

use crate::error::StoreError;

/// How much a finished write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckLevel {
    /// Power loss: the bytes are on the disk.
    #[default]
    PowerLoss,
    /// The end of the process; a power loss may take the last moments.
    ProcessCrash,
}

impl AckLevel {
    /// Reads `power-loss` or `process-crash`.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "power-loss" => Some(Self::PowerLoss),
            "process-crash" => Some(Self::ProcessCrash),
            _ => None,
        }
    }

    /// The level's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PowerLoss => "power-loss",
            Self::ProcessCrash => "process-crash",
        }
    }
}

/// Where a store is: `sqlite:DIR[?ack=power-loss|process-crash]`, a folder with
/// a file for each provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    pub(crate) directory: PathBuf,
    pub(crate) ack: AckLevel,
}

impl StoreUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// When the scheme, the folder or an option is not understood; the message
    /// says what would be.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let bad = |problem: &str| StoreError::Open { place: format!("{text:?}"), problem: problem.to_owned() };
        let rest = text.strip_prefix("sqlite:").ok_or_else(|| bad("must be sqlite:DIR, such as sqlite:./data"))?;
        let (directory, query) = rest.split_once('?').unwrap_or((rest, ""));
        if directory.is_empty() {
            return Err(bad("names no folder, such as sqlite:./data"));
        }
        let mut ack = AckLevel::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("ack", level)) => {
                    ack = AckLevel::parse(level).ok_or_else(|| bad("ack must be power-loss or process-crash"))?;
                }
                _ => return Err(bad("knows no option but ack")),
            }
        }
        Ok(Self { directory: PathBuf::from(directory), ack })
    }

    /// A folder with the safest acks.
    #[must_use]
    pub fn sqlite(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), ack: AckLevel::default() }
    }

    /// How much a finished write survives.
    #[must_use]
    pub const fn ack_level(&self) -> AckLevel {
        self.ack
    }
}

impl From<ParseError> for StoreError {
    fn from(error: ParseError) -> Self {
        Self::Damaged(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_folder_and_an_ack_level() {
        let url = StoreUrl::parse("sqlite:/data?ack=process-crash").unwrap();
        assert_eq!((url.directory, url.ack), (PathBuf::from("/data"), AckLevel::ProcessCrash));
        assert_eq!(StoreUrl::parse("sqlite:./data").unwrap().ack, AckLevel::PowerLoss);
        for bad in ["", "sqlite:", "postgres://x", "sqlite:x?ack=maybe", "sqlite:x?color=red"] {
            assert!(StoreUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
