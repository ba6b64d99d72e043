//! The gateways and the policy that documents are judged by, as of the last look
//! at the store, or, where a start finds no store, as kept on the disk.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use heliograph_dialects::Zones;
use heliograph_domain::{ClockShift, Fingerprint, GatewayId, GatewayState, KeyDigest, ProviderSettings, Timestamp, Zone};
use heliograph_store::{Credential, DirectoryEntry, DirectoryKey, ProviderStore, StoreError, Versions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::mappings::Mappings;
use crate::snapshot::{Known, Snapshot};
use crate::spool::is_temporary;

/// How often the store is asked whether anything has changed.
const POLL: Duration = Duration::from_secs(1);
/// How long a first start waits for the store.
const FIRST: Duration = Duration::from_secs(10);
/// How long a look at the store may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gateways and settings as of one moment.
#[derive(Debug)]
pub(crate) struct Directory {
    gateways: HashMap<GatewayId, DirectoryEntry>,
    certificates: HashMap<Fingerprint, GatewayId>,
    /// The keys of all gateways that are not revoked, and their ends.
    keys: HashMap<KeyDigest, Option<Timestamp>>,
    /// Gateways that are commissioned or have been adopted.
    in_use: usize,
    pub(crate) settings: ProviderSettings,
    pub(crate) mappings: Mappings,
}

/// What somebody proves to be a gateway with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Proof {
    pub(crate) key: Option<KeyDigest>,
    /// The certificate of the connection, whose private key its peer has.
    pub(crate) certificate: Option<Fingerprint>,
    /// Whether a key is not enough.
    pub(crate) needs_certificate: bool,
}

/// What a gateway with a certain proof may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Known, and the proof is right: what it was, as far as that is known.
    Trusted(Option<Credential>),
    /// Known, and the proof is missing or wrong.
    Imposter,
    /// Nobody has commissioned it.
    Unknown,
    /// It is no longer in use, whatever it sends.
    Retired,
}

impl Directory {
    /// Mappings that were in force `before` are not compiled again.
    pub(crate) fn of(known: Known, before: Option<&Mappings>) -> Self {
        let Known { gateways, settings, mappings } = known;
        let owner = |entry: &DirectoryEntry| {
            let gateway = entry.gateway.clone();
            entry.certificates.clone().into_iter().map(move |fingerprint| (fingerprint, gateway.clone()))
        };
        let certificates = gateways.iter().flat_map(owner).collect();
        let keys = gateways.iter().flat_map(|entry| &entry.keys).map(|key| (key.digest, key.until)).collect();
        let in_use = gateways.iter().filter(|entry| is_in_use(entry)).count();
        let gateways = gateways.into_iter().map(|entry| (entry.gateway.clone(), entry)).collect();
        Self { gateways, certificates, keys, in_use, settings, mappings: Mappings::of(mappings, before) }
    }

    /// What the store says now.
    pub(crate) async fn read(store: &ProviderStore) -> Result<Known, StoreError> {
        Ok(Known {
            gateways: store.gateway_directory().await?,
            settings: store.settings_fetch().await?,
            mappings: store.mapping_list().await?,
        })
    }

    /// The gateway that a certificate is registered with.
    pub(crate) fn owner(&self, certificate: &Fingerprint) -> Option<&GatewayId> {
        self.certificates.get(certificate)
    }

    /// Whether a key is one that some gateway has now.
    pub(crate) fn knows_key(&self, key: &KeyDigest, now: Timestamp) -> bool {
        self.keys.get(key).is_some_and(|until| until.is_none_or(|until| until > now))
    }

    pub(crate) fn standing(&self, gateway: &GatewayId, proof: &Proof, now: Timestamp) -> Standing {
        let Some(entry) = self.gateways.get(gateway) else { return Standing::Unknown };
        match entry.state {
            GatewayState::Waiting => Standing::Unknown,
            GatewayState::Retired => Standing::Retired,
            GatewayState::Commissioned => {
                let registered = proof.certificate.filter(|certificate| entry.certificates.contains(certificate));
                match registered {
                    Some(certificate) => Standing::Trusted(Some(Credential::Certificate(certificate))),
                    None if proof.needs_certificate => Standing::Imposter,
                    None => standing_by_key(entry, proof.key, now),
                }
            }
        }
    }

    /// Who a gateway was at a time: it is proven, or what was kept is right beside a
    /// certificate of it or, where keys are enough, a key that is not revoked and had
    /// not ended then.
    pub(crate) fn standing_by(
        &self,
        gateway: &GatewayId,
        at: Timestamp,
        is_proven: bool,
        needs_certificate: bool,
        is_right: impl Fn(&KeyDigest) -> bool,
    ) -> Standing {
        let Some(entry) = self.gateways.get(gateway) else { return Standing::Unknown };
        match entry.state {
            GatewayState::Waiting => Standing::Unknown,
            GatewayState::Retired => Standing::Retired,
            GatewayState::Commissioned => {
                let is_valid = |known: &&DirectoryKey| !needs_certificate && known.until.is_none_or(|until| until > at);
                let keys = entry.keys.iter().filter(is_valid).map(|known| known.digest);
                let certificates = entry.certificates.iter().map(certificate_digest);
                let known = keys.chain(certificates).fold(false, |found, known| found | is_right(&known));
                if is_proven || known { Standing::Trusted(None) } else { Standing::Imposter }
            }
        }
    }

