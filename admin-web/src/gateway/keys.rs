//! The keys of a gateway: two are valid while one is rotated.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use heliograph_domain::{CredentialId, KeyDigest, Timestamp, Zone};
use heliograph_store::{CertificateRecord, CredentialNew, CredentialRecord, StoreError};

use super::manage::{Entered, back, fetch, fetch_commissioned, refused};
use super::zone_of;
use crate::access::Staff;
use crate::commissioning::{KeyPage, key_was_shown};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, local_text, parse_optional_local};
use crate::panel::Panel;
use crate::shell::{Section, Shell};
use crate::token;

/// A key as the page lists it.
pub(super) struct KeyRow {
    pub(super) id: String,
    pub(super) ending: String,
    pub(super) created: String,
    pub(super) used: String,
    pub(super) until: String,
    pub(super) revoked: String,
    pub(super) is_valid: bool,
}

impl KeyRow {
    pub(super) fn of(key: &CredentialRecord, zone: &Zone, now: Timestamp) -> Self {
        let id = key.id.to_string();
        Self {
            ending: id.chars().skip(id.len().saturating_sub(4)).collect(),
            created: local_text(key.created, zone),
            used: used_text(key.used, zone),
            until: key.until.map(|until| local_text(until, zone)).unwrap_or_default(),
            revoked: key.revoked.map(|at| local_text(at, zone)).unwrap_or_default(),
            is_valid: key.is_valid(now),
            id,
        }
    }
}

/// A certificate as the page lists it.
pub(super) struct CertificateRow {
    pub(super) fingerprint: String,
    pub(super) created: String,
    pub(super) used: String,
}

impl CertificateRow {
    pub(super) fn of(certificate: &CertificateRecord, zone: &Zone) -> Self {
        Self {
            fingerprint: certificate.fingerprint.to_string(),
            created: local_text(certificate.created, zone),
            used: used_text(certificate.used, zone),
        }
    }
}

fn used_text(used: Option<Timestamp>, zone: &Zone) -> String {
    used.map_or_else(|| "never".to_owned(), |used| local_text(used, zone))
}

/// `POST /gateways/{gateway}/keys`: answers with the key, which is shown here
/// and never again.
pub(crate) async fn add_key(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(entered): Form<Entered>,
) -> Result<Response, Refusal> {
    let gateway = fetch_commissioned(&panel, &gateway, "keys").await?;
    let now = panel.now();
    let id = CredentialId::parse(&entered.credential).map_err(|_| Refusal::BadRequest("The form names no key.".to_owned()))?;
    let key = token::random_gateway_key();
    let credential = CredentialNew { id, digest: KeyDigest::of(key.reveal()) };
    match actor.store(&panel).credential_add(&gateway.id, credential, now).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => {
            let keys = panel.store().credential_list(&gateway.id).await?;
            return Err(if keys.iter().any(|key| key.id == id) { key_was_shown() } else { keys_enough() });
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, credential = %id, "key added");
    let shell = Shell::of(&panel, &actor, Section::Fleet).await?;
    Ok(KeyPage::new(shell, &gateway.id, key.reveal()).into_response())
}

fn keys_enough() -> Refusal {
    Refusal::Conflict("This gateway has two valid keys. Revoke the old one once the new one is in use.".to_owned())
}

/// `POST /gateways/{gateway}/keys/{credential}/end`: up to when a key is valid; an
/// empty field takes its end away.
pub(crate) async fn end_key(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path((gateway, credential)): Path<(String, String)>,
    Form(entered): Form<Entered>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let credential: CredentialId = read_id(&credential)?;
    let mut problems = Problems::default();
    let zone = zone_of(&panel, &gateway).await?;
    let Some(until) = problems.note("until", parse_optional_local(&entered.until, &zone)) else {
        return refused(&panel, &actor, gateway, entered, problems).await;
    };
    match actor.store(&panel).credential_end(&gateway.id, credential, until, panel.now()).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => return Err(keys_enough()),
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, %credential, "end of a key set");
    Ok(back(&gateway.id, "saved"))
}

/// `POST /gateways/{gateway}/keys/{credential}/revoke`
pub(crate) async fn revoke_key(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path((gateway, credential)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let credential: CredentialId = read_id(&credential)?;
    actor.store(&panel).credential_revoke(&gateway.id, credential, panel.now()).await?;
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, %credential, "key revoked");
    Ok(back(&gateway.id, "revoked"))
}
