//! Passwords: which ones are taken, and how they are hashed and compared.
//!
//! The rules follow OWASP ASVS 5 section 6.2: length counts, composition does
//! not, and what everybody would try first is refused. The parameters of argon2id
//! are those of the OWASP password storage guide.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use heliograph_domain::{EmailAddress, Secret};
use tokio::sync::Semaphore;

use crate::off_thread::{Ending, off_thread};

const MIN_CHARS: usize = 12;
const MAX_CHARS: usize = 128;

const MEMORY_KIB: u32 = 19 * 1024;
const ITERATIONS: u32 = 2;
const LANES: u32 = 1;

/// Bounds the memory (19 MiB each) and the processors that hashing takes.
static HASHING: Semaphore = Semaphore::const_new(2);

/// The hash of nothing anybody knows, compared with where there is no user, so
/// that both take the same time. Its parameters are those above.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$aGVsaW9ncmFwaC1ub2JvZHk$3Yv0cV6yLWl2tQzVd2cQ0w0B1b0a8fXl5m0jv0Cq3hA";

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    /// Shorter than 12 characters.
    #[error("must have at least {MIN_CHARS} characters")]
    TooShort,
    /// Longer than 128 characters.
    #[error("must have at most {MAX_CHARS} characters")]
    TooLong,
    /// The mail address, or the part before the @.
    #[error("must not be the mail address")]
    IsAddress,
    /// Among the first that anybody would try.
    #[error("is one of the first that anybody would try")]
    Obvious,
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The hash function refused.
    #[error("hash password: {0}")]
    Hash(argon2::password_hash::Error),
    /// The process is ending.
    #[error("hash password: process is ending")]
    Ending,
}

/// Checks a password that somebody wants to have.
///
/// # Errors
/// When it is not taken, with the rule it breaks.
pub fn check_password(password: &Secret, email: &EmailAddress) -> Result<(), PasswordProblem> {
    let text = password.reveal();
    match text.chars().count() {
        ..MIN_CHARS => return Err(PasswordProblem::TooShort),
        MIN_CHARS..=MAX_CHARS => {}
        _ => return Err(PasswordProblem::TooLong),
    }
    let lower = text.to_lowercase();
    let address = email.as_str().to_lowercase();
    let local = address.split('@').next().unwrap_or_default();
    if lower == address || lower == local {
        return Err(PasswordProblem::IsAddress);
    }
    if is_obvious(&lower) { Err(PasswordProblem::Obvious) } else { Ok(()) }
}

/// Known favourites of at least 12 characters, a short text over and over, and
/// runs along the alphabet or the keyboard.
fn is_obvious(lower: &str) -> bool {
    const FAVOURITES: &[&str] = &[
        "administrator",
        "administrator1",
        "adminadminadmin",
        "changemechangeme",
        "correcthorsebatterystaple",
        "heliograph123",
        "heliographheliograph",
        "iloveyouiloveyou",
        "letmeinletmein",
        "mypassword123",
        "password12345",
        "password123456",
        "password1234",
        "password123!",
        "passwordpassword",
        "photovoltaics",
        "qwertyqwerty",
        "sunshine1234",
        "unbelievable",
        "welcome12345",
        "welcome123456",
    ];
    const RUNS: &[&str] = &[
        "01234567890123456789",
        "09876543210987654321",
        "abcdefghijklmnopqrstuvwxyz",
        "qwertyuiopasdfghjklzxcvbnm",
        "1q2w3e4r5t6y7u8i9o0p",
        "1qaz2wsx3edc4rfv5tgb6yhn",
    ];
    FAVOURITES.contains(&lower) || RUNS.iter().any(|run| run.contains(lower)) || repeats(lower)
}

fn repeats(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    (1..=4).any(|period| letters.iter().zip(letters.iter().skip(period)).all(|(a, b)| a == b))
}

/// Hashes a password with argon2id and a salt of its own, off the async
/// threads; answers in PHC form.
///
/// # Errors
/// When the hash function refuses or the process is ending.
pub async fn hash_password(password: Secret) -> Result<String, HashError> {
    off_thread(&HASHING, move || {
        let hash = argon2().and_then(|argon2| argon2.hash_password(password.reveal().as_bytes()));
        hash.map(|hash| hash.to_string()).map_err(HashError::Hash)
    })
    .await
    .map_err(|Ending| HashError::Ending)?
}

/// Whether a password is the one of a hash. Without a hash it is not, after the
/// same time.
pub(crate) async fn verify_password(password: Secret, hash: Option<String>) -> Result<bool, HashError> {
    off_thread(&HASHING, move || {
        let known = hash.is_some();
        let matches = matches_hash(&password, hash.as_deref().unwrap_or(NOBODY));
        known && matches
    })
    .await
    .map_err(|Ending| HashError::Ending)
}

fn matches_hash(password: &Secret, hash: &str) -> bool {
    // Nobody can have set a longer one; hashing it would only cost time.
    let text = password.reveal();
    let text = if text.len() > MAX_CHARS * 4 { "" } else { text };
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(text.as_bytes(), &hash).is_ok())
}

fn argon2() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let params = Params::new(MEMORY_KIB, ITERATIONS, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), PasswordProblem> {
        check_password(&Secret::new(password), &EmailAddress::parse("christina.bauer@example.com").unwrap())
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        assert_eq!(check("only lower case"), Ok(()));
        assert_eq!(check("ünïcödé dürf"), Ok(()));
        assert_eq!(check("elevenchars"), Err(PasswordProblem::TooShort));
        assert_eq!(check(&"long ".repeat(26)), Err(PasswordProblem::TooLong));
    }

    #[test]
    fn what_anybody_would_try_first_is_refused() {
        assert_eq!(check("Christina.Bauer@example.com"), Err(PasswordProblem::IsAddress));
        assert_eq!(check("christina.bauer"), Err(PasswordProblem::IsAddress));
        for obvious in ["PasswordPassword", "123456789012", "aaaaaaaaaaaa", "abcabcabcabc", "qwertyuiopas"] {
            assert_eq!(check(obvious), Err(PasswordProblem::Obvious), "{obvious}");
        }
    }

    #[tokio::test]
    async fn only_the_password_itself_matches_its_hash() {
        let hash = hash_password(Secret::new("a sunny afternoon")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password(Secret::new("a sunny afternoon"), Some(hash.clone())).await.unwrap());
        assert!(!verify_password(Secret::new("A sunny afternoon"), Some(hash)).await.unwrap());
        assert!(!verify_password(Secret::new("a sunny afternoon"), None).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_costs_what_any_other_costs() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, ITERATIONS, LANES));
        assert!(nobody.salt.is_some() && nobody.hash.is_some());
    }
}
