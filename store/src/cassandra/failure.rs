//! What the driver's errors mean to whoever called: whether the same may succeed
//! later, or never will.
//!
//! Whatever lies with the cluster passes, be it that a person has to do something
//! about it: nodes that are away or busy, rights and tables that are missing. What
//! lies with the values themselves does not.

use scylla::errors::{
    BadQuery, DbError, ExecutionError, NewSessionError, NextPageError, NextRowError, PagerExecutionError, PrepareError,
    RequestAttemptError, RequestError,
};

use crate::error::StoreError;

impl From<NewSessionError> for StoreError {
    fn from(error: NewSessionError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<RequestAttemptError> for StoreError {
    fn from(error: RequestAttemptError) -> Self {
        match &error {
            RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
                Self::Refused(error.to_string())
            }
            RequestAttemptError::DbError(kind, reason) => of_cluster(kind, reason),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<PrepareError> for StoreError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::AllAttemptsFailed { first_attempt } => first_attempt.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<BadQuery> for StoreError {
    fn from(error: BadQuery) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<ExecutionError> for StoreError {
    fn from(error: ExecutionError) -> Self {
        match error {
            ExecutionError::BadQuery(error) => error.into(),
            ExecutionError::PrepareError(error) => error.into(),
            ExecutionError::LastAttemptError(error) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<NextPageError> for StoreError {
    fn from(error: NextPageError) -> Self {
        match error {
            NextPageError::RequestFailure(RequestError::LastAttemptError(error)) => error.into(),
            NextPageError::PartitionKeyError(error) => Self::Refused(error.to_string()),
            NextPageError::TypeCheckError(error) => Self::Damaged(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<PagerExecutionError> for StoreError {
    fn from(error: PagerExecutionError) -> Self {
        match error {
            PagerExecutionError::PrepareError(error) => error.into(),
            PagerExecutionError::SerializationError(error) => Self::Refused(error.to_string()),
            PagerExecutionError::NextPageError(error) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<NextRowError> for StoreError {
    fn from(error: NextRowError) -> Self {
        match error {
            NextRowError::RowDeserializationError(error) => Self::Damaged(error.to_string()),
            NextRowError::NextPageError(error) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// What the cluster itself has answered.
fn of_cluster(kind: &DbError, reason: &str) -> StoreError {
    let remedy = |what: &str| StoreError::Unavailable(format!("{what} ({reason}); heliograph store init mends that"));
    match kind {
        DbError::Unauthorized => remedy("the cluster does not let this role do it"),
        DbError::Invalid if is_of_schema(reason) => remedy("keyspace or tables are not what this release needs"),
        // Others of these are about sizes and values.
        DbError::Invalid | DbError::SyntaxError | DbError::FunctionFailure { .. } => StoreError::Refused(reason.to_owned()),
        kind => StoreError::Unavailable(format!("{kind}: {reason}")),
    }
}

/// Whether a statement is refused because of what it names, not of what it says.
/// The protocol has one code for both.
fn is_of_schema(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let names = ["unconfigured table", "keyspace ", "undefined column", "unknown identifier"];
    names.iter().any(|name| reason.starts_with(name)) || reason.contains("does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_with_the_cluster_passes_and_what_lies_with_the_values_does_not() {
        let passing = [
            (DbError::Overloaded, "busy"),
            (DbError::IsBootstrapping, "starting"),
            (DbError::ServerError, "a null pointer"),
            (DbError::Unauthorized, "User provider_a has no MODIFY permission on <table provider_a.reading>"),
            (DbError::Invalid, "unconfigured table reading"),
            (DbError::Invalid, "keyspace provider_a does not exist"),
            (DbError::Invalid, "Undefined column name zone in table provider_a.rollup"),
            (DbError::Invalid, "Keyspace 'provider_a' does not exist"),
        ];
        for (kind, reason) in passing {
            let error = of_cluster(&kind, reason);
            assert!(matches!(&error, StoreError::Unavailable(text) if text.contains(reason)), "{error}");
        }
        let refused = [
            (DbError::Invalid, "Batch too large"),
            (DbError::Invalid, "Key length of 70000 is longer than maximum of 65535"),
            (DbError::Invalid, "Rejected an oversized mutation (34078813/16777216) for keyspace: provider_a"),
            (DbError::SyntaxError, "line 1:7 no viable alternative"),
        ];
        for (kind, reason) in refused {
            assert!(matches!(of_cluster(&kind, reason), StoreError::Refused(_)), "{reason}");
        }
    }
}
