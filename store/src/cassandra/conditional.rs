//! What conditional statements answer.

use std::collections::HashMap;

use scylla::response::query_result::QueryResult;
use scylla::value::{CqlValue, Row};

use crate::error::StoreError;

/// Whether a conditional statement was carried out.
pub(super) fn applied(result: QueryResult) -> Result<bool, StoreError> {
    Ok(matches!(conditional(result)?.0, Some(CqlValue::Boolean(true))))
}

/// What a conditional statement answers: whether it was carried out and, where it
/// was not, what stands there.
pub(super) fn conditional(result: QueryResult) -> Result<(Option<CqlValue>, HashMap<String, CqlValue>), StoreError> {
    let damaged = |error: String| StoreError::Damaged(format!("answer to a conditional write: {error}"));
    let rows = result.into_rows_result().map_err(|error| damaged(error.to_string()))?;
    let names: Vec<String> = rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let row: Row = rows.first_row().map_err(|error| damaged(error.to_string()))?;
    let mut columns: HashMap<String, CqlValue> =
        names.into_iter().zip(row.columns).filter_map(|(name, value)| value.map(|value| (name, value))).collect();
    Ok((columns.remove("[applied]"), columns))
}
