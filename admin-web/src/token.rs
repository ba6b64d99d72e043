//! Random tokens, of which only digests are kept, and fresh ids.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use heliograph_domain::{GatewayKey, Secret, Timestamp, time_ordered_uuid};
use uuid::Uuid;

/// 256 random bits, spelled for addresses and cookies.
pub(crate) fn random_token() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// What every API token begins with, so that whoever looks through files for secrets
/// knows one.
pub(crate) const API_TOKEN_PREFIX: &str = "hgt_";

/// A new API token, of 256 random bits.
pub(crate) fn random_api_token() -> Secret {
    Secret::new(format!("{API_TOKEN_PREFIX}{}", random_token().reveal()))
}

/// A new key for a gateway.
pub(crate) fn random_gateway_key() -> GatewayKey {
    GatewayKey::from_random(&rand::random::<[u8; 20]>())
}

/// A fresh id (RFC 9562 version 7) of this time.
pub(crate) fn fresh_uuid(now: Timestamp) -> Uuid {
    time_ordered_uuid(now, &rand::random())
}
