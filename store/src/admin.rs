//! What is done with an administrator's credentials, once for each provider: the
//! processes that run for one sign in as a role that reaches its keyspace alone.

use heliograph_domain::ProviderId;
use scylla::client::session::Session;

use crate::cassandra::{self, schema};
use crate::error::StoreError;
use crate::url::{Cluster, Place, StoreUrl};

/// A cluster in the hands of its administrator.
#[derive(Debug)]
pub struct ClusterAdmin {
    session: Session,
    cluster: Cluster,
}

impl ClusterAdmin {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// [`StoreError::Open`] where the URL names no cluster;
    /// [`StoreError::Unavailable`] when it cannot be reached or signed in to.
    pub async fn connect(url: &StoreUrl) -> Result<Self, StoreError> {
        let Place::Cassandra(cluster) = &url.place else {
            return Err(StoreError::Open {
                place: "store".to_owned(),
                problem: "is no cluster: there is nothing to set up".to_owned(),
            });
        };
        Ok(Self { session: cassandra::connect(cluster, None).await?, cluster: cluster.clone() })
    }

    /// Makes a provider's keyspace and tables, where they are missing.
    ///
    /// # Errors
    /// When the cluster does not do it.
    pub async fn keyspace_make(&self, provider: &ProviderId) -> Result<(), StoreError> {
        schema::make(&self.session, &self.cluster, provider).await
    }
}
