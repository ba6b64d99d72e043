//! Secured connections of simulated gateways.

use std::io;
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
    /// Trusts the certificates of a file (PEM), else those that the system trusts, of a
    /// server under a name.
    pub(super) fn new(trusted: Option<&Path>, name: &str) -> anyhow::Result<Self> {
        let roots = match trusted {
            Some(file) => of_file(file)?,
            None => of_the_system()?,
        };
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).with_context(|| format!("{name:?} is no name of a server"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

fn of_file(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).with_context(|| format!("read {}", file.display()))?;
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("read {}", file.display()))?;
        roots.add(certificate).with_context(|| format!("trust {}", file.display()))?;
    }
    ensure!(!roots.is_empty(), "{} holds no certificate (PEM)", file.display());
    Ok(roots)
}

fn of_the_system() -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read or used is trusted by nobody: the others are enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(!roots.is_empty(), "this system has no certificates to trust; name those of the server by --ca FILE");
    Ok(roots)
}

/// What to do where a connection failed because the server's certificate is not trusted:
/// trying again would end in the same way.
pub(super) fn distrust(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => Some(format!(
            "the server's certificate is not trusted: {problem}; \
             name the certificate that vouches for it by --ca FILE, and its own name by --server-name"
        )),
        _ => None,
    }
}
