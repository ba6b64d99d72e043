//! When credentials were last used: noted in memory, written behind, so that no ack
//! waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heliograph_domain::Timestamp;
use heliograph_store::{Credential, ProviderStore, StoreError};
use tokio_util::sync::CancellationToken;

/// A use is written at most once in this time, of each credential.
const INTERVAL_MS: i64 = 60_000;
/// How soon the first use of a credential is written.
const POLL: Duration = Duration::from_secs(5);
/// Uses that are written at once: documents that wait meanwhile do so for a moment.
const AT_ONCE: usize = 100;
/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The last uses of the credentials that a process has seen. There are as many as
/// gateways have.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<HashMap<Credential, LastUse>>);

#[derive(Debug, Clone, Copy)]
struct LastUse {
    at: Timestamp,
    /// The use that is written.
    written: Option<Timestamp>,
}

impl Usage {
    /// Notes that something was pushed with a credential.
    pub(crate) fn note(&self, credential: Credential, at: Timestamp) {
        let mut uses = self.uses();
        let last = uses.entry(credential).or_insert(LastUse { at, written: None });
        last.at = last.at.max(at);
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<Credential, LastUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The uses that are to be written.
    fn due(&self, interval: i64) -> Vec<(Credential, Timestamp)> {
        let is_due = |last: &LastUse| last.written.is_none_or(|written| last.at.millis_since(written) >= interval);
        let uses = self.uses();
        uses.iter().filter(|(_, last)| is_due(last)).map(|(credential, last)| (*credential, last.at)).collect()
    }

    async fn write(&self, store: &ProviderStore, due: &[(Credential, Timestamp)]) -> Result<(), StoreError> {
        for some in due.chunks(AT_ONCE) {
            let written = tokio::time::timeout(PATIENCE, store.credential_used(some.to_vec())).await;
            written.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("it did not answer within {PATIENCE:?}"))))?;
            let mut uses = self.uses();
            for (credential, at) in some {
                if let Some(last) = uses.get_mut(credential) {
                    last.written = Some(*at);
                }
            }
        }
        Ok(())
    }

    /// Writes all that is not written; it is lost where the store is away.
    pub(crate) async fn flush(&self, store: &ProviderStore) {
        if let Err(error) = self.write(store, &self.due(1)).await {
            tracing::warn!(%error, "the last use of some keys is not noted");
        }
    }
}

/// Writes uses until told to stop; what cannot be written waits.
pub(crate) async fn run(usage: Arc<Usage>, store: ProviderStore, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
        let due = usage.due(INTERVAL_MS);
        if let Some(Err(error)) = shutdown.run_until_cancelled(usage.write(&store, &due)).await {
            tracing::debug!(%error, "the last use of keys is noted later");
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::CredentialId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_use_is_due_at_once_and_then_once_a_minute() {
        let usage = Usage::default();
        let key = |number| Credential::Key(CredentialId::new(Uuid::from_u128(number)));
        let at = Timestamp::clamped;
        let due = |usage: &Usage| {
            let mut due = usage.due(INTERVAL_MS);
            due.sort_by_key(|(credential, _)| credential.to_string());
            for (credential, at) in &due {
                usage.uses().get_mut(credential).unwrap().written = Some(*at);
            }
            due
        };
        usage.note(key(1), at(1_000));
        usage.note(key(1), at(3_000));
        usage.note(key(1), at(2_000));
        usage.note(key(2), at(5));
        assert_eq!(due(&usage), [(key(1), at(3_000)), (key(2), at(5))]);
        usage.note(key(1), at(62_999));
        assert_eq!(due(&usage), []);
        usage.note(key(1), at(63_000));
        assert_eq!(due(&usage), [(key(1), at(63_000))]);
        assert_eq!(usage.due(1), []);
        usage.note(key(1), at(63_001));
        assert_eq!(usage.due(1), [(key(1), at(63_001))]);
    }
}
