//! Rows of keys; records of their ends, of certificates and of when each was used.

use std::collections::HashMap;

use heliograph_domain::{CredentialId, Fingerprint, GatewayId, GatewayState, KeyDigest, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, gateway, record};
use crate::credential::{
    CERTIFICATE, CREDENTIAL_USE, CertificateRecord, Credential, CredentialNew, CredentialRecord, KEY_END, KeyEnd, Registered,
    Use, VALID_KEYS, certificate_records, is_registered, keys_enough, not_commissioned,
};
use crate::error::StoreError;
use crate::gateway::DirectoryKey;

pub(crate) fn add(batch: &mut Batch<'_>, number: i64, credential: CredentialNew, at: Timestamp) -> Result<(), StoreError> {
    if valid(batch.connection, number, at)?.len() >= VALID_KEYS {
        return Err(keys_enough());
    }
    batch.connection.execute(
        "INSERT INTO credential (id, gateway, digest, created) VALUES (?1, ?2, ?3, ?4)",
        params![credential.id.to_string(), number, credential.digest.0, at.as_millis()],
    )?;
    batch.config_changed();
    Ok(())
}

/// The keys of a gateway that are valid at an instant.
fn valid(connection: &Connection, number: i64, at: Timestamp) -> Result<Vec<DirectoryKey>, StoreError> {
    let mut keys = in_force(connection, number)?;
    keys.retain(|key| key.until.is_none_or(|until| until > at));
    Ok(keys)
}

/// The keys of a gateway that are not revoked, with their ends.
pub(crate) fn in_force(connection: &Connection, number: i64) -> Result<Vec<DirectoryKey>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT c.id, c.digest, r.body FROM credential c LEFT JOIN record r ON r.kind = 'key-end' AND r.id = c.id
         WHERE c.gateway = ?1 AND c.revoked IS NULL",
    )?;
    let mut rows = query.query([number])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(DirectoryKey {
            id: Some(CredentialId::parse(&row.get::<_, String>(0)?)?),
            digest: KeyDigest(row.get(1)?),
            until: read_end(row.get(2)?)?,
        });
    }
    Ok(keys)
}

fn read_end(body: Option<String>) -> Result<Option<Timestamp>, StoreError> {
    body.map(|body| record::read::<KeyEnd>(KEY_END, &body).map(|end| end.until)).transpose()
}

pub(crate) fn list(connection: &Connection, gateway: &GatewayId) -> Result<Vec<CredentialRecord>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT c.id, c.created, c.revoked, r.body FROM credential c JOIN gateway g ON g.number = c.gateway
         LEFT JOIN record r ON r.kind = 'key-end' AND r.id = c.id
         WHERE g.id = ?1 ORDER BY c.created DESC, c.id DESC",
    )?;
    let mut rows = query.query([gateway.as_str()])?;
    let mut credentials = Vec::new();
    while let Some(row) = rows.next()? {
        let id = CredentialId::parse(&row.get::<_, String>(0)?)?;
        credentials.push(CredentialRecord {
            id,
            created: Timestamp::clamped(row.get(1)?),
            until: read_end(row.get(3)?)?,
            revoked: row.get::<_, Option<i64>>(2)?.map(Timestamp::clamped),
            used: last_use(connection, Credential::Key(id))?,
        });
    }
    Ok(credentials)
}

fn last_use(connection: &Connection, credential: Credential) -> Result<Option<Timestamp>, StoreError> {
    Ok(record::find::<Use>(connection, CREDENTIAL_USE, &credential.to_string())?.map(|last| last.at))
}

/// Notes uses; an older one changes nothing.
pub(crate) fn used(connection: &Connection, uses: &[(Credential, Timestamp)]) -> Result<(), StoreError> {
    for (credential, at) in uses {
        if last_use(connection, *credential)?.is_none_or(|last| last < *at) {
            record::save(connection, CREDENTIAL_USE, &credential.to_string(), &Use { at: *at })?;
        }
    }
    Ok(())
}

