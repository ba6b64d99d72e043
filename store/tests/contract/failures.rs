//! What a cluster does not take: what will never be taken, and what may be later.

use heliograph_domain::{ProviderId, QuarantineId, RefusalCode};
use heliograph_store::{ClusterAdmin, DocumentWrite, QuarantineNew, Store, StoreError};
use uuid::Uuid;

use crate::backend::{Backend, gateway, power};
use crate::cluster::{self, administer};

/// More than a node writes in one piece.
const TOO_LONG: usize = 20 << 20;

#[tokio::test]
async fn what_the_cluster_has_no_room_for_is_refused_for_good_and_holds_up_nothing_else() {
    let store = Backend::Cassandra.fresh();
    let document = power("gw-1", &[(0, 1.0)]);
    let refused = QuarantineNew {
        id: QuarantineId::new(Uuid::new_v4()),
        received: document.received,
        gateway: None,
        address: document.address.clone(),
        code: RefusalCode::Malformed,
        reason: "x".repeat(TOO_LONG),
        raw: Vec::new(),
        trusted: true,
    };
    let too_long = DocumentWrite { quarantine: Some(refused), ..document.clone() };
    let error = store.document_write(too_long).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    // What is latest follows documents: there it holds up nothing either.
    store.document_write(DocumentWrite { address: "x".repeat(TOO_LONG), ..document }).await.unwrap();
    store.document_write(power("gw-2", &[(1, 1.0)])).await.unwrap();
    let found = store.gateway_fetch(&gateway("gw-2")).await.unwrap();
    assert_eq!((found.documents, found.last_address.as_deref()), (1, Some("127.0.0.1:4000")));
    store.document_write(power("gw-1", &[(2, 7.0)])).await.unwrap();
    let sensors = store.sensor_list(&gateway("gw-1")).await.unwrap();
    assert_eq!(sensors[0].series[0].latest.map(|latest| latest.value), Some(7.0));
}

#[tokio::test]
async fn missing_rights_and_tables_are_the_clusters_fault_and_the_remedy_is_named() {
    let name = Uuid::new_v4().simple().to_string();
    let provider = ProviderId::parse(&format!("lacking_{}", &name[..12])).unwrap();
    let admin = ClusterAdmin::connect(&cluster::url()).await.unwrap();
    admin.keyspace_make(&provider).await.unwrap();
    admin.role_make(&provider, Some(&heliograph_domain::Secret::new("hush")), || unreachable!()).await.unwrap();
    let role = ClusterAdmin::role_name(&provider);
    let open = |user: &str, password: &str| Store::open(cluster::url_of(user, password)).unwrap().provider(&provider).unwrap();
    let write =
        async |store: &heliograph_store::ProviderStore, minute: i64| store.document_write(power("gw-1", &[(minute, 1.0)])).await;
    let store = open(&role, "hush");
    write(&store, 0).await.unwrap();
    administer(format!("REVOKE MODIFY ON KEYSPACE {role} FROM {role}"));
    // The node remembers rights for a while.
    let forbidden = loop {
        match write(&store, 1).await {
            Ok(()) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
            Err(error) => break error,
        }
    };
    assert!(matches!(&forbidden, StoreError::Unavailable(text) if text.contains("heliograph store init")), "{forbidden}");
    administer(format!("DROP TABLE {role}.reading"));
    let missing = write(&open("cassandra", "cassandra"), 2).await.unwrap_err();
    assert!(matches!(&missing, StoreError::Unavailable(text) if text.contains("heliograph store init")), "{missing}");
    administer(format!("DROP KEYSPACE {role}"));
    administer(format!("DROP ROLE {role}"));
}