    /// By how much the times of what arrived of a gateway at an instant are moved.
    pub(crate) fn clock_shift(&self, gateway: &GatewayId, received: Timestamp) -> ClockShift {
        self.gateways.get(gateway).map(|entry| entry.clock.at(received)).unwrap_or_default()
    }

    /// Whether somebody has given it a place and a key.
    pub(crate) fn is_commissioned(&self, gateway: &GatewayId) -> bool {
        self.gateways.get(gateway).is_some_and(|entry| entry.state == GatewayState::Commissioned)
    }

    /// Gateways that are commissioned or have been adopted.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Whether documents of it are stored.
    pub(crate) fn is_stored(&self, gateway: &GatewayId) -> bool {
        self.gateways.get(gateway).is_some_and(|entry| entry.stored)
    }

    /// Changes with the commissioned gateways, their keys and certificates.
    pub(crate) fn commissioned(&self) -> u64 {
        // In no order: the sum of what each of them is known by.
        let commissioned = self.gateways.values().filter(|entry| entry.state == GatewayState::Commissioned);
        commissioned.fold(0, |sum: u64, entry| {
            let mut hasher = DefaultHasher::new();
            (&entry.gateway, &entry.keys, &entry.certificates).hash(&mut hasher);
            sum.wrapping_add(hasher.finish())
        })
    }
}

impl Zones for Directory {
    /// The location's, else the provider's.
    fn of(&self, gateway: Option<&GatewayId>) -> &Zone {
        gateway.and_then(|id| self.gateways.get(id)).and_then(|entry| entry.zone.as_ref()).unwrap_or(&self.settings.zone)
    }
}

/// A certificate as what proves a gateway is kept beside a document: by a digest.
pub(crate) fn certificate_digest(certificate: &Fingerprint) -> KeyDigest {
    KeyDigest(certificate.0)
}

fn is_in_use(entry: &DirectoryEntry) -> bool {
    match entry.state {
        GatewayState::Commissioned => true,
        GatewayState::Waiting => entry.stored,
        GatewayState::Retired => false,
    }
}

/// All keys are compared, so that the time it takes does not tell which was right.
fn standing_by_key(entry: &DirectoryEntry, key: Option<KeyDigest>, now: Timestamp) -> Standing {
    let Some(key) = key else { return Standing::Imposter };
    let valid = entry.keys.iter().filter(|known| known.until.is_none_or(|until| until > now));
    let found = valid.fold(None, |found, known| if known.digest.matches(&key) { Some(known.id) } else { found });
    found.map_or(Standing::Imposter, |id| Standing::Trusted(id.map(Credential::Key)))
}

/// The latest directory, renewed within a second or two of a change; none where
/// there has never been any.
#[derive(Debug, Clone)]
pub(crate) struct DirectoryFeed(watch::Receiver<Option<Arc<Directory>>>);

impl DirectoryFeed {
    /// Loads the directory from the store or, where that gives none within the
    /// deadline, from the snapshot; [`DirectoryKeeper::run`] renews it.
    pub(crate) async fn open(
        store: &ProviderStore,
        snapshot: Snapshot,
        deadline: Duration,
    ) -> Result<(Self, DirectoryKeeper), StoreError> {
        let (sender, receiver) = watch::channel(None);
        let mut keeper = DirectoryKeeper { store: store.clone(), snapshot, versions: None, clock_is_wrong: false, sender };
        // Without a snapshot there is nothing to do but to wait.
        let deadline = if keeper.snapshot.is_there() { deadline } else { deadline.max(FIRST) };
        let failure = match tokio::time::timeout(deadline, keeper.renew()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(StoreError::Unavailable(format!("it did not answer within {deadline:?}"))),
        };
        if let Some(error) = failure {
            match keeper.snapshot.load() {
                Some(known) => {
                    let gateways = known.gateways.len();
                    tracing::warn!(%error, gateways, "the store does not answer, gateways are judged as last known");
                    keeper.sender.send_replace(Some(Arc::new(Directory::of(known, None))));
                }
                None if is_temporary(&error) => {
                    tracing::error!(%error, "the store does not answer and no gateways are known: nothing is taken until it does");
                }
                None => return Err(error),
            }
        }
        Ok((Self(receiver), keeper))
    }

    pub(crate) fn now(&self) -> Option<Arc<Directory>> {
        self.0.borrow().clone()
    }

