//! API tokens: the rules.

use heliograph_domain::{ApiTokenId, KeyDigest, Timestamp, UserId};

use super::point::put;
use super::{Catalog, Change, Decision, Record};
use crate::api_token::{API_TOKEN, ApiToken, check_proven, key_of};
use crate::error::StoreError;

impl Catalog {
    pub(crate) fn api_token(&self, digest: KeyDigest) -> Result<Option<ApiToken>, StoreError> {
        let Some(text) = self.bodies.get(&(API_TOKEN.to_owned(), key_of(digest))) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| StoreError::Damaged(format!("{API_TOKEN}: {error}")))
    }

    pub(crate) fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        self.read(API_TOKEN)
    }

    pub(crate) fn api_token_create(&self, token: &ApiToken, seen: Option<&str>) -> Decision {
        check_proven(&self.person(token.user)?.record, seen)?;
        token.check(&self.api_tokens()?)?;
        Ok(vec![put(API_TOKEN, token.key(), token)?])
    }

    pub(crate) fn api_token_used(&self, digest: KeyDigest, at: Timestamp) -> Decision {
        let used = self.api_token(digest)?.map(|token| token.used_at(at));
        used.iter().map(|token| put(API_TOKEN, token.key(), token)).collect()
    }

    pub(crate) fn api_token_remove(&self, id: ApiTokenId) -> Decision {
        let found = self.api_tokens()?.into_iter().find(|token| token.id == id).ok_or(StoreError::NotFound("API token"))?;
        Ok(vec![self.take(API_TOKEN, found.key(), "API token")?])
    }

    /// What goes with a person, or with what proves who they are. One that cannot be read
    /// is passed over.
    pub(super) fn api_tokens_gone(&self, user: UserId) -> Vec<Change> {
        let of_kind = self.bodies.iter().filter(|((kind, _), _)| kind == API_TOKEN);
        let theirs = of_kind.filter(|(_, text)| serde_json::from_str::<ApiToken>(text).is_ok_and(|token| token.user == user));
        let gone = |((kind, id), text): (&(String, String), &String)| {
            Change::Remove(Record::Body { kind: kind.clone(), id: id.clone(), text: text.clone() })
        };
        theirs.map(gone).collect()
    }
}
