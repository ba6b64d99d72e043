//! What is done with an administrator's credentials, once for each provider: the
//! processes that run for one sign in as a role that reaches its keyspace alone.

use std::collections::BTreeMap;

use heliograph_domain::{ProviderId, Secret};
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use crate::cassandra::{self, schema};
use crate::error::StoreError;
use crate::url::{Cluster, Place, StoreUrl};

/// A cluster in the hands of its administrator.
#[derive(Debug)]
pub struct ClusterAdmin {
    session: Session,
    cluster: Cluster,
}

/// A keyspace with another replication than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    keyspace: String,
    datacenter: String,
    /// How many copies were asked for.
    pub wanted: u8,
    /// What the cluster says of it.
    found: BTreeMap<String, String>,
}

impl Replication {
    /// Copies of a row in the data centre that was asked for; 0 where there are none.
    #[must_use]
    pub fn copies(&self) -> u8 {
        self.found.get(&self.datacenter).and_then(|copies| copies.parse().ok()).unwrap_or(0)
    }

    /// The statement that gives the keyspace as many copies as were asked for, and
    /// leaves other data centres as they are.
    #[must_use]
    pub fn statement(&self) -> String {
        let Self { keyspace, datacenter, wanted, found } = self;
        // Another strategy has no data centres to keep.
        let options = ["class", "replication_factor", datacenter];
        let others = found.iter().filter(|(name, _)| !options.contains(&name.as_str()));
        let others: String = others.map(|(name, copies)| format!(", '{name}': {copies}")).collect();
        format!(
            "ALTER KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', '{datacenter}': {wanted}{others}}}"
        )
    }
}

/// What has become of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleMade {
    /// It is new.
    Created,
    /// It was there; it has the password that was given, or keeps its own.
    Kept,
}

impl ClusterAdmin {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// [`StoreError::Open`] where the URL names no cluster;
    /// [`StoreError::Unavailable`] when it cannot be reached or signed in to.
    pub async fn connect(url: &StoreUrl) -> Result<Self, StoreError> {
        let Place::Cassandra(cluster) = &url.place else {
            let problem = "is no cluster, so that there is nothing to set up: a folder is made at its first use".to_owned();
            return Err(StoreError::Open { place: "store".to_owned(), problem });
        };
        Ok(Self { session: Box::pin(cassandra::connect(cluster, None)).await?, cluster: cluster.clone() })
    }

    /// Makes a provider's keyspace and tables, where they are missing, and brings
    /// them up to this release. Of several that do so at once one works, the
    /// others wait for it.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] where a newer release has been at work;
    /// [`StoreError::Unavailable`] when the cluster does not do it.
    pub async fn keyspace_make(&self, provider: &ProviderId) -> Result<(), StoreError> {
        schema::migrate(&self.session, &self.cluster, provider).await
    }

    /// How the keyspace of a provider is replicated otherwise than the URL asks;
    /// `None` where it is as asked. One that is there is left as it is: what changes
    /// it takes a repair of every node.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the cluster cannot be asked.
    pub async fn replication_differs(&self, provider: &ProviderId) -> Result<Option<Replication>, StoreError> {
        let keyspace = schema::keyspace(provider);
        let cql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let rows = self.session.query_unpaged(cql, (&keyspace,)).await?.into_rows_result();
        let rows = rows.map_err(|error| StoreError::Damaged(error.to_string()))?;
        let row = rows.maybe_first_row::<(BTreeMap<String, String>,)>();
        let Some((found,)) = row.map_err(|error| StoreError::Damaged(error.to_string()))? else { return Ok(None) };
        let Cluster { datacenter, replicas, .. } = &self.cluster;
        let wanted = replicas.to_string();
        if found.get(datacenter) == Some(&wanted) {
            return Ok(None);
        }
        Ok(Some(Replication { keyspace, datacenter: datacenter.clone(), wanted: *replicas, found }))
    }

    /// Makes the role that a provider's processes sign in as, and grants it the
    /// provider's keyspace alone. `password` is set where it is given; a new role
    /// gets what `invent` makes. To be called once the keyspace is there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the cluster does not do it.
    pub async fn role_make(
        &self,
        provider: &ProviderId,
        password: Option<&Secret>,
        invent: impl FnOnce() -> Secret,
    ) -> Result<(RoleMade, Option<Secret>), StoreError> {
        let lock = schema::lock(&self.session, provider).await?;
        let made = self.role_make_locked(provider, password, invent).await;
        schema::unlock(&self.session, provider, &lock).await?;
        made
    }

    async fn role_make_locked(
        &self,
        provider: &ProviderId,
        password: Option<&Secret>,
        invent: impl FnOnce() -> Secret,
    ) -> Result<(RoleMade, Option<Secret>), StoreError> {
        let role = Self::role_name(provider);
        let found = self.role_exists(&role).await?;
        let invented = if found || password.is_some() { None } else { Some(invent()) };
        if let Some(password) = password.or(invented.as_ref()) {
            let verb = if found { "ALTER" } else { "CREATE" };
            let quoted = password.reveal().replace('\'', "''");
            self.run(format!("{verb} ROLE {role} WITH PASSWORD = '{quoted}' AND LOGIN = true AND SUPERUSER = false")).await?;
        }
        self.run(format!("GRANT SELECT ON KEYSPACE {role} TO {role}")).await?;
        self.run(format!("GRANT MODIFY ON KEYSPACE {role} TO {role}")).await?;
        // What a node promises about power loss stands there.
        self.run(format!("GRANT SELECT ON system_views.settings TO {role}")).await?;
        Ok((if found { RoleMade::Kept } else { RoleMade::Created }, invented))
    }

    /// The role of a provider, which is called like its keyspace.
    #[must_use]
    pub fn role_name(provider: &ProviderId) -> String {
        schema::keyspace(provider)
    }

    async fn role_exists(&self, role: &str) -> Result<bool, StoreError> {
        let rows = self.session.query_unpaged("SELECT role FROM system_auth.roles WHERE role = ?", (role,)).await?;
        let rows = rows.into_rows_result().map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(rows.rows_num() > 0)
    }

    /// Runs a statement whose error must not show it, for it may hold a password.
    async fn run(&self, cql: String) -> Result<(), StoreError> {
        let failed = |error| match error {
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::SyntaxError, _)) => {
                StoreError::Unavailable("the cluster does not take the role's password".to_owned())
            }
            error => StoreError::from(error),
        };
        self.session.query_unpaged(cql, ()).await.map(drop).map_err(failed)
    }
}
