//! Secrets: gateway keys and others, which no log and no `Debug` ever shows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::QuarantineId;
use crate::text::{ParseError, check_label};

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, to be used and dropped.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The key that a gateway proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayKey(Secret);

impl GatewayKey {
    /// Letters of generated keys: digits and letters that nobody confuses when
    /// typing them from a sheet (Crockford's base 32, lower case).
    pub const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// Parses a key as a device sends it: 1 to 128 characters.
    ///
    /// # Errors
    /// When it is empty, longer, or has control characters or outer white space.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        check_label("gateway key", text, 128)?;
        Ok(Self(Secret::new(text)))
    }

    /// Spells 20 random bytes as a key: 32 letters, 160 bits.
    #[must_use]
    pub fn from_random(bytes: &[u8; 20]) -> Self {
        let mut text = String::with_capacity(39);
        for (i, chunk) in bytes.chunks_exact(5).enumerate() {
            if i > 0 {
                text.push('-');
            }
            let bits = chunk.iter().fold(0u64, |acc, b| acc << 8 | u64::from(*b));
            for k in (0..8).rev() {
                text.push(char::from(Self::ALPHABET[(bits >> (5 * k) & 31) as usize]));
            }
        }
        Self(Secret::new(text))
    }

    /// The key itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// SHA-256 of a key, which is all that is kept of it. A generated key has 160
/// random bits, so that a fast digest is enough.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key or token. Whoever keeps one and whoever checks one ask
    /// here, so that they agree.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// The digest together with an entry of the quarantine, as it is kept of a key
    /// that came with a refused document: it can be held against keys that are
    /// known, and says of two entries not even whether the same key came with them.
    #[must_use]
    pub fn bound_to(&self, entry: QuarantineId) -> Self {
        Self(Sha256::new_with_prefix(entry.as_uuid().as_bytes()).chain_update(self.0).finalize().into())
    }

    /// Compares without telling by its duration how much was equal.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).fold(0u8, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// SHA-256 of a certificate (its DER form), by which it is registered with a
/// gateway. No secret: whoever uses it has to own the certificate's private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in its DER form.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Parses 64 hexadecimal digits, as it prints or as `openssl x509 -fingerprint
    /// -sha256` does: with colons between them and words before an equals sign.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new("certificate fingerprint", "must be 64 hexadecimal digits (SHA-256)");
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim();
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(bad());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(bad)?;
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Fingerprint {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_legible_and_never_shown() {
        let key = GatewayKey::from_random(&[0xff; 20]);
        assert_eq!(key.reveal(), "zzzzzzzz-zzzzzzzz-zzzzzzzz-zzzzzzzz");
        assert_eq!(format!("{key:?}"), "GatewayKey(Secret(…))");
        assert_ne!(GatewayKey::from_random(&[1; 20]), GatewayKey::from_random(&[2; 20]));
    }

    #[test]
    fn a_bound_digest_is_that_of_one_key_and_one_entry() {
        let entry = |number| QuarantineId::new(uuid::Uuid::from_u128(number));
        let [one, other] = ["correct-horse", "battery-staple"].map(KeyDigest::of);
        assert!(one.bound_to(entry(1)).matches(&KeyDigest::of("correct-horse").bound_to(entry(1))));
        for different in [one.bound_to(entry(2)), other.bound_to(entry(1)), one] {
            assert!(!one.bound_to(entry(1)).matches(&different));
        }
    }

    #[test]
    fn fingerprints_read_as_they_print_and_as_openssl_prints_them() {
        let fingerprint = Fingerprint::of(b"a certificate");
        assert_eq!(Fingerprint::parse(&fingerprint.to_string()).unwrap(), fingerprint);
        let pairs: Vec<String> = fingerprint.0.iter().map(|byte| format!("{byte:02X}")).collect();
        let printed = format!("sha256 Fingerprint={}\n", pairs.join(":"));
        assert_eq!(Fingerprint::parse(&printed).unwrap(), fingerprint);
        for bad in ["", "ab", &"+1".repeat(32), &"é".repeat(32), &"0".repeat(63)] {
            assert!(Fingerprint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_compare_by_every_byte() {
        let mut other = [7; 32];
        assert!(KeyDigest([7; 32]).matches(&KeyDigest(other)));
        other[31] = 8;
        assert!(!KeyDigest([7; 32]).matches(&KeyDigest(other)));
    }
}
