//! The records of a provider's logo.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, record};
use crate::error::StoreError;
use crate::logo::{LOGO, LOGO_PIECE, Logo, PROVIDER, read_piece};

pub(crate) fn save(batch: &mut Batch<'_>, logo: &Logo, pieces: &[(String, String)]) -> Result<(), StoreError> {
    batch.connection.execute("DELETE FROM record WHERE kind = ?1", [LOGO_PIECE])?;
    for (id, text) in pieces {
        record::save(batch.connection, LOGO_PIECE, id, text)?;
    }
    batch.config_changed();
    record::save(batch.connection, LOGO, PROVIDER, logo)
}

pub(crate) fn find(connection: &Connection) -> Result<Option<Logo>, StoreError> {
    record::find(connection, LOGO, PROVIDER)
}

pub(crate) fn image(connection: &Connection) -> Result<Option<(Logo, Vec<u8>)>, StoreError> {
    let Some(logo) = find(connection)? else { return Ok(None) };
    let mut query = connection.prepare_cached("SELECT body FROM record WHERE kind = ?1 AND id = ?2")?;
    let mut piece = |id: String| -> Result<Vec<u8>, StoreError> {
        let body: Option<String> = query.query_row(params![LOGO_PIECE, id], |row| row.get(0)).optional()?;
        read_piece(&body.ok_or_else(|| StoreError::Damaged("logo: a piece is missing".to_owned()))?)
    };
    let image = logo.join(logo.piece_ids().into_iter().map(&mut piece))?;
    Ok(Some((logo, image)))
}

pub(crate) fn remove(batch: &mut Batch<'_>) -> Result<(), StoreError> {
    if !record::remove(batch.connection, LOGO, PROVIDER)? {
        return Err(StoreError::NotFound("logo"));
    }
    batch.connection.execute("DELETE FROM record WHERE kind = ?1", [LOGO_PIECE])?;
    batch.config_changed();
    Ok(())
}
