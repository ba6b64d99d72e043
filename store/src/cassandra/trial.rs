//! Keyspaces on a real node for the tests of what no caller of this crate can reach.

use heliograph_domain::{ProviderId, Secret};
use uuid::Uuid;

use super::Database;
use super::mark::Timing;
use crate::admin::ClusterAdmin;
use crate::url::{Place, StoreUrl};

/// Openings of one new keyspace, each as another process would have.
pub(crate) async fn openings<const N: usize>(timing: Timing) -> [Database; N] {
    let url = StoreUrl::parse("cassandra://127.0.0.1/?dc=datacenter1&rf=1").unwrap();
    let url = url.signed_in("cassandra", Secret::new("cassandra"));
    let name = Uuid::new_v4().simple().to_string();
    let provider = ProviderId::parse(&format!("trial_{}", &name[..12])).unwrap();
    let admin = ClusterAdmin::connect(&url).await.expect("no Cassandra on 127.0.0.1: deploy/dev/cassandra.sh start");
    admin.keyspace_make(&provider).await.unwrap();
    let Place::Cassandra(cluster) = url.place else { unreachable!() };
    std::array::from_fn(|_| Database::with_timing(cluster.clone(), &provider, timing))
}

/// Many keyspaces are a burden to a node.
pub(crate) async fn remove(db: &Database) {
    let cql = format!("DROP KEYSPACE {}", db.inner.keyspace);
    db.session().await.unwrap().query_unpaged(cql, ()).await.unwrap();
}
