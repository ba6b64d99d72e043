//! Connecting to a cluster: at first use, and again where that failed.

use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use heliograph_domain::ProviderId;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{ConnectionError, ConnectionPoolError, MetadataError, NewSessionError, PrepareError};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::sync::Mutex;

use super::retry::Renewing;
use super::schema;
use crate::error::StoreError;
use crate::url::Cluster;

/// How long a statement may take in all, with every retry.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long all of a session's first connections may take.
const OPEN: Duration = Duration::from_secs(8);
/// A node that answers nothing for so long is taken as gone.
const KEEPALIVE: Duration = Duration::from_secs(3);
/// How often the driver looks which nodes there are.
const TOPOLOGY: Duration = Duration::from_secs(10);
/// Connections to each node.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// A session that is made when it is needed.
#[derive(Debug)]
pub(super) struct Connection {
    cluster: Cluster,
    keyspace: String,
    open: RwLock<Option<Arc<Session>>>,
    /// Held while somebody connects; how the last attempt failed.
    attempt: Mutex<Option<(Instant, StoreError)>>,
}

impl Connection {
    pub(super) fn new(cluster: Cluster, keyspace: String) -> Self {
        Self { cluster, keyspace, open: RwLock::default(), attempt: Mutex::default() }
    }

    /// The data centre whose nodes are used.
    pub(super) fn datacenter(&self) -> &str {
        &self.cluster.datacenter
    }

    /// The session. Callers that wait while one of them fails to connect fail
    /// with it, instead of waiting for their own failure in turn.
    pub(super) async fn session(&self, provider: &ProviderId) -> Result<Arc<Session>, StoreError> {
        if let Some(session) = self.opened() {
            return Ok(session);
        }
        let asked = Instant::now();
        let mut attempt = self.attempt.lock().await;
        if let Some(session) = self.opened() {
            return Ok(session);
        }
        if let Some((_, error)) = attempt.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        let connected = async {
            let session = connect(&self.cluster, Some(&self.keyspace)).await?;
            schema::check(&session, provider).await.map(|()| session)
        };
        match connected.await {
            Ok(session) => {
                let session = Arc::new(session);
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&session));
                Ok(session)
            }
            Err(error) => {
                *attempt = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn opened(&self) -> Option<Arc<Session>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Prepares a statement within the deadline. Nodes are all asked at once, and the
/// driver waits for each of them however long it takes.
pub(super) async fn in_time<T>(preparing: impl Future<Output = Result<T, PrepareError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable(format!("a statement was not prepared within {} s", DEADLINE.as_secs()));
    Ok(tokio::time::timeout(DEADLINE, preparing).await.map_err(late)??)
}

/// Connects to a cluster, looking at one keyspace's layout only, if one is named.
pub(crate) async fn connect(cluster: &Cluster, keyspace: Option<&str>) -> Result<Session, StoreError> {
    let balancing = DefaultPolicy::builder().prefer_datacenter(cluster.datacenter.clone()).token_aware(true).build();
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(DEADLINE))
        .load_balancing_policy(balancing)
        .retry_policy(Arc::new(Renewing::default()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&cluster.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .pool_size(PoolSize::PerHost(CONNECTIONS))
        .disallow_shard_aware_port(true)
        .connection_timeout(CONNECT)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .cluster_metadata_refresh_interval(TOPOLOGY)
        .fetch_full_schema_metadata(false)
        .keyspaces_to_fetch(keyspace)
        .tls_context(tls(cluster)?);
    if let Some((user, password)) = &cluster.credentials {
        builder = builder.user(user, password.reveal());
    }
    match tokio::time::timeout(OPEN, builder.build()).await {
        Ok(session) => session.map_err(|error| unopened(error, cluster)),
        Err(_) => Err(StoreError::Unavailable(format!("{} does not answer", cluster.nodes.join(", ")))),
    }
}

/// Why there is no session. Where a node has not proved who it is, that says what it
/// would take.
fn unopened(error: NewSessionError, cluster: &Cluster) -> StoreError {
    match (refused_certificate(&error), &cluster.ca) {
        (Some(refused), Some(ca)) => StoreError::Unavailable(format!(
            "{refused}; the certificate of a node of {} has to be signed by one in {} and to name the IP address that is \
             connected to",
            cluster.nodes.join(", "),
            ca.display()
        )),
        _ => error.into(),
    }
}

/// What was wrong with the certificate that the last node showed, if that was it.
fn refused_certificate(error: &NewSessionError) -> Option<&rustls::Error> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(broken)) = error else { return None };
    let ConnectionPoolError::Broken { last_connection_error: ConnectionError::IoError(io), .. } = broken else { return None };
    let refused = io.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(refused, rustls::Error::InvalidCertificate(_)).then_some(refused)
}

/// What nodes have to prove, if anything.
fn tls(cluster: &Cluster) -> Result<Option<Arc<ClientConfig>>, StoreError> {
    let Some(file) = &cluster.ca else { return Ok(None) };
    let failed = |problem: String| StoreError::Open { place: file.display().to_string(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("holds no certificate (PEM)".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    Ok(Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
