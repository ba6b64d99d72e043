//! Why there is no report.

use heliograph_store::StoreError;

/// A report that cannot be given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReportError {
    /// It does not exist, or not for this reader: the two look the same.
    #[error("there is no such report")]
    NotFound,
    /// The store cannot be read.
    #[error("read the store")]
    Store(#[source] StoreError),
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::NotFound,
            other => Self::Store(other),
        }
    }
}
