//! How a provider is set up on a cluster, and what its role can reach then.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use heliograph_domain::{Location, LocationId, ProviderId, Secret, Zone};
use heliograph_store::{AckCheck, ClusterAdmin, ProviderStore, RoleMade, Store, StoreError};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use crate::backend::{at, document};
use crate::cluster::{self, administer};

/// A provider that nobody has set up, whose keyspace and role go with the test.
struct Newcomer(ProviderId);

impl Newcomer {
    fn new() -> Self {
        let number = Uuid::new_v4().as_fields().0;
        Self(ProviderId::parse(&format!("new_{:08x}_{number:08x}", std::process::id())).unwrap())
    }

    /// Its store in the hands of its own role.
    fn store(&self, password: &str) -> ProviderStore {
        let url = cluster::url_of(&ClusterAdmin::role_name(&self.0), password);
        Store::open(url).unwrap().provider(&self.0).unwrap()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        // The keyspace that stays where this fails goes with the node's data.
        for cql in [format!("DROP KEYSPACE IF EXISTS provider_{}", self.0), format!("DROP ROLE IF EXISTS provider_{}", self.0)] {
            drop(cluster::try_administer(cql));
        }
    }
}

async fn set_up(provider: &ProviderId, password: &str) -> (RoleMade, Option<Secret>) {
    let admin = ClusterAdmin::connect(&cluster::url()).await.unwrap();
    admin.keyspace_make(provider).await.unwrap();
    let given = (!password.is_empty()).then(|| Secret::new(password));
    admin.role_make(provider, given.as_ref(), || Secret::new("invented")).await.unwrap()
}

async fn session(user: &str, password: &str) -> Session {
    SessionBuilder::new().known_node("127.0.0.1:9042").user(user, password).build().await.unwrap()
}

fn location(number: u128) -> Location {
    let id = LocationId::new(Uuid::from_u128(number));
    Location { id, name: format!("Site {number}"), zone: Zone::utc(), position: None, installed_kwp: None }
}

