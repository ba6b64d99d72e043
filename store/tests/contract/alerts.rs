//! Alerts, what people do about them, maintenance windows, and when documents came in.

use heliograph_domain::{
    Actor, Alert, AlertCause, AlertId, AlertKey, AlertKind, AlertState, EmailAddress, Intake, Maintenance, MaintenanceId,
    MaintenanceSubject, Note, OutboxId, TimeWindow, Timestamp, UserId, UserRole, Verdict, Watch,
};
use heliograph_store::{AlertChange, AlertDeed, OutboxKey, OutboxNew, OutboxState, ProviderStore, StoreError, UserRecord};
use uuid::Uuid;

use crate::archive::{create, restore};
use crate::backend::{ALL, Backend, gateway, minute, on_every_backend};
use crate::gateways::{commission, location};

const DAY: i64 = 24 * 60;

fn id(number: u128) -> AlertId {
    AlertId::new(Uuid::from_u128(number))
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

fn note(text: &str) -> Note {
    Note::parse(text).unwrap()
}

fn alert(number: u128, at: i64) -> Alert {
    let key = AlertKey::gateway(AlertKind::Silent, gateway(&format!("gw-{number}")));
    let cause = AlertCause::Silent { heard: minute(at - 70), usual_ms: Some(300_000), allowed_ms: 4_200_000 };
    Alert::raise(id(number), key, cause, minute(at - 70), minute(at))
}

fn raise(number: u128, at: i64) -> AlertChange {
    AlertChange::Raise(Box::new(alert(number, at)))
}

fn watches(at: Timestamp) -> Vec<Watch> {
    let key = AlertKey::gateway(AlertKind::Clock, gateway("gw-1"));
    let mut watch = Watch::new(key.clone(), at);
    watch.step(at, Verdict::Holds, key.kind.patience());
    watch.step(at.plus_millis(600_000), Verdict::Holds, key.kind.patience());
    vec![watch]
}

async fn state(store: &ProviderStore, number: u128) -> AlertState {
    store.alert_fetch(id(number)).await.unwrap().state()
}

fn window(number: u128, subject: MaintenanceSubject, from: i64, until: i64) -> Maintenance {
    Maintenance {
        id: MaintenanceId::new(Uuid::from_u128(number)),
        subject,
        window: TimeWindow::between(minute(from), minute(until)),
        reason: note("new <roof>"),
        by: user(1),
    }
}

#[tokio::test]
async fn an_evaluation_is_written_whole_and_reads_back() {
    on_every_backend(|store| async move {
        assert_eq!((store.alert_list().await.unwrap(), store.alert_watches().await.unwrap()), (vec![], vec![]));
        assert!(matches!(store.alert_fetch(id(1)).await, Err(StoreError::NotFound("alert"))));
        let trail = store.audit_list(1, 10).await.unwrap().len();
        let watched = watches(minute(100));
        store.alert_change(vec![raise(1, 100), raise(2, 101)], Some(watched.clone()), minute(101)).await.unwrap();
        assert_eq!(store.alert_list().await.unwrap(), [alert(2, 101), alert(1, 100)], "the newest first");
        assert_eq!(store.alert_fetch(id(1)).await.unwrap(), alert(1, 100));
        assert_eq!(store.alert_watches().await.unwrap(), watched);
        store.alert_change(vec![AlertChange::Told(id(1), minute(100))], None, minute(102)).await.unwrap();
        assert_eq!(store.alert_watches().await.unwrap(), watched, "they stay where nothing is said of them");
        store.alert_change(vec![AlertChange::End(id(1), minute(110))], Some(Vec::new()), minute(110)).await.unwrap();
        let ended = store.alert_fetch(id(1)).await.unwrap();
        assert_eq!((ended.state(), ended.untold), (AlertState::Resolved, Some(minute(110))));
        assert_eq!(store.alert_watches().await.unwrap(), []);
        // What was said of an evaluation before does not count for this one.
        store.alert_change(vec![AlertChange::Told(id(1), minute(100))], None, minute(111)).await.unwrap();
        assert_eq!(store.alert_fetch(id(1)).await.unwrap().untold, Some(minute(110)));
        assert_eq!(store.audit_list(1, 10).await.unwrap().len(), trail, "nobody did any of that");
    })
    .await;
}

#[tokio::test]
async fn of_a_key_there_is_one_open_alert_at_most() {
    on_every_backend(|store| async move {
        let again = |number: u128, at: i64| AlertChange::Raise(Box::new(Alert { id: id(number), ..alert(1, at) }));
        store.alert_change(vec![again(1, 100), again(2, 100)], None, minute(100)).await.unwrap();
        let first = store.alert_list().await.unwrap();
        assert_eq!(first.len(), 1, "{first:?}");
        // Whoever evaluated at the same time comes later, with an id of its own.
        store.alert_change(vec![again(3, 101)], Some(Vec::new()), minute(101)).await.unwrap();
        assert_eq!(store.alert_list().await.unwrap(), first);
        store.alert_change(vec![AlertChange::End(first[0].id, minute(110))], None, minute(110)).await.unwrap();
        store.alert_change(vec![again(4, 120)], None, minute(120)).await.unwrap();
        assert_eq!(store.alert_list().await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn kinds_of_a_later_release_are_passed_over_on_a_file() {
    let store = Backend::Sqlite.fresh();
    store.alert_change(vec![raise(1, 100), raise(2, 101)], Some(watches(minute(100))), minute(101)).await.unwrap();
    store.close().await;
    let connection = rusqlite::Connection::open(store.url.folder().unwrap().join("sunrise.db")).unwrap();
    let later =
        format!("UPDATE record SET body = replace(body, '\"kind\":\"silent\"', '\"kind\":\"loud\"') WHERE id = '{}'", id(1));
    assert_eq!(connection.execute(&later, []).unwrap(), 1);
    let watched =
        "UPDATE record SET body = replace(body, '\"kind\":\"clock\"', '\"kind\":\"loud\"') WHERE kind = 'alert-watches'";
    assert_eq!(connection.execute(watched, []).unwrap(), 1);
    drop(connection);
    let again = heliograph_store::Store::open(store.url.clone()).unwrap().provider(store.provider()).unwrap();
    assert_eq!(again.alert_list().await.unwrap(), [alert(2, 101)]);
    assert!(matches!(again.alert_fetch(id(1)).await, Err(StoreError::NotFound(_))));
    assert_eq!(again.alert_watches().await.unwrap(), []);
    again.alert_change(vec![AlertChange::End(id(1), minute(102))], None, minute(102)).await.unwrap();
    assert_eq!(again.alert_list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_people_do_stands_beside_the_alert_and_in_the_trail() {
    on_every_backend(|store| async move {
        store.alert_change(vec![raise(1, 100)], None, minute(100)).await.unwrap();
        let hers = store.acting_as(Actor::User(user(7)));
        let act = async |deed: AlertDeed, at: i64| hers.alert_do(id(1), user(7), deed, minute(at)).await;
        act(AlertDeed::Acknowledge, 101).await.unwrap();
        assert!(matches!(act(AlertDeed::Acknowledge, 102).await, Err(StoreError::Conflict(_))));
        act(AlertDeed::Comment(note("on my way\nwith a ladder")), 103).await.unwrap();
        // The evaluation ends it as it is, with what people wrote.
        store.alert_change(vec![AlertChange::End(id(1), minute(104))], None, minute(104)).await.unwrap();
        assert!(matches!(act(AlertDeed::Resolve, 105).await, Err(StoreError::Conflict(_))));
        act(AlertDeed::Comment(note("done")), 106).await.unwrap();
        let found = store.alert_fetch(id(1)).await.unwrap();
        let texts: Vec<&str> = found.comments.iter().map(|comment| comment.text.as_str()).collect();
        assert_eq!(texts, ["on my way\nwith a ladder", "done"]);
        assert_eq!((found.state(), found.resolved.unwrap().by, found.untold), (AlertState::Resolved, None, None));
        store.alert_change(vec![raise(2, 200)], None, minute(200)).await.unwrap();
        hers.alert_do(id(2), user(7), AlertDeed::Resolve, minute(201)).await.unwrap();
        store.alert_change(vec![AlertChange::End(id(2), minute(202))], None, minute(202)).await.unwrap();
        assert_eq!(store.alert_fetch(id(2)).await.unwrap().resolved.unwrap().by, Some(user(7)));
        assert!(matches!(hers.alert_do(id(9), user(7), AlertDeed::Resolve, minute(1)).await, Err(StoreError::NotFound(_))));
        let trail = store.audit_list(1, 10).await.unwrap();
        let hers: Vec<(&str, &str, bool)> =
            trail.iter().map(|row| (row.action.as_str(), row.actor.as_str(), row.detail.contains("ladder"))).collect();
        let actor = format!("user:{}", user(7));
        let said = |action| (action, actor.as_str(), false);
        assert_eq!(hers, ["alert.acknowledge", "alert.comment", "alert.comment", "alert.resolve"].map(said));
    })
    .await;
}

#[tokio::test]
async fn of_alerts_that_are_over_the_newest_are_kept() {
    on_every_backend(|store| async move {
        let over = ProviderStore::ALERTS_KEPT as u128 + 3;
        let raised: Vec<AlertChange> = (1..=over).map(|number| raise(number, number as i64)).collect();
        store.alert_change(raised, None, minute(600)).await.unwrap();
        store.alert_change(vec![raise(1_000, 0)], None, minute(600)).await.unwrap();
        let ended: Vec<AlertChange> =
            (1..=over).map(|number| AlertChange::End(id(number), minute(600 + number as i64))).collect();
        store.alert_change(ended, None, minute(1_200)).await.unwrap();
        let kept = store.alert_list().await.unwrap();
        assert_eq!(kept.len(), ProviderStore::ALERTS_KEPT + 1);
        assert!(matches!(store.alert_fetch(id(3)).await, Err(StoreError::NotFound(_))));
        assert_eq!((state(&store, 4).await, state(&store, 1_000).await), (AlertState::Resolved, AlertState::Open));
        // A year and more later those go, and what is open stays.
        store.alert_change(Vec::new(), None, minute(401 * DAY)).await.unwrap();
        assert_eq!(store.alert_list().await.unwrap(), [alert(1_000, 0)]);
    })
    .await;
}

#[tokio::test]
async fn maintenance_is_of_what_there_is_and_ends() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        commission(&store, "gw-1", &site, 1).await;
        let (here, there) = (MaintenanceSubject::Location(site.id), MaintenanceSubject::Gateway(gateway("gw-1")));
        let (first, second) = (window(1, here, 10, 100), window(2, there.clone(), 50, 200));
        store.maintenance_save(first.clone(), minute(0)).await.unwrap();
        store.maintenance_save(second.clone(), minute(0)).await.unwrap();
        assert_eq!(store.maintenance_list().await.unwrap(), [second.clone(), first.clone()]);
        for subject in [
            MaintenanceSubject::Gateway(gateway("gw-9")),
            MaintenanceSubject::Location(heliograph_domain::LocationId::new(Uuid::from_u128(9))),
        ] {
            let refused = store.maintenance_save(window(3, subject, 0, 10), minute(0)).await;
            assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
        }
        // One that goes on ends now, one that has not begun never was.
        store.maintenance_end(first.id, minute(20)).await.unwrap();
        store.maintenance_end(second.id, minute(20)).await.unwrap();
        let cut = Maintenance { window: TimeWindow::between(minute(10), minute(20)), ..first.clone() };
        assert_eq!(store.maintenance_list().await.unwrap(), [cut]);
        assert!(matches!(store.maintenance_end(second.id, minute(30)).await, Err(StoreError::NotFound(_))));
        // What has long been over makes room.
        store.maintenance_save(window(4, there, 70 * DAY, 71 * DAY), minute(70 * DAY)).await.unwrap();
        assert_eq!(store.maintenance_list().await.unwrap().len(), 1);
        let trail = store.audit_list(1, 10).await.unwrap();
        let of_windows = trail.iter().map(|row| row.action.as_str()).filter(|action| action.starts_with("maintenance"));
        assert_eq!(
            of_windows.collect::<Vec<_>>(),
            ["maintenance.save", "maintenance.save", "maintenance.end", "maintenance.end", "maintenance.save"]
        );
    })
    .await;
}

#[tokio::test]
async fn when_documents_were_taken_in_is_noted_and_is_no_change() {
    on_every_backend(|store| async move {
        assert_eq!(store.intake_fetch().await.unwrap(), None);
        let before = store.versions().await.unwrap();
        for at in [0, 1, 2, 60, 61] {
            store.intake_note(minute(at)).await.unwrap();
        }
        let unknown = TimeWindow::between(Timestamp::MIN, minute(0));
        let expected = Intake { seen: minute(61), gaps: vec![unknown, TimeWindow::between(minute(2), minute(60))] };
        assert_eq!(store.intake_fetch().await.unwrap(), Some(expected));
        assert_eq!(store.versions().await.unwrap(), before);
        assert!(store.gateway_clock_list().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn history_that_somebody_writes_counts_as_taken_in_once() {
    on_every_backend(|store| async move {
        store.intake_seed(minute(10), minute(50)).await.unwrap();
        let seeded = Intake { seen: minute(50), gaps: vec![TimeWindow::between(Timestamp::MIN, minute(10))] };
        assert_eq!(store.intake_fetch().await.unwrap(), Some(seeded.clone()));
        store.intake_seed(minute(20), minute(60)).await.unwrap();
        assert_eq!(store.intake_fetch().await.unwrap(), Some(seeded));
    })
    .await;
}

#[tokio::test]
async fn alerts_and_maintenance_move_with_an_archive() {
    on_every_backend(|store| async move {
        let site = location(1, "UTC");
        store.location_save(site.clone()).await.unwrap();
        store.alert_change(vec![raise(1, 100)], Some(watches(minute(100))), minute(100)).await.unwrap();
        store.alert_do(id(1), user(7), AlertDeed::Comment(note("\"so\"\nit is")), minute(101)).await.unwrap();
        store.maintenance_save(window(1, MaintenanceSubject::Location(site.id), 10, 100), minute(0)).await.unwrap();
        store.intake_note(minute(5)).await.unwrap();
        let (_, archive) = create(&store).await;
        for backend in ALL {
            let other = backend.fresh();
            // Whoever takes documents in meanwhile is no data to be laid over.
            other.intake_note(minute(1)).await.unwrap();
            restore(&other, archive.clone()).await.unwrap();
            assert_eq!(other.alert_list().await.unwrap(), store.alert_list().await.unwrap());
            assert_eq!(other.maintenance_list().await.unwrap(), store.maintenance_list().await.unwrap());
            assert_eq!(other.alert_watches().await.unwrap(), [], "since when something holds is learned anew");
        }
    })
    .await;
}

#[tokio::test]
async fn mails_about_alerts_go_with_whose_they_are() {
    on_every_backend(|store| async move {
        let person = UserRecord {
            id: user(1),
            email: EmailAddress::parse("u1@example.org").unwrap(),
            name: "User 1".to_owned(),
            role: UserRole::Operator,
            customer: None,
            assignment: None,
            password_hash: None,
            created: minute(0),
        };
        store.user_create(person.clone()).await.unwrap();
        for (number, of) in [(1, user(1)), (2, user(2))] {
            let mail = OutboxNew {
                id: OutboxId::new(Uuid::from_u128(number)),
                key: OutboxKey::of_alerts(of, minute(1), EmailAddress::parse("u1@example.org").unwrap()),
                subject: "Roof Nord has been silent for 2 hours".to_owned(),
                message_id: format!("<{number}@x>"),
                message: b"Hello User 1".to_vec(),
                created: minute(1),
                due: minute(1),
            };
            assert_eq!(mail.key.report_name(), "alert");
            assert!(store.outbox_put(mail).await.unwrap());
        }
        store.user_delete(user(1)).await.unwrap();
        let theirs = store.outbox_fetch(OutboxId::new(Uuid::from_u128(1))).await.unwrap();
        assert_eq!((theirs.row.subject.as_str(), theirs.row.state), ("erased", OutboxState::GivenUp));
        assert!(theirs.message.is_empty() && !theirs.row.key.recipient.as_str().contains("u1"));
        let others = store.outbox_fetch(OutboxId::new(Uuid::from_u128(2))).await.unwrap();
        assert_eq!(others.row.state, OutboxState::Waiting);
    })
    .await;
}

#[tokio::test]
async fn nothing_of_alerts_is_taken_for_damage_and_what_is_damaged_is_named() {
    let store = Backend::Sqlite.fresh();
    let site = location(1, "UTC");
    store.location_save(site.clone()).await.unwrap();
    store.alert_change(vec![raise(1, 100)], Some(watches(minute(100))), minute(100)).await.unwrap();
    store.maintenance_save(window(1, MaintenanceSubject::Location(site.id), 10, 100), minute(0)).await.unwrap();
    store.intake_note(minute(5)).await.unwrap();
    assert_eq!(store.damage_list().await.unwrap(), []);
    store.close().await;
    let file = store.url.folder().unwrap().join("sunrise.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let wrong = "UPDATE record SET body = replace(body, '\"kind\":\"silent\"', '\"kind\":\"loud\"') WHERE kind = 'alert'";
    assert_eq!(connection.execute(wrong, []).unwrap(), 1);
    drop(connection);
    let again = heliograph_store::Store::open(store.url.clone()).unwrap().provider(store.provider()).unwrap();
    let found = again.damage_list().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(format!("{found:?}").contains(&id(1).to_string()), "{found:?}");
}
