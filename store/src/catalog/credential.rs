//! Keys and certificates of gateways: the rules.

use std::collections::{BTreeMap, HashMap};

use heliograph_domain::{CredentialId, Fingerprint, GatewayId, GatewayState, KeyDigest, Timestamp};

use super::point::put;
use super::{Catalog, Change, Decision, Record};
use crate::credential::{
    CERTIFICATE, CredentialNew, CredentialRecord, KEY_END, KeyEnd, Registered, VALID_KEYS, is_registered, keys_enough,
    not_commissioned,
};
use crate::error::StoreError;
use crate::gateway::DirectoryKey;

/// A key as its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) id: CredentialId,
    pub(crate) gateway: GatewayId,
    pub(crate) digest: KeyDigest,
    pub(crate) created: Timestamp,
    pub(crate) revoked: Option<Timestamp>,
}

impl Catalog {
    pub(crate) fn credential_add(&self, id: &GatewayId, new: CredentialNew, at: Timestamp) -> Decision {
        self.gateway(id)?;
        Ok(vec![self.credential(id, new, at)?])
    }

    pub(super) fn credential(&self, gateway: &GatewayId, new: CredentialNew, at: Timestamp) -> Result<Change, StoreError> {
        if self.credentials.contains_key(&new.id) {
            return Err(StoreError::Conflict("a key of this id is there already".to_owned()));
        }
        if self.valid_keys(gateway, at)?.len() >= VALID_KEYS {
            return Err(keys_enough());
        }
        let CredentialNew { id, digest } = new;
        Ok(Change::Put(Record::Credential(Credential { id, gateway: gateway.clone(), digest, created: at, revoked: None })))
    }

    /// The keys of a gateway that are valid at an instant.
    fn valid_keys(&self, gateway: &GatewayId, at: Timestamp) -> Result<Vec<CredentialId>, StoreError> {
        let mut valid = Vec::new();
        for key in self.credentials.values().filter(|key| key.gateway == *gateway && key.revoked.is_none()) {
            if self.key_end(key.id)?.is_none_or(|until| until > at) {
                valid.push(key.id);
            }
        }
        Ok(valid)
    }

    fn key_end(&self, id: CredentialId) -> Result<Option<Timestamp>, StoreError> {
        let Some(body) = self.bodies.get(&(KEY_END.to_owned(), id.to_string())) else { return Ok(None) };
        let end: KeyEnd = serde_json::from_str(body).map_err(|error| StoreError::Damaged(format!("{KEY_END}: {error}")))?;
        Ok(Some(end.until))
    }

    /// A key of a gateway that is not revoked.
    fn key_of(&self, id: &GatewayId, credential: CredentialId) -> Result<&Credential, StoreError> {
        self.gateway(id)?;
        let key = self.credentials.get(&credential).filter(|key| key.gateway == *id && key.revoked.is_none());
        key.ok_or(StoreError::NotFound("credential"))
    }

    pub(crate) fn credential_end(
        &self,
        id: &GatewayId,
        credential: CredentialId,
        until: Option<Timestamp>,
        at: Timestamp,
    ) -> Decision {
        self.key_of(id, credential)?;
        let others = self.valid_keys(id, at)?.into_iter().filter(|key| *key != credential).count();
        if until.is_none_or(|until| until > at) && others >= VALID_KEYS {
            return Err(keys_enough());
        }
        let there = self.bodies.get(&(KEY_END.to_owned(), credential.to_string()));
        Ok(match (until, there) {
            (Some(until), _) => vec![put(KEY_END, &credential.to_string(), &KeyEnd { until })?],
            (None, Some(_)) => vec![self.take(KEY_END, &credential.to_string(), "credential")?],
            (None, None) => Vec::new(),
        })
    }

    pub(crate) fn credential_revoke(&self, id: &GatewayId, credential: CredentialId, at: Timestamp) -> Decision {
        let key = self.key_of(id, credential)?;
        Ok(vec![Change::Put(Record::Credential(Credential { revoked: Some(at), ..key.clone() }))])
    }

    /// Revokes all keys of a gateway and takes its certificates away.
    pub(super) fn credentials_end(&self, id: &GatewayId, at: Timestamp) -> Decision {
        let valid = self.credentials.values().filter(|key| key.gateway == *id && key.revoked.is_none());
        let revoke = |key: &Credential| Change::Put(Record::Credential(Credential { revoked: Some(at), ..key.clone() }));
        let mut changes: Vec<Change> = valid.map(revoke).collect();
        for of in self.certificates()?.iter().filter(|of| of.gateway == *id) {
            changes.push(self.take(CERTIFICATE, &of.fingerprint.to_string(), "certificate")?);
        }
        Ok(changes)
    }

    /// The keys of a gateway, the newest first, without when they were used.
    pub(crate) fn credentials_of(&self, id: &GatewayId) -> Result<Vec<CredentialRecord>, StoreError> {
        let mut keys = Vec::new();
        for key in self.credentials.values().filter(|key| key.gateway == *id) {
            let until = self.key_end(key.id)?;
            keys.push(CredentialRecord { id: key.id, created: key.created, until, revoked: key.revoked, used: None });
        }
        keys.sort_by_key(|key| std::cmp::Reverse((key.created, key.id)));
        Ok(keys)
    }

    /// The keys of all gateways that are not revoked.
    pub(super) fn keys_in_force(&self) -> Result<HashMap<GatewayId, Vec<DirectoryKey>>, StoreError> {
        let mut keys: HashMap<GatewayId, Vec<DirectoryKey>> = HashMap::new();
        for key in self.credentials.values().filter(|key| key.revoked.is_none()) {
            let in_force = DirectoryKey { id: Some(key.id), digest: key.digest, until: self.key_end(key.id)? };
            keys.entry(key.gateway.clone()).or_default().push(in_force);
        }
        Ok(keys)
    }

    /// All registered certificates.
    pub(crate) fn certificates(&self) -> Result<Vec<Registered>, StoreError> {
        self.read(CERTIFICATE)
    }

    pub(super) fn certificates_by_gateway(&self) -> Result<BTreeMap<GatewayId, Vec<Fingerprint>>, StoreError> {
        let mut by_gateway: BTreeMap<GatewayId, Vec<Fingerprint>> = BTreeMap::new();
        for of in self.certificates()? {
            by_gateway.entry(of.gateway).or_default().push(of.fingerprint);
        }
        Ok(by_gateway)
    }

    pub(crate) fn certificate_add(&self, new: &Registered) -> Decision {
        if self.gateway(&new.gateway)?.state != GatewayState::Commissioned {
            return Err(not_commissioned());
        }
        if let Some(there) = self.certificates()?.iter().find(|of| of.fingerprint == new.fingerprint) {
            return Err(is_registered(there));
        }
        Ok(vec![put(CERTIFICATE, &new.fingerprint.to_string(), new)?])
    }

    pub(crate) fn certificate_remove(&self, id: &GatewayId, fingerprint: Fingerprint) -> Decision {
        self.gateway(id)?;
        if !self.certificates()?.iter().any(|of| of.fingerprint == fingerprint && of.gateway == *id) {
            return Err(StoreError::NotFound("certificate"));
        }
        Ok(vec![self.take(CERTIFICATE, &fingerprint.to_string(), "certificate")?])
    }
}
