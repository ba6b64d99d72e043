//! When credentials were last used: a number each in the table `control`, since the
//! catalog is no place for what changes every minute.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{GatewayId, Timestamp};

use super::Database;
use crate::credential::{CertificateRecord, Credential, CredentialRecord, certificate_records};
use crate::error::StoreError;

/// When a credential was last used, ms, `used:CREDENTIAL`.
const USED: &str = "used:";
/// Uses that are written or read at once.
const AT_ONCE: usize = 16;

impl Database {
    pub(crate) async fn credential_list(&self, gateway: &GatewayId) -> Result<Vec<CredentialRecord>, StoreError> {
        let mut keys = self.catalog().await?.credentials_of(gateway)?;
        let used = self.last_uses(keys.iter().map(|key| Credential::Key(key.id))).await?;
        for key in &mut keys {
            key.used = used.get(&Credential::Key(key.id)).copied();
        }
        Ok(keys)
    }

    pub(crate) async fn certificate_list(&self, gateway: &GatewayId) -> Result<Vec<CertificateRecord>, StoreError> {
        let mut registered = self.catalog().await?.certificates()?;
        registered.retain(|of| of.gateway == *gateway);
        let used = self.last_uses(registered.iter().map(|of| Credential::Certificate(of.fingerprint))).await?;
        Ok(certificate_records(registered, |fingerprint| used.get(&Credential::Certificate(fingerprint)).copied()))
    }

    async fn last_uses(&self, of: impl Iterator<Item = Credential>) -> Result<HashMap<Credential, Timestamp>, StoreError> {
        let all: Vec<Credential> = of.collect();
        let look = |credential: Credential| async move {
            let at = self.control(&format!("{USED}{credential}")).await?;
            Ok::<_, StoreError>(at.map(|at| (credential, Timestamp::clamped(at))))
        };
        let found: Vec<_> = stream::iter(all).map(look).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Notes uses; an older one changes nothing.
    pub(crate) async fn credential_used(&self, uses: &[(Credential, Timestamp)]) -> Result<(), StoreError> {
        let notes: Vec<(String, Timestamp)> = uses.iter().map(|(credential, at)| (credential.to_string(), *at)).collect();
        let note = |(credential, at): (String, Timestamp)| async move { self.credential_note(&credential, at).await };
        stream::iter(notes).map(note).buffer_unordered(AT_ONCE).try_collect().await
    }

    pub(super) async fn credential_note(&self, credential: &str, at: Timestamp) -> Result<(), StoreError> {
        let name = format!("{USED}{credential}");
        // Replicas that note at the same moment differ by less than what matters.
        let is_newer = self.control(&name).await?.is_none_or(|last| last < at.as_millis());
        if is_newer { self.set_control(&name, at.as_millis()).await } else { Ok(()) }
    }

    /// All that is noted, by credential as it prints.
    pub(super) async fn credential_uses(&self) -> Result<HashMap<String, i64>, StoreError> {
        self.noted(USED).await
    }
}
