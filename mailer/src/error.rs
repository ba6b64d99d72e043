//! What can go wrong with the mailer as a whole. What goes wrong with one mail
//! stands in the outbox instead.

use heliograph_report::ReportError;
use heliograph_store::StoreError;

/// A run that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// A setting cannot be used: say so and end.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The store failed; a later run may succeed.
    #[error("read or write the outbox")]
    Store(#[from] StoreError),
    /// A report could not be made.
    #[error("make the report")]
    Report(#[from] ReportError),
    /// A mail could not be put together.
    #[error("compose the mail: {0}")]
    Compose(String),
}

impl From<askama::Error> for MailerError {
    fn from(error: askama::Error) -> Self {
        Self::Compose(error.to_string())
    }
}

impl MailerError {
    /// Whether the store gives nothing to anybody now, so that going on with
    /// another customer is of no use.
    pub(crate) const fn is_outage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)) | Self::Report(ReportError::Store(StoreError::Unavailable(_))))
    }
}
