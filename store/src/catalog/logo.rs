//! The provider's logo: the rules.

use super::point::put;
use super::{Catalog, Change, Decision, Record};
use crate::error::StoreError;
use crate::logo::{LOGO, LOGO_PIECE, Logo, PROVIDER, read_piece};

/// One piece of a picture, before it is the logo.
pub(crate) fn logo_piece(id: &str, text: &str) -> Result<Change, StoreError> {
    put(LOGO_PIECE, id, &text)
}

impl Catalog {
    pub(crate) fn logo(&self) -> Result<Option<Logo>, StoreError> {
        Ok(self.read(LOGO)?.pop())
    }

    pub(crate) fn logo_image(&self) -> Result<Option<(Logo, Vec<u8>)>, StoreError> {
        let Some(logo) = self.logo()? else { return Ok(None) };
        let piece = |id: String| {
            let text = self.bodies.get(&(LOGO_PIECE.to_owned(), id));
            read_piece(text.ok_or_else(|| StoreError::Damaged("logo: a piece is missing".to_owned()))?)
        };
        let image = logo.join(logo.piece_ids().into_iter().map(piece))?;
        Ok(Some((logo, image)))
    }

    /// Makes a picture the logo whose pieces are there, and takes those of others away.
    pub(crate) fn logo_save(&self, logo: &Logo) -> Decision {
        let is_there = |id: String| self.bodies.contains_key(&(LOGO_PIECE.to_owned(), id));
        if !logo.piece_ids().into_iter().all(is_there) {
            return Err(StoreError::Conflict("another logo was saved at the same moment".to_owned()));
        }
        let mut changes = self.logo_pieces_gone(|id| logo.has(id));
        changes.push(put(LOGO, PROVIDER, logo)?);
        Ok(changes)
    }

    pub(crate) fn logo_remove(&self) -> Decision {
        let mut changes = vec![self.take(LOGO, PROVIDER, "logo")?];
        changes.extend(self.logo_pieces_gone(|_| false));
        Ok(changes)
    }

    /// All pieces but some, taken away.
    fn logo_pieces_gone(&self, stays: impl Fn(&str) -> bool) -> Vec<Change> {
        let pieces = self.bodies.iter().filter(|((kind, id), _)| kind == LOGO_PIECE && !stays(id));
        let gone = |((kind, id), text): (&(String, String), &String)| {
            Change::Remove(Record::Body { kind: kind.clone(), id: id.clone(), text: text.clone() })
        };
        pieces.map(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::LogoKind;

    use super::*;

    #[test]
    fn a_picture_whose_pieces_somebody_else_took_away_does_not_become_the_logo() {
        let (mut catalog, image) = (Catalog::default(), vec![7; 30_000]);
        let logo = Logo::of(&image, LogoKind::Png, (10, 10));
        assert_eq!(logo.piece_ids().len(), 3);
        assert!(matches!(catalog.logo_save(&logo), Err(StoreError::Conflict(_))));
        for id in logo.piece_ids().iter().take(2) {
            catalog.apply(logo_piece(id, "AAAA").unwrap());
        }
        assert!(matches!(catalog.logo_save(&logo), Err(StoreError::Conflict(_))), "one is still missing");
        catalog.apply(logo_piece(&logo.piece_ids()[2], "AAAA").unwrap());
        let other = Logo::of(b"other", LogoKind::Webp, (1, 1));
        catalog.apply(logo_piece(&other.piece_ids()[0], "AAAA").unwrap());
        catalog.logo_save(&logo).unwrap().into_iter().for_each(|change| catalog.apply(change));
        assert_eq!(catalog.logo().unwrap(), Some(logo));
        assert!(matches!(catalog.logo_save(&other), Err(StoreError::Conflict(_))), "its piece is gone");
        assert!(matches!(catalog.logo_image(), Err(StoreError::Damaged(_))), "the pieces are none of it");
        catalog.logo_remove().unwrap().into_iter().for_each(|change| catalog.apply(change));
        assert!(catalog.bodies.is_empty());
    }
}
