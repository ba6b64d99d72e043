//! The directory on the local disk: gateways, digests of their keys, settings and
//! mappings as they were last read, so that a start without the store knows them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use heliograph_domain::{
    ClockCorrections, CredentialId, Fingerprint, GatewayId, GatewayState, KeyDigest, ProviderMapping, ProviderSettings,
    Timestamp, Zone,
};
use heliograph_store::{DirectoryEntry, DirectoryKey};
use serde::{Deserialize, Serialize};

const NAME: &str = "directory.json";

/// What is kept. JSON, so that a release with further settings reads it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    gateways: Vec<KeptGateway>,
    settings: ProviderSettings,
    /// The release before kept none.
    #[serde(default)]
    mappings: Vec<ProviderMapping>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptGateway {
    id: GatewayId,
    state: GatewayState,
    zone: Option<Zone>,
    keys: Vec<[u8; 32]>,
    /// More of each key, in the same order; the release before does not write it.
    #[serde(default)]
    about_keys: Vec<AboutKey>,
    #[serde(default)]
    certificates: Vec<Fingerprint>,
    #[serde(default)]
    clock: ClockCorrections,
    #[serde(default)]
    stored: bool,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct AboutKey {
    id: Option<CredentialId>,
    until: Option<Timestamp>,
}

impl KeptGateway {
    fn of(entry: &DirectoryEntry) -> Self {
        Self {
            id: entry.gateway.clone(),
            state: entry.state,
            zone: entry.zone.clone(),
            keys: entry.keys.iter().map(|key| key.digest.0).collect(),
            about_keys: entry.keys.iter().map(|key| AboutKey { id: key.id, until: key.until }).collect(),
            certificates: entry.certificates.clone(),
            clock: entry.clock.clone(),
            stored: entry.stored,
        }
    }

    fn into_entry(self) -> DirectoryEntry {
        let about = self.about_keys.into_iter().chain(std::iter::repeat(AboutKey::default()));
        let key = |(digest, AboutKey { id, until })| DirectoryKey { id, digest: KeyDigest(digest), until };
        DirectoryEntry {
            gateway: self.id,
            state: self.state,
            zone: self.zone,
            keys: self.keys.into_iter().zip(about).map(key).collect(),
            certificates: self.certificates,
            clock: self.clock,
            stored: self.stored,
        }
    }
}

/// What a directory is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) gateways: Vec<DirectoryEntry>,
    pub(crate) settings: ProviderSettings,
    pub(crate) mappings: Vec<ProviderMapping>,
}

