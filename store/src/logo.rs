//! A provider's logo: one record that says what it is, and pieces of it.
//!
//! A row of what is set up is small, and a cluster refuses large batches: so the picture is
//! cut into pieces, each under the digest of the whole. They are written first; the record
//! that names them makes the picture the logo, and takes away those of others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heliograph_domain::LogoKind;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::archive::tables::to_hex;
use crate::catalog::logo::logo_piece;
use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of the record.
pub(crate) const LOGO: &str = "logo";
/// The kind of its pieces; their id is the digest of the whole and their number.
pub(crate) const LOGO_PIECE: &str = "logo-piece";
/// The id of the one logo.
pub(crate) const PROVIDER: &str = "provider";
/// Bytes of the picture in one piece.
const PIECE_BYTES: usize = 12 * 1024;

/// What a logo is. The picture itself comes from [`ProviderStore::logo_image`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logo {
    /// What it is written as.
    pub kind: LogoKind,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// SHA-256 of the picture, in hexadecimal digits.
    sha256: String,
    /// How many bytes it has.
    bytes: usize,
}

impl Logo {
    /// So many bytes a picture has at most.
    pub const MOST_BYTES: usize = 200_000;
    /// And so many pixels in either direction.
    pub const MOST_PIXELS: u32 = 2_000;

    /// That of a picture, of which the caller knows kind and size.
    #[must_use]
    pub fn of(image: &[u8], kind: LogoKind, (width, height): (u32, u32)) -> Self {
        Self { kind, width, height, sha256: to_hex(&Sha256::digest(image)), bytes: image.len() }
    }

    /// SHA-256 of the picture, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The ids of its pieces, in order.
    pub(crate) fn piece_ids(&self) -> Vec<String> {
        (0..self.bytes.div_ceil(PIECE_BYTES)).map(|number| format!("{}/{number:03}", self.sha256)).collect()
    }

    /// Whether a piece of that id is one of its own.
    pub(crate) fn has(&self, piece: &str) -> bool {
        piece.split_once('/').is_some_and(|(digest, _)| digest == self.sha256)
    }

    /// Puts the picture together.
    pub(crate) fn join(&self, pieces: impl Iterator<Item = Result<Vec<u8>, StoreError>>) -> Result<Vec<u8>, StoreError> {
        let image = pieces.collect::<Result<Vec<_>, _>>()?.concat();
        if to_hex(&Sha256::digest(&image)) == self.sha256 { Ok(image) } else { Err(damaged("it is not what was saved")) }
    }
}

fn damaged(problem: &str) -> StoreError {
    StoreError::Damaged(format!("{LOGO}: {problem}"))
}

/// The bytes of a piece, from its record.
pub(crate) fn read_piece(body: &str) -> Result<Vec<u8>, StoreError> {
    let text: String = serde_json::from_str(body).map_err(|error| damaged(&error.to_string()))?;
    STANDARD.decode(text).map_err(|error| damaged(&error.to_string()))
}

/// The pieces of a picture, each with its id.
fn cut(logo: &Logo, image: &[u8]) -> Vec<(String, String)> {
    logo.piece_ids().into_iter().zip(image.chunks(PIECE_BYTES).map(|piece| STANDARD.encode(piece))).collect()
}

impl ProviderStore {
    /// Makes a picture the provider's logo, in place of the one before.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it has more than [`Logo::MOST_BYTES`] bytes or
    /// [`Logo::MOST_PIXELS`] pixels, or where another one was saved at the same moment.
    pub async fn logo_save(&self, image: Vec<u8>, kind: LogoKind, size: (u32, u32)) -> Result<(), StoreError> {
        let logo = Logo::of(&image, kind, size);
        if image.is_empty() || image.len() > Logo::MOST_BYTES || logo.width.max(logo.height) > Logo::MOST_PIXELS {
            return Err(StoreError::Conflict("the picture is empty or too large".to_owned()));
        }
        let detail = json!({
            "sha256": logo.sha256, "format": logo.kind, "bytes": logo.bytes, "width": logo.width, "height": logo.height,
        });
        let event = self.event("logo.save", "logo", detail);
        let pieces = cut(&logo, &image);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::logo::save(batch, &logo, &pieces)).await,
            Backend::Cassandra(db) => {
                for (id, text) in pieces {
                    db.catalog_change(None, move |_| Ok(vec![logo_piece(&id, &text)?])).await?;
                }
                db.change(event, move |catalog| catalog.logo_save(&logo)).await
            }
        }
    }

    /// What the logo is, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn logo_find(&self) -> Result<Option<Logo>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::logo::find).await,
            Backend::Cassandra(db) => db.catalog().await?.logo(),
        }
    }

    /// The logo with its picture.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the picture is not the one that was saved.
    pub async fn logo_image(&self) -> Result<Option<(Logo, Vec<u8>)>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::logo::image).await,
            Backend::Cassandra(db) => db.catalog().await?.logo_image(),
        }
    }

    /// Takes the logo away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn logo_remove(&self) -> Result<(), StoreError> {
        let event = self.event("logo.remove", "logo", json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, sqlite::logo::remove).await,
            Backend::Cassandra(db) => db.change(event, |catalog| catalog.logo_remove()).await,
        }
    }
}
