//! What gateways prove themselves with: keys, of which two are valid while one is
//! rotated, and certificates. Of each it is kept when it was last used.

use std::fmt;

use heliograph_domain::{CredentialId, Fingerprint, GatewayId, KeyDigest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of the records that set an end to a key, by its id.
pub(crate) const KEY_END: &str = "key-end";
/// The kind of the records of registered certificates, by their fingerprint.
pub(crate) const CERTIFICATE: &str = "certificate";
/// The kind of the records that say when a credential was last used.
pub(crate) const CREDENTIAL_USE: &str = "credential-use";

/// How many keys of a gateway are valid at once: one, and another while it is
/// rotated.
pub(crate) const VALID_KEYS: usize = 2;

/// A key to be kept, as its digest.
#[derive(Debug, Clone, Copy)]
pub struct CredentialNew {
    /// Its id.
    pub id: CredentialId,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
}

/// A key as panel and command line list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Its id.
    pub id: CredentialId,
    /// When it was made.
    pub created: Timestamp,
    /// Up to when it is valid, if an end was set.
    pub until: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// When something last pushed with it, to the minute or so.
    pub used: Option<Timestamp>,
}

impl CredentialRecord {
    /// Whether what is pushed with it is taken.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.until.is_none_or(|until| until > now)
    }
}

/// A certificate that is registered with a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// SHA-256 of it.
    pub fingerprint: Fingerprint,
    /// When it was registered.
    pub created: Timestamp,
    /// When something last pushed with it, to the minute or so.
    pub used: Option<Timestamp>,
}

/// One of a gateway's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A key.
    Key(CredentialId),
    /// A certificate.
    Certificate(Fingerprint),
}

/// As its use is noted.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Certificate(fingerprint) => fingerprint.fmt(f),
        }
    }
}

/// The end of a key, as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct KeyEnd {
    pub(crate) until: Timestamp,
}

/// The last use of a credential, as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Use {
    pub(crate) at: Timestamp,
}

/// A certificate, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) gateway: GatewayId,
    pub(crate) created: Timestamp,
}

/// The refusal of a third key.
pub(crate) fn keys_enough() -> StoreError {
    StoreError::Conflict(format!("the gateway has {VALID_KEYS} valid keys already: revoke one, or let its end come"))
}

/// The refusal of a certificate that is registered.
pub(crate) fn is_registered(with: &Registered) -> StoreError {
    StoreError::Conflict(format!("the certificate is registered with gateway {} already", with.gateway))
}

/// The refusal of a certificate for a gateway that has no place.
pub(crate) fn not_commissioned() -> StoreError {
    StoreError::Conflict("only a commissioned gateway has certificates".to_owned())
}

impl ProviderStore {
    /// Gives a gateway one more key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway;
    /// [`StoreError::Conflict`] where two of its keys are valid.
    pub async fn credential_add(&self, gateway: &GatewayId, credential: CredentialNew, at: Timestamp) -> Result<(), StoreError> {
        let event = self.event("credential.add", format_args!("credential:{}", credential.id), json!({ "gateway": gateway }));
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| {
                    let number = sqlite::gateway::number(batch.connection, &gateway)?;
                    sqlite::credential::add(batch, number, credential, at)
                })
                .await
            }
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.credential_add(&gateway, credential, at)).await,
        }
    }

    /// The keys of a gateway, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn credential_list(&self, gateway: &GatewayId) -> Result<Vec<CredentialRecord>, StoreError> {
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::credential::list(connection, &gateway)).await,
            Backend::Cassandra(db) => db.credential_list(&gateway).await,
        }
    }

    /// Sets an end to a key that is not revoked, or takes it away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the gateway has no such key in force;
    /// [`StoreError::Conflict`] where more than two would be valid.
    pub async fn credential_end(
        &self,
        gateway: &GatewayId,
        credential: CredentialId,
        until: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let detail = json!({ "gateway": gateway, "until": until.map(|until| until.to_string()) });
        let event = self.event("credential.end", format_args!("credential:{credential}"), detail);
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| sqlite::credential::end(batch, &gateway, credential, until, at)).await
            }
            Backend::Cassandra(db) => {
                db.change(event, move |catalog| catalog.credential_end(&gateway, credential, until, at)).await
            }
        }
    }

    /// Revokes a key of a gateway.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the gateway has no such key in force.
    pub async fn credential_revoke(
        &self,
        gateway: &GatewayId,
        credential: CredentialId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let event = self.event("credential.revoke", format_args!("credential:{credential}"), json!({ "gateway": gateway }));
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| sqlite::credential::revoke(batch, &gateway, credential, at)).await
            }
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.credential_revoke(&gateway, credential, at)).await,
        }
    }

    /// Notes when credentials were last used. It is no change that anybody has to
    /// look at, and not audited.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn credential_used(&self, uses: Vec<(Credential, Timestamp)>) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::credential::used(batch.connection, &uses)).await,
            Backend::Cassandra(db) => db.credential_used(&uses).await,
        }
    }

    /// Registers a certificate with a commissioned gateway: it is a credential then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway;
    /// [`StoreError::Conflict`] where it waits or is retired, or where the
    /// certificate is registered already.
    pub async fn certificate_add(&self, gateway: &GatewayId, fingerprint: Fingerprint, at: Timestamp) -> Result<(), StoreError> {
        let event = self.event("certificate.add", format_args!("certificate:{fingerprint}"), json!({ "gateway": gateway }));
        let new = Registered { fingerprint, gateway: gateway.clone(), created: at };
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::credential::register(batch, &new)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.certificate_add(&new)).await,
        }
    }

    /// The certificates of a gateway, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn certificate_list(&self, gateway: &GatewayId) -> Result<Vec<CertificateRecord>, StoreError> {
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::credential::certificates(connection, &gateway)).await,
            Backend::Cassandra(db) => db.certificate_list(&gateway).await,
        }
    }

    /// Takes a certificate away from a gateway.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it is not registered with it.
    pub async fn certificate_remove(&self, gateway: &GatewayId, fingerprint: Fingerprint) -> Result<(), StoreError> {
        let event = self.event("certificate.remove", format_args!("certificate:{fingerprint}"), json!({ "gateway": gateway }));
        let gateway = gateway.clone();
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| sqlite::credential::unregister(batch, &gateway, fingerprint)).await
            }
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.certificate_remove(&gateway, fingerprint)).await,
        }
    }
}

/// Certificates as they are listed.
pub(crate) fn certificate_records(
    registered: Vec<Registered>,
    used: impl Fn(Fingerprint) -> Option<Timestamp>,
) -> Vec<CertificateRecord> {
    let record =
        |of: Registered| CertificateRecord { fingerprint: of.fingerprint, created: of.created, used: used(of.fingerprint) };
    let mut records: Vec<_> = registered.into_iter().map(record).collect();
    records.sort_by_key(|record| std::cmp::Reverse((record.created, record.fingerprint)));
    records
}
