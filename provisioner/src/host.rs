//! What is asked of the host itself before a plan is made: that secrets are
//! there and closed to others, and that ports are free.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::desired::PortSpec;
use crate::fleet::Fleet;

/// The numeric user and group of the containers.
const OWNER: u32 = 65_532;

/// Which file stands behind each path of the fleet file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretVersions(BTreeMap<PathBuf, (PathBuf, String)>);

impl SecretVersions {
    /// The absolute path and the version of a file that the fleet names.
    pub(crate) fn of(&self, named: &Path) -> (PathBuf, String) {
        self.0.get(named).cloned().unwrap_or_else(|| (named.to_owned(), String::new()))
    }

    /// Notes a file under the path that the fleet names it by.
    pub fn insert(&mut self, named: impl Into<PathBuf>, absolute: impl Into<PathBuf>, version: impl Into<String>) {
        self.0.insert(named.into(), (absolute.into(), version.into()));
    }
}

/// A secret that cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider.{provider}.mail.password_file: {} {problem}", path.display())]
pub struct SecretError {
    /// Whose secret.
    pub provider: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong and how to mend it.
    pub problem: String,
}

/// Looks at every secret that a fleet names; relative paths start from `folder`.
///
/// # Errors
/// With every file that is missing, open to others or closed to the containers.
pub fn examine_secrets(fleet: &Fleet, folder: &Path) -> Result<SecretVersions, Vec<SecretError>> {
    let mut versions = SecretVersions::default();
    let mut errors = Vec::new();
    for (id, provider) in &fleet.providers {
        let Some(login) = provider.mail.as_ref().and_then(|mail| mail.login.as_ref()) else {
            continue;
        };
        match examine_file(&folder.join(&login.password_file)) {
            Ok((absolute, version)) => versions.insert(&login.password_file, absolute, version),
            Err((path, problem)) => errors.push(SecretError { provider: id.to_string(), path, problem }),
        }
    }
    if errors.is_empty() { Ok(versions) } else { Err(errors) }
}

fn examine_file(path: &Path) -> Result<(PathBuf, String), (PathBuf, String)> {
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be looked at: {error}"),
    };
    let absolute = std::fs::canonicalize(path).map_err(|error| (path.to_owned(), failed(&error)))?;
    let facts = std::fs::metadata(&absolute).map_err(|error| (absolute.clone(), failed(&error)))?;
    if let Some(problem) = objection(&facts) {
        return Err((absolute, problem));
    }
    let version = format!("{}-{}-{}.{}", facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec());
    Ok((absolute, version))
}

fn objection(facts: &std::fs::Metadata) -> Option<String> {
    let mode = facts.mode();
    if !facts.is_file() {
        return Some("is not a file".to_owned());
    }
    if mode & 0o007 != 0 {
        return Some(format!("may be read by everybody (mode {:03o}): chmod 0400 it", mode & 0o777));
    }
    let readable = (facts.uid() == OWNER && mode & 0o400 != 0) || (facts.gid() == OWNER && mode & 0o040 != 0);
    if !readable {
        return Some(format!("cannot be read by the containers' user: chown {OWNER}:{OWNER} and chmod 0400 it"));
    }
    if facts.size() == 0 {
        return Some("is empty".to_owned());
    }
    None
}

/// The ports of this host among `wanted` that something else listens on. Only
/// meaningful where the engine runs on this host.
#[must_use]
pub fn ports_in_use(wanted: &[PortSpec]) -> Vec<SocketAddr> {
    let taken = |port: &&PortSpec| TcpListener::bind(port.host).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    wanted.iter().filter(taken).map(|port| port.host).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn fleet(file: &str) -> Fleet {
        Fleet::parse(&format!(
            "[provider.a]\nn = 1\n[provider.a.mail]\nhost = \"h\"\nfrom = \"a@b.example\"\nusername = \"u\"\npassword_file = \"{file}\"\n"
        ))
        .unwrap()
    }

    fn problem(folder: &Path) -> String {
        examine_secrets(&fleet("secret"), folder).unwrap_err().remove(0).problem
    }

    #[test]
    fn a_secret_is_there_and_closed_to_others_and_open_to_the_containers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        assert_eq!(problem(folder.path()), "does not exist");
        write(&file, "hunter2").unwrap();
        set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert!(problem(folder.path()).contains("read by everybody (mode 644)"));
        set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert!(problem(folder.path()).contains("chown 65532:65532"));
        chown(&file, Some(OWNER), Some(OWNER)).expect("chown needs root, as `make test` does");
        let versions = examine_secrets(&fleet("secret"), folder.path()).unwrap();
        let (path, version) = versions.of(Path::new("secret"));
        assert!(path.is_absolute() && !version.contains("hunter2"));
    }

    #[test]
    fn a_port_that_something_listens_on_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap();
        let wanted = [PortSpec { host, container: 80 }];
        assert_eq!(ports_in_use(&wanted), [host]);
        drop(listener);
        assert!(ports_in_use(&wanted).is_empty());
    }
}