    /// Waits for another directory than those seen so far; false once there will be
    /// none.
    pub(crate) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// Renews the directory, and its snapshot on the disk, until told to stop.
pub(crate) struct DirectoryKeeper {
    store: ProviderStore,
    snapshot: Snapshot,
    /// Of what is in force; none where that did not come from the store.
    versions: Option<Versions>,
    clock_is_wrong: bool,
    sender: watch::Sender<Option<Arc<Directory>>>,
}

impl DirectoryKeeper {
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            let renewed = tokio::time::timeout(PATIENCE, self.renew());
            match shutdown.run_until_cancelled(renewed).await {
                Some(Ok(Ok(()))) | None => {}
                Some(Ok(Err(error))) => {
                    tracing::warn!(%error, "gateways and settings cannot be renewed, the last ones stay in force");
                }
                Some(Err(_)) => tracing::warn!("the store does not answer, the last known gateways and settings stay in force"),
            }
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        self.compare_clocks().await?;
        let versions = self.store.versions().await?;
        if self.versions.is_some_and(|known| known.config == versions.config) {
            return Ok(());
        }
        let known = Directory::read(&self.store).await?;
        let (snapshot, kept) = (self.snapshot.clone(), known.clone());
        let before = self.sender.borrow().clone();
        let directory = Directory::of(known, before.as_ref().map(|before| &before.mappings));
        self.sender.send_replace(Some(Arc::new(directory)));
        self.versions = Some(versions);
        match tokio::task::spawn_blocking(move || snapshot.save(&kept)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "gateways cannot be kept for a start without the store"),
        }
        Ok(())
    }

    /// Sees whether this machine's clock may say in which order documents came, and
    /// tells of it where that has changed.
    async fn compare_clocks(&mut self) -> Result<(), StoreError> {
        let fault = self.store.clock_check().await?;
        match &fault {
            Some(problem) if !self.clock_is_wrong => tracing::error!(problem, "no document is taken by a clock that is wrong"),
            None if self.clock_is_wrong => tracing::info!("clocks go together again, documents are taken"),
            _ => {}
        }
        self.clock_is_wrong = fault.is_some();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{ClockCorrections, CredentialId};
    use uuid::Uuid;

    use super::*;

    fn directory() -> (Directory, GatewayId) {
        let gateway = GatewayId::parse("gw-1").unwrap();
        let key = |number: u128, key: &str, until| DirectoryKey {
            id: Some(CredentialId::new(Uuid::from_u128(number))),
            digest: KeyDigest::of(key),
            until,
        };
        let entry = DirectoryEntry {
            gateway: gateway.clone(),
            state: GatewayState::Commissioned,
            zone: None,
            keys: vec![key(1, "old", Some(Timestamp::clamped(1000))), key(2, "new", None)],
            certificates: vec![Fingerprint([7; 32])],
            clock: ClockCorrections::default(),
            stored: false,
        };
        (Directory::of(Known { gateways: vec![entry], ..Known::default() }, None), gateway)
    }

    #[test]
    fn both_keys_hold_until_the_end_of_the_old_one() {
        let (directory, gateway) = directory();
        let standing = |key: &str, now: i64| {
            let proof = Proof { key: Some(KeyDigest::of(key)), ..Proof::default() };
            directory.standing(&gateway, &proof, Timestamp::clamped(now))
        };
        let trusted = |number| Standing::Trusted(Some(Credential::Key(CredentialId::new(Uuid::from_u128(number)))));
        assert_eq!([standing("old", 999), standing("new", 999)], [trusted(1), trusted(2)]);
        assert_eq!([standing("old", 1000), standing("new", 1000)], [Standing::Imposter, trusted(2)]);
        assert_eq!(standing("other", 0), Standing::Imposter);
    }

    #[test]
    fn a_registered_certificate_needs_no_key_and_a_key_may_not_be_enough() {
        let (directory, gateway) = directory();
        let standing = |proof| directory.standing(&gateway, &proof, Timestamp::clamped(0));
        let (right, key) = (Fingerprint([7; 32]), Some(KeyDigest::of("new")));
        let trusted = Standing::Trusted(Some(Credential::Certificate(right)));
        assert_eq!(directory.owner(&right), Some(&gateway));
        assert_eq!(standing(Proof { certificate: Some(right), ..Proof::default() }), trusted);
        let foreign = Proof { key, certificate: Some(Fingerprint([8; 32])), needs_certificate: false };
        assert!(matches!(standing(foreign), Standing::Trusted(Some(Credential::Key(_)))));
        assert_eq!(standing(Proof { needs_certificate: true, ..foreign }), Standing::Imposter);
    }

    #[test]
    fn what_is_kept_of_a_key_proves_nothing_where_certificates_are_needed() {
        let (directory, gateway) = directory();
        let standing = |kept: KeyDigest, needs_certificate| {
            directory.standing_by(&gateway, Timestamp::clamped(0), false, needs_certificate, |known| known.matches(&kept))
        };
        let (key, certificate) = (KeyDigest::of("new"), certificate_digest(&Fingerprint([7; 32])));
        assert_eq!([standing(key, false), standing(key, true)], [Standing::Trusted(None), Standing::Imposter]);
        assert_eq!([standing(certificate, false), standing(certificate, true)], [Standing::Trusted(None); 2]);
    }
}
