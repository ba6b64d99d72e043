//! Secured connections of simulated gateways.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// How to connect, and to whom.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Tls {
    /// Trusts the certificates of a file (PEM), shown under a name.
    pub(super) fn new(trusted: &Path, name: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(trusted).with_context(|| format!("read {}", trusted.display()))?;
        for certificate in certificates {
            let certificate = certificate.with_context(|| format!("read {}", trusted.display()))?;
            roots.add(certificate).with_context(|| format!("trust {}", trusted.display()))?;
        }
        ensure!(!roots.is_empty(), "{} holds no certificate (PEM)", trusted.display());
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).with_context(|| format!("{name:?} is no name of a server"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}
