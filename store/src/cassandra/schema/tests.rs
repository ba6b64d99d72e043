//! The way from one schema to the next, on a real node.

mod rows;

use futures_util::future::try_join_all;
use heliograph_domain::{Secret, TimeWindow, Timestamp};

use super::*;
use crate::cassandra::{self, Database, document, reading};
use crate::document::DocumentWrite;
use crate::sample::power;
use crate::url::{Place, StoreUrl};

/// Schema 1 by its statements, as its release made it.
const FIRST: &str = include_str!("schema-1.cql");

/// A step as a later release may have it: a column, a static column and a table.
const NEXT: Step = Step {
    version: VERSION + 1,
    statements: |keyspace| {
        vec![
            format!("ALTER TABLE {keyspace}.reading ADD IF NOT EXISTS quality tinyint"),
            format!("ALTER TABLE {keyspace}.series ADD IF NOT EXISTS firmware text static"),
            format!(
                "CREATE TABLE IF NOT EXISTS {keyspace}.later (id text PRIMARY KEY, value text) WITH ID = {}",
                table_id(keyspace, "later")
            ),
        ]
    },
};

#[test]
fn a_keyspace_has_few_tables_each_with_an_id_of_its_own() {
    let ids: std::collections::HashSet<Uuid> = TABLES.iter().map(|table| table_id("provider_a", table.name)).collect();
    assert!(ids.len() == TABLES.len() && TABLES.len() <= 12);
    assert_eq!(table_id("provider_a", "control"), table_id("provider_a", "control"));
    assert_ne!(table_id("provider_a", "control"), table_id("provider_b", "control"));
}

#[test]
fn steps_follow_each_other_up_to_the_version_of_this_release() {
    let versions: Vec<i64> = STEPS.iter().map(|step| step.version).collect();
    assert_eq!(versions, (1..=VERSION).collect::<Vec<_>>());
}

/// Whoever changes a table that a release has made needs a step for it.
#[test]
fn what_schema_1_made_stays_as_it_was() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let made: Vec<String> = (STEPS[0].statements)("provider_first").iter().map(|cql| words(cql)).collect();
    let expected: Vec<String> = FIRST.split(';').map(words).filter(|cql| !cql.is_empty()).collect();
    assert_eq!(made, expected);
}

/// The node, in the hands of its administrator.
fn url() -> StoreUrl {
    let url = StoreUrl::parse("cassandra://127.0.0.1/?dc=datacenter1&rf=1").unwrap();
    url.signed_in("cassandra", Secret::new("cassandra"))
}

struct Trial {
    session: Session,
    cluster: Cluster,
    provider: ProviderId,
}

impl Trial {
    /// A keyspace as the release of schema 1 has left it.
    async fn first() -> Self {
        let Place::Cassandra(cluster) = url().place else { unreachable!() };
        let session = cassandra::connect(&cluster, None).await;
        let session = session.expect("no Cassandra on 127.0.0.1: deploy/dev/cassandra.sh start");
        let name = Uuid::new_v4().simple().to_string();
        let provider = ProviderId::parse(&format!("steps_{}", &name[..12])).unwrap();
        let trial = Self { session, cluster, provider };
        trial.run("CREATE KEYSPACE @ WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}").await;
        let ids = |cql: &str| {
            let (before, rest) = cql.split_once("WITH ID = ").unwrap();
            let (_, after) = rest.split_at(36);
            let table = before.split('.').nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
            format!("{before}WITH ID = {}{after}", table_id(&keyspace(&trial.provider), &table))
        };
        for cql in FIRST.split(';').filter(|cql| !cql.trim().is_empty()) {
            trial.run(&ids(cql).replace("provider_first", "@")).await;
        }
        trial.run("INSERT INTO @.control (name, value) VALUES ('schema', 1)").await;
        trial
    }

    async fn run(&self, cql: &str) {
        let cql = cql.replace('@', &keyspace(&self.provider));
        self.session.query_unpaged(cql.as_str(), ()).await.unwrap_or_else(|error| panic!("{cql}: {error}"));
    }

    async fn upgrade(&self) -> Result<(), StoreError> {
        migrate_by(&self.session, &self.cluster, &self.provider, &[STEPS, &[NEXT]].concat()).await
    }

    async fn version(&self) -> Option<i64> {
        version(&self.session, &keyspace(&self.provider)).await.unwrap()
    }

    /// A process of the release before.
    fn old(&self) -> Database {
        Database::new(self.cluster.clone(), &self.provider)
    }
}

/// A reading that says when it was measured.
fn measured(minute: i64) -> DocumentWrite {
    let time = Timestamp::clamped(1_781_481_600_000 + minute * 60_000);
    power(time, [(time, minute as f64)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_before_goes_on_while_and_after_the_schema_grows() {
    let trial = Trial::first().await;
    // This release finds nothing to do on what its first one left.
    migrate(&trial.session, &trial.cluster, &trial.provider).await.unwrap();
    let old = trial.old();
    document::write(&old, &measured(0), measured(0).received).await.unwrap();
    // A step that was cut short after its first statement.
    let first = (NEXT.statements)(&keyspace(&trial.provider)).remove(0);
    ddl(&trial.session, first).await.unwrap();
    assert_eq!(trial.version().await, Some(VERSION));
    document::write(&old, &measured(1), measured(1).received).await.unwrap();
    // Two that upgrade at once do so once.
    try_join_all([trial.upgrade(), trial.upgrade()]).await.unwrap();
    assert_eq!(trial.version().await, Some(VERSION + 1));
    // Who was running goes on, and so does who is started now.
    document::write(&old, &measured(2), measured(2).received).await.unwrap();
    let restarted = trial.old();
    document::write(&restarted, &measured(3), measured(3).received).await.unwrap();
    // What the new release writes in its columns the old one leaves alone.
    trial.run("UPDATE @.series SET firmware = '7' WHERE gateway = 'gw-1'").await;
    document::write(&old, &measured(4), measured(4).received).await.unwrap();
    let page = reading::page(&restarted, &measured(0).gateway, TimeWindow::ALWAYS, 10).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    let firmware = "SELECT firmware FROM @.series WHERE gateway = 'gw-1' LIMIT 1";
    assert_eq!(restarted.row::<(String,)>(firmware, ()).await.unwrap(), Some(("7".to_owned(),)));
    // Its own command to set up has nothing to do either: the release is taken back.
    migrate(&trial.session, &trial.cluster, &trial.provider).await.unwrap();
    assert_eq!(trial.version().await, Some(VERSION + 1));
    trial.run("DROP KEYSPACE @").await;
}

#[tokio::test]
async fn a_release_two_behind_is_refused_and_one_that_is_ahead_names_the_command() {
    let trial = Trial::first().await;
    trial.upgrade().await.unwrap();
    let check = async |known: i64| check_by(&trial.session, &trial.provider, known).await;
    check(VERSION + 1).await.unwrap();
    check(VERSION).await.unwrap();
    let refused = check(VERSION - 1).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooNew(_)) && refused.to_string().contains("newer release"), "{refused}");
    let ahead = check(VERSION + 2).await.unwrap_err().to_string();
    assert!(ahead.contains("heliograph store init"), "{ahead}");
    // Nor does the one two behind set anything up.
    let before: &[Step] = &[Step { version: VERSION - 1, ..STEPS[0] }];
    let made = migrate_by(&trial.session, &trial.cluster, &trial.provider, before).await;
    assert!(matches!(made, Err(StoreError::TooNew(_))));
    trial.run("DROP KEYSPACE @").await;
}