#[tokio::test]
async fn a_store_that_nobody_has_set_up_names_the_command_that_does() {
    let newcomer = Newcomer::new();
    let store = Store::open(cluster::url()).unwrap().provider(&newcomer.0).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("heliograph store init")), "{error}");
    // The handle works as soon as somebody has.
    set_up(&newcomer.0, "hush").await;
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_that_set_a_provider_up_at_once_make_it_once() {
    let newcomer = Newcomer::new();
    let all = (0..4).map(|_| {
        let provider = newcomer.0.clone();
        tokio::spawn(async move { set_up(&provider, "").await })
    });
    let made: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    let created: Vec<_> = made.iter().filter(|(made, _)| *made == RoleMade::Created).collect();
    assert_eq!(created.len(), 1, "{made:?}");
    assert_eq!(made.iter().filter(|(_, password)| password.is_some()).count(), 1);
    let store = newcomer.store("invented");
    store.location_save(location(1)).await.unwrap();
    assert_eq!(store.location_list().await.unwrap().len(), 1);
    // Once more changes nothing.
    assert_eq!(set_up(&newcomer.0, "").await.0, RoleMade::Kept);
    assert_eq!(store.location_list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_keyspace_with_other_copies_than_are_asked_for_is_told_and_stays() {
    let newcomer = Newcomer::new();
    set_up(&newcomer.0, "hush").await;
    let admin = ClusterAdmin::connect(&cluster::url()).await.unwrap();
    assert_eq!(admin.replication_differs(&newcomer.0).await.unwrap(), None);

    let more = ClusterAdmin::connect(&cluster::url_with_copies(3)).await.unwrap();
    more.keyspace_make(&newcomer.0).await.unwrap();
    let differs = more.replication_differs(&newcomer.0).await.unwrap().unwrap();
    assert_eq!((differs.copies(), differs.wanted), (1, 3));
    assert_eq!(admin.replication_differs(&newcomer.0).await.unwrap(), None, "nothing was changed");
    // What it advises does it.
    administer(differs.statement());
    assert_eq!(more.replication_differs(&newcomer.0).await.unwrap(), None);
    let back = admin.replication_differs(&newcomer.0).await.unwrap().unwrap();
    assert_eq!((back.copies(), back.wanted), (3, 1));
}

#[tokio::test]
async fn a_starter_that_died_with_the_lock_holds_up_the_next_one_only_for_a_while() {
    let newcomer = Newcomer::new();
    set_up(&newcomer.0, "hush").await;
    let begun = Instant::now();
    administer(format!(
        "INSERT INTO provider_{}.control (name, holder) VALUES ('migration', 'somebody dead') IF NOT EXISTS USING TTL 6",
        newcomer.0
    ));
    let next = tokio::spawn(async move {
        set_up(&newcomer.0, "hush").await;
        newcomer
    });
    let newcomer = tokio::time::timeout(Duration::from_secs(90), next).await.unwrap().unwrap();
    // Lives are counted in whole seconds.
    assert!(begun.elapsed() > Duration::from_secs(4), "nobody waited for the lock: {:?}", begun.elapsed());
    newcomer.store("hush").ping().await.unwrap();
}

#[tokio::test]
async fn a_role_reaches_its_own_keyspace_and_no_other() {
    let (ours, theirs) = (Newcomer::new(), Newcomer::new());
    set_up(&ours.0, "it's \"ours\"").await;
    set_up(&theirs.0, "theirs").await;
    ours.store("it's \"ours\"").location_save(location(1)).await.unwrap();
    theirs.store("theirs").location_save(location(2)).await.unwrap();

    let session = session(&ClusterAdmin::role_name(&ours.0), "it's \"ours\"").await;
    let (own, other) = (format!("provider_{}", ours.0), format!("provider_{}", theirs.0));
    session.query_unpaged(format!("SELECT * FROM {own}.catalog LIMIT 1"), ()).await.unwrap();
    let refused = [
        format!("SELECT * FROM {other}.catalog LIMIT 1"),
        format!("INSERT INTO {other}.control (name, value) VALUES ('data', 1)"),
        format!("DELETE FROM {other}.catalog WHERE part = 'catalog'"),
        format!("TRUNCATE {other}.session"),
        format!("DROP KEYSPACE {other}"),
        format!("DROP TABLE {own}.catalog"),
        format!("ALTER TABLE {own}.catalog ADD colour text"),
        format!("CREATE TABLE {own}.more (id int PRIMARY KEY)"),
        "CREATE KEYSPACE mine WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}".to_owned(),
        "SELECT * FROM system_auth.roles".to_owned(),
        "SELECT * FROM system_auth.role_permissions".to_owned(),
        "SELECT * FROM system.batches".to_owned(),
        "SELECT * FROM system_views.clients".to_owned(),
        "LIST ROLES OF cassandra".to_owned(),
        "CREATE ROLE mine WITH LOGIN = true".to_owned(),
        format!("ALTER ROLE {own} WITH SUPERUSER = true"),
        format!("GRANT SELECT ON KEYSPACE {other} TO {own}"),
    ];
    for cql in refused {
        let answer = session.query_unpaged(cql.as_str(), ()).await;
        let error = answer.err().map(|error| error.to_string()).unwrap_or_else(|| panic!("{cql} was done"));
        assert!(error.contains("doesn't have the right"), "{cql}: {error}");
    }
    let mistaken = Store::open(cluster::url_of(&own, "it's \"ours\"")).unwrap().provider(&theirs.0).unwrap();
    assert!(matches!(mistaken.location_list().await, Err(StoreError::Unavailable(_))));
    assert_eq!(theirs.store("theirs").location_list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_schema_of_the_next_release_is_fine_and_the_one_after_is_refused() {
    let newcomer = Newcomer::new();
    set_up(&newcomer.0, "hush").await;
    let version = |version: i64| {
        administer(format!("UPDATE provider_{}.control SET value = {version} WHERE name = 'schema' IF EXISTS", newcomer.0));
    };
    version(2);
    let store = newcomer.store("hush");
    store.location_save(location(1)).await.unwrap();
    // Its role may ask each node what acks survive, and the node has what it takes.
    assert_eq!(store.ack_known(), None, "nobody has asked");
    assert_eq!(store.ack_check().await.unwrap(), AckCheck::default());
    assert_eq!(store.ack_known(), Some(AckCheck::default()));
    // Nor does a release that was taken back trip over what the next one has set up.
    set_up(&newcomer.0, "hush").await;
    version(3);
    let error = newcomer.store("hush").ping().await.unwrap_err();
    assert!(matches!(error, StoreError::TooNew(_)), "{error}");
    let admin = ClusterAdmin::connect(&cluster::url()).await.unwrap();
    assert!(matches!(admin.keyspace_make(&newcomer.0).await, Err(StoreError::TooNew(_))));
    version(0);
    let error = newcomer.store("hush").ping().await.unwrap_err().to_string();
    assert!(error.contains("heliograph store init"), "{error}");
}

#[tokio::test]
async fn the_questions_of_the_manual_are_answered() {
    let newcomer = Newcomer::new();
    set_up(&newcomer.0, "hush").await;
    let store = newcomer.store("hush");
    store.location_save(location(1)).await.unwrap();
    let time = at("2026-11-20T12:00:00Z");
    store.document_write(document("gw-1", "inverter-1", "power", "W", &[(time, 4.5)])).await.unwrap();
    // What is latest is written by then.
    store.close().await;
    let role = ClusterAdmin::role_name(&newcomer.0);
    let session = session(&role, "hush").await;
    let manual = include_str!("../../../docs/operations.md");
    let questions: Vec<_> = manual.split("```cql\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(questions.len(), 3);
    for question in &questions {
        let cql = question.replace("provider_sunrise", &role);
        let answer = session.query_unpaged(cql.as_str(), ()).await.unwrap_or_else(|error| panic!("{question}: {error}"));
        let rows = answer.into_rows_result().unwrap_or_else(|error| panic!("{question}: {error}"));
        if question.contains("catalog") {
            let (_, name, zone) = rows.single_row::<(String, String, String)>().unwrap();
            assert_eq!((name.as_str(), zone.as_str()), ("Site 1", "UTC"));
        } else if question.contains("reading") {
            let row = rows.single_row::<(CqlTimestamp, String, String, String, f64)>().unwrap();
            assert_eq!(row, (CqlTimestamp(time.as_millis()), "inverter-1".into(), "power".into(), "W".into(), 4.5));
        } else {
            // The sensor has a row of its own before those of its series.
            type Latest = (String, String, String, Option<CqlTimestamp>, Option<f64>, Option<CqlTimestamp>);
            let latest: Vec<Latest> = rows.rows().unwrap().map(Result::unwrap).collect();
            let of_series = latest.iter().find(|row| row.1 == "power").unwrap();
            assert_eq!((of_series.3, of_series.4), (Some(CqlTimestamp(time.as_millis())), Some(4.5)));
            assert!(latest.iter().all(|row| row.5.is_some()), "when it was heard of: {latest:?}");
        }
    }
}
