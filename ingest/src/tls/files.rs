//! Certificate and key as files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// A certificate with those that lead to its root, and its private key.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| refused(certificate, &error, "certificate"))?;
        if chain.is_empty() {
            return Err(refused(certificate, &pem::Error::NoItemsFound, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, &error, "private key"))?;
        Ok(Self { chain, key })
    }
}

fn refused(path: &Path, error: &pem::Error, what: &str) -> TlsError {
    let problem = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("holds no {what} in PEM form"),
        other => format!("is no PEM file: {other}"),
    };
    TlsError::File { path: path.to_owned(), problem }
}

/// What tells that files have changed: the identity, size and time of each. One that
/// is not there has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([Option<(u64, u64, i64, i64)>; 2]);

impl Stamp {
    pub(super) fn of(certificate: &Path, key: &Path) -> Self {
        let stamp = |path: &Path| {
            let of = fs::metadata(path).ok()?;
            Some((of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
        };
        Self([stamp(certificate), stamp(key)])
    }
}