/// The file in the spool folder of the provider.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(NAME) }
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// What was last kept; `None` where there is nothing, or nothing whole.
    pub(crate) fn load(&self) -> Option<Known> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let whole = text.split_once('\n').filter(|(sum, body)| *sum == checksum(body));
        let kept = whole.and_then(|(_, body)| serde_json::from_str::<Kept>(body).ok());
        if kept.is_none() {
            tracing::error!(file = %self.path.display(), "the last known gateways are damaged and of no use");
        }
        let kept = kept?;
        let gateways = kept.gateways.into_iter().map(KeptGateway::into_entry).collect();
        Some(Known { gateways, settings: kept.settings, mappings: kept.mappings })
    }

    /// Keeps a directory: the new one or the old one is there, whatever happens.
    pub(crate) fn save(&self, known: &Known) -> io::Result<()> {
        let Known { gateways, settings, mappings } = known;
        let gateways = gateways.iter().map(KeptGateway::of).collect();
        let kept = Kept { gateways, settings: settings.clone(), mappings: mappings.clone() };
        let body = serde_json::to_string(&kept)?;
        let text = format!("{}\n{body}", checksum(&body));
        if std::fs::read_to_string(&self.path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // Replicas share the file: each writes one of its own first.
        let beside = folder.join(format!("{NAME}.{:016x}", rand::random::<u64>()));
        let written = write_synced(&beside, text.as_bytes()).and_then(|()| std::fs::rename(&beside, &self.path));
        if written.is_err() {
            drop(std::fs::remove_file(&beside));
        }
        written?;
        File::open(folder)?.sync_all()
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use heliograph_domain::{ClockCorrection, ClockShift, MappingName};
    use uuid::Uuid;

    use super::*;

    fn key(key: &str, until: Option<Timestamp>) -> DirectoryKey {
        DirectoryKey { id: Some(CredentialId::new(Uuid::from_u128(7))), digest: KeyDigest::of(key), until }
    }

    fn entry(id: &str) -> DirectoryEntry {
        DirectoryEntry {
            gateway: GatewayId::parse(id).unwrap(),
            state: GatewayState::Commissioned,
            zone: Some(Zone::parse("Europe/Madrid").unwrap()),
            keys: vec![key("correct-horse", Some(Timestamp::clamped(7))), key("battery-staple", None)],
            certificates: vec![Fingerprint([9; 32])],
            clock: ClockCorrections::default()
                .with(ClockCorrection { from: Timestamp::clamped(5), shift: ClockShift::parse("-1h").unwrap() }),
            stored: true,
        }
    }

    #[test]
    fn a_directory_comes_back_and_is_nobody_elses_business() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::in_folder(folder.path());
        assert!(snapshot.load().is_none() && !snapshot.is_there());
        let settings = ProviderSettings { name: "Sunrise".into(), ..ProviderSettings::default() };
        let mapping = ProviderMapping {
            name: MappingName::parse("greenhouse").unwrap(),
            source: "name = \"greenhouse\"\n".to_owned(),
            revision: 3,
            changed: Timestamp::clamped(5),
        };
        snapshot.save(&Known { gateways: vec![entry("gw-0"), entry("gw-1")], ..Known::default() }).unwrap();
        let gateways = vec![entry("gw-1")];
        snapshot.save(&Known { gateways, settings: settings.clone(), mappings: vec![mapping.clone()] }).unwrap();
        let read = snapshot.load().unwrap();
        assert_eq!((read.settings, read.mappings), (settings, vec![mapping]));
        let [found] = &read.gateways[..] else { panic!("{:?}", read.gateways) };
        let expected = entry("gw-1");
        assert_eq!(*found, expected);
        assert_eq!(std::fs::metadata(&snapshot.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let text = std::fs::read_to_string(&snapshot.path).unwrap();
        assert!(!text.contains("horse") && !text.contains("staple"), "keys stand there as digests: {text}");
    }

    #[test]
    fn one_of_the_release_before_is_read_and_one_of_this_release_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::in_folder(folder.path());
        snapshot.save(&Known { gateways: vec![entry("gw-1")], ..Known::default() }).unwrap();
        let text = std::fs::read_to_string(&snapshot.path).unwrap();
        let mut kept: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
        let gateway = kept["gateways"][0].as_object_mut().unwrap();
        // All that the release before knows of.
        gateway.retain(|name, _| ["id", "state", "zone", "keys"].contains(&name.as_str()));
        assert_eq!((gateway.len(), gateway["keys"].as_array().unwrap().len()), (4, 2));
        let body = kept.to_string();
        std::fs::write(&snapshot.path, format!("{}\n{body}", checksum(&body))).unwrap();
        let entries = snapshot.load().unwrap().gateways;
        let keys: Vec<_> = entries[0].keys.iter().map(|key| (key.digest, key.id, key.until)).collect();
        assert_eq!(keys, [(KeyDigest::of("correct-horse"), None, None), (KeyDigest::of("battery-staple"), None, None)]);
        assert!(entries[0].certificates.is_empty());
    }

    #[test]
    fn a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::in_folder(folder.path());
        snapshot.save(&Known { gateways: vec![entry("gw-1")], ..Known::default() }).unwrap();
        let whole = std::fs::read(&snapshot.path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&snapshot.path, bytes).unwrap();
            assert!(snapshot.load().is_none(), "{at}");
        }
        std::fs::write(&snapshot.path, &whole[..whole.len() - 1]).unwrap();
        assert!(snapshot.load().is_none());
    }
}