pub(crate) fn end(
    batch: &mut Batch<'_>,
    gateway: &GatewayId,
    credential: CredentialId,
    until: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let number = gateway::number(batch.connection, gateway)?;
    if !in_force(batch.connection, number)?.iter().any(|key| key.id == Some(credential)) {
        return Err(StoreError::NotFound("credential"));
    }
    match until {
        Some(until) => record::save(batch.connection, KEY_END, &credential.to_string(), &KeyEnd { until })?,
        None => {
            record::remove(batch.connection, KEY_END, &credential.to_string())?;
        }
    }
    if valid(batch.connection, number, at)?.len() > VALID_KEYS {
        return Err(keys_enough());
    }
    batch.config_changed();
    Ok(())
}

pub(crate) fn revoke(
    batch: &mut Batch<'_>,
    gateway: &GatewayId,
    credential: CredentialId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let number = gateway::number(batch.connection, gateway)?;
    let revoked = batch.connection.execute(
        "UPDATE credential SET revoked = ?3 WHERE id = ?1 AND gateway = ?2 AND revoked IS NULL",
        params![credential.to_string(), number, at.as_millis()],
    )?;
    batch.config_changed();
    if revoked == 1 { Ok(()) } else { Err(StoreError::NotFound("credential")) }
}

/// The certificates of all gateways.
pub(crate) fn registered(connection: &Connection) -> Result<HashMap<GatewayId, Vec<Fingerprint>>, StoreError> {
    let mut by_gateway: HashMap<GatewayId, Vec<Fingerprint>> = HashMap::new();
    for of in record::list::<Registered>(connection, CERTIFICATE)? {
        by_gateway.entry(of.gateway).or_default().push(of.fingerprint);
    }
    Ok(by_gateway)
}

fn registered_with(connection: &Connection, gateway: &GatewayId) -> Result<Vec<Registered>, StoreError> {
    let mut all = record::list::<Registered>(connection, CERTIFICATE)?;
    all.retain(|of| of.gateway == *gateway);
    Ok(all)
}

pub(crate) fn certificates(connection: &Connection, gateway: &GatewayId) -> Result<Vec<CertificateRecord>, StoreError> {
    let registered = registered_with(connection, gateway)?;
    let mut used = HashMap::new();
    for of in &registered {
        used.insert(of.fingerprint, last_use(connection, Credential::Certificate(of.fingerprint))?);
    }
    Ok(certificate_records(registered, |fingerprint| used.get(&fingerprint).copied().flatten()))
}

pub(crate) fn register(batch: &mut Batch<'_>, new: &Registered) -> Result<(), StoreError> {
    let mut query = batch.connection.prepare_cached("SELECT state FROM gateway WHERE id = ?1")?;
    let state: Option<String> = query.query_row([new.gateway.as_str()], |row| row.get(0)).optional()?;
    match state {
        None => return Err(StoreError::NotFound("gateway")),
        Some(state) if state != GatewayState::Commissioned.as_str() => return Err(not_commissioned()),
        Some(_) => {}
    }
    let all = record::list::<Registered>(batch.connection, CERTIFICATE)?;
    if let Some(there) = all.iter().find(|of| of.fingerprint == new.fingerprint) {
        return Err(is_registered(there));
    }
    record::save(batch.connection, CERTIFICATE, &new.fingerprint.to_string(), new)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn unregister(batch: &mut Batch<'_>, gateway: &GatewayId, fingerprint: Fingerprint) -> Result<(), StoreError> {
    if !registered_with(batch.connection, gateway)?.iter().any(|of| of.fingerprint == fingerprint) {
        return Err(StoreError::NotFound("certificate"));
    }
    record::remove(batch.connection, CERTIFICATE, &fingerprint.to_string())?;
    batch.config_changed();
    Ok(())
}

/// Takes all certificates of a gateway away.
pub(crate) fn unregister_all(connection: &Connection, gateway: &GatewayId) -> Result<(), StoreError> {
    for of in registered_with(connection, gateway)? {
        record::remove(connection, CERTIFICATE, &of.fingerprint.to_string())?;
    }
    Ok(())
}
