//! Alerts: evaluated by one process at a time, told once, and to whom it may concern.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use heliograph_domain::{
    Alert, AlertCause, AlertId, AlertKey, AlertKind, AlertSettings, AlertState, CustomerId, EmailAddress, ProviderSettings,
    TimeWindow, UserId, UserRole, time_ordered_uuid,
};
use heliograph_mailer::{RunSummary, run, run_once};
use heliograph_store::{AlertChange, AlertDeed, OutboxRow, UserRecord};
use tokio_util::sync::CancellationToken;

use crate::parse::{Mail, files, parse};
use crate::plant::{Hand, Plant, at, customer_id};

fn user(number: u8, role: UserRole, customer: Option<CustomerId>) -> UserRecord {
    UserRecord {
        id: UserId::new(time_ordered_uuid(at("2026-11-01T00:00:00Z"), &[number; 10])),
        email: EmailAddress::parse(&format!("{}{number}@sunrise.example", role.as_str())).unwrap(),
        name: format!("<b>{}</b>", role.as_str()),
        role,
        customer,
        assignment: None,
        password_hash: None,
        created: at("2026-11-01T00:00:00Z"),
    }
}

/// Two gateways, of which one fell silent on the 20th at noon, and everybody there can be.
async fn plant() -> Plant {
    let plant = Plant::empty().await;
    plant.customer(1, "Anna Weber", "anna@customer.example").await;
    for (number, role) in [(1, UserRole::Owner), (2, UserRole::Operator), (3, UserRole::Viewer)] {
        plant.store.user_create(user(number, role, None)).await.unwrap();
    }
    plant.store.user_create(user(4, UserRole::Customer, Some(customer_id(1)))).await.unwrap();
    for (number, label, until) in [(1, "North <roof>", "2026-11-20T12:00:00Z"), (2, "Barn", "2026-11-20T17:00:00Z")] {
        plant.gateway(number, label).await;
        plant.readings(number, TimeWindow::between(at("2026-11-13T00:00:00Z"), at(until))).await;
    }
    // Documents are taken in all the time.
    for three_minutes in 0..480 {
        plant.store.intake_note(at("2026-11-20T11:00:00Z").plus_millis(three_minutes * 180_000)).await.unwrap();
    }
    plant
}

async fn once(plant: &Plant, hand: &Hand) -> RunSummary {
    run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap()
}

async fn about_alerts(plant: &Plant) -> Vec<OutboxRow> {
    let mut rows = plant.store.outbox_list(100).await.unwrap();
    rows.retain(|row| row.key.report_name() == "alert");
    rows.sort_by(|a, b| (a.created, &a.key.recipient).cmp(&(b.created, &b.key.recipient)));
    rows
}

fn recipients(rows: &[OutboxRow]) -> Vec<&str> {
    rows.iter().map(|row| row.key.recipient.as_str()).collect()
}

async fn mail(plant: &Plant, row: &OutboxRow) -> Mail {
    parse(&plant.store.outbox_fetch(row.id).await.unwrap().message)
}

#[tokio::test]
async fn who_runs_the_provider_hears_once_of_what_is_wrong_and_once_that_it_is_over() {
    let plant = plant().await;
    // Of a gateway without a rhythm six hours of daylight are waited for: the sun went
    // down over it when there had been less.
    let hand = Hand::new("2026-11-20T17:10:00Z");
    assert_eq!(once(&plant, &hand).await, RunSummary::default());
    hand.set(at("2026-11-21T09:30:00Z"));
    assert_eq!(once(&plant, &hand).await.made, 2);
    let rows = about_alerts(&plant).await;
    assert_eq!(recipients(&rows), ["operator2@sunrise.example", "owner1@sunrise.example"]);
    assert_eq!(rows[0].subject, "North <roof> has been silent for 21 hours");
    let told = mail(&plant, &rows[0]).await;
    assert_eq!(told.defects(), 0);
    assert_eq!(told.shape(), "multipart/alternative(text/plain text/html)");
    let (text, html) = (told.text(), told.html());
    assert!(text.contains("Last heard: 20 Nov 2026, 13:00"), "{text}");
    assert!(text.contains("See whether it has power and a connection."), "{text}");
    assert!(html.contains("North &#60;roof&#62; has been silent for 21 hours") && !html.contains("<roof>"), "{html}");
    let alert = plant.store.alert_list().await.unwrap().remove(0);
    assert!(text.contains(&format!("https://panel.sunrise.example/alerts/{}", alert.id)), "{text}");
    assert_eq!(alert.untold, None);
    for _ in 0..3 {
        hand.advance_minutes(5);
        assert_eq!(once(&plant, &hand).await.made, 0, "of what they know nobody is told again");
    }
    // It comes back.
    plant.readings(1, TimeWindow::between(at("2026-11-21T09:00:00Z"), hand.now())).await;
    assert_eq!(once(&plant, &hand).await.made, 0, "not before it was over for ten minutes");
    hand.advance_minutes(11);
    assert_eq!(once(&plant, &hand).await.made, 2);
    let rows = about_alerts(&plant).await;
    assert_eq!(rows[2].subject, "Over: North <roof> was silent for 21 hours");
    assert_eq!(plant.store.alert_list().await.unwrap()[0].state(), AlertState::Resolved);
}

#[tokio::test]
async fn of_what_somebody_takes_care_of_nobody_is_told_again() {
    let plant = plant().await;
    let hand = Hand::new("2026-11-21T09:30:00Z");
    once(&plant, &hand).await;
    let alert = plant.store.alert_list().await.unwrap().remove(0);
    let owner = user(1, UserRole::Owner, None).id;
    plant.store.alert_do(alert.id, owner, AlertDeed::Acknowledge, hand.now()).await.unwrap();
    plant.readings(1, TimeWindow::between(at("2026-11-21T09:00:00Z"), hand.now())).await;
    for _ in 0..5 {
        hand.advance_minutes(6);
        assert_eq!(once(&plant, &hand).await.made, 0);
    }
    assert_eq!(plant.store.alert_fetch(alert.id).await.unwrap().state(), AlertState::Resolved);
}

#[tokio::test]
async fn what_was_not_told_before_a_process_died_is_told_by_the_next_one() {
    let plant = plant().await;
    let hand = Hand::new("2026-11-20T12:00:00Z");
    let alert = |number: u8| {
        let id = AlertId::new(time_ordered_uuid(hand.now(), &[number; 10]));
        let cause = AlertCause::Quarantine { documents: 30 + usize::from(number) };
        let kind = if number == 1 { AlertKind::Quarantine } else { AlertKind::MassSilence };
        AlertChange::Raise(Box::new(Alert::raise(id, AlertKey::provider(kind), cause, hand.now(), hand.now())))
    };
    plant.store.alert_change(vec![alert(1), alert(2)], None, hand.now()).await.unwrap();
    hand.advance_minutes(1);
    assert_eq!(once(&plant, &hand).await.made, 2);
    let rows = about_alerts(&plant).await;
    assert_eq!(rows[0].subject, "32 documents of your gateways were refused within a day, and 1 more");
    let text = mail(&plant, &rows[0]).await.text();
    assert!(text.contains("31 documents of your gateways") && text.contains("32 documents of your gateways"), "{text}");
}

#[tokio::test]
async fn who_wants_no_mails_gets_none_and_finds_alerts_in_the_panel() {
    let plant = plant().await;
    let settings = plant.store.settings_fetch().await.unwrap();
    let alerts = AlertSettings { mail: false, ..AlertSettings::default() };
    plant.store.settings_save(ProviderSettings { alerts, ..settings }).await.unwrap();
    let hand = Hand::new("2026-11-21T09:30:00Z");
    assert_eq!(once(&plant, &hand).await, RunSummary::default());
    let alerts = plant.store.alert_list().await.unwrap();
    assert_eq!((alerts.len(), alerts[0].untold), (1, None), "nor are they told once they want mails again");
    assert!(files(&plant.folder(), "eml").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_mailers_one_evaluates_and_an_end_hands_over() {
    let plant = plant().await;
    let (hand, stop) = (Hand::new("2026-11-21T09:30:00Z"), CancellationToken::new());
    let mailers: Vec<_> =
        (0..3).map(|_| tokio::spawn(run(plant.store.clone(), plant.to_folder(), hand.clock(), stop.clone()))).collect();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while about_alerts(&plant).await.len() < 2 {
        assert!(std::time::Instant::now() < end, "nobody evaluates");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stop.cancel();
    for mailer in mailers {
        mailer.await.unwrap().unwrap();
    }
    assert_eq!((plant.store.alert_list().await.unwrap().len(), about_alerts(&plant).await.len()), (1, 2));
    let (now, until) = (hand.now(), hand.now().plus_millis(60_000));
    assert!(plant.store.lease_take("alerts", "another", now, until).await.unwrap(), "the lease was given back");
}

#[tokio::test]
async fn who_read_for_so_long_that_somebody_else_evaluates_writes_nothing() {
    let plant = plant().await;
    let (start, asked, store) = (at("2026-11-21T09:30:00Z"), Arc::new(AtomicUsize::new(0)), plant.store.clone());
    let clock = {
        let asked = Arc::clone(&asked);
        Arc::new(move || {
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                return start;
            }
            // Its lease has run out when it looks again, and another one was waiting.
            let (store, later) = (store.clone(), start.plus_millis(10 * 60_000));
            let take = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(store.lease_take("alerts", "another", later, later.plus_millis(60_000))).unwrap();
            };
            std::thread::spawn(take).join().unwrap();
            later
        })
    };
    run_once(&plant.store, &plant.to_folder(), &(clock as heliograph_mailer::Clock)).await.unwrap();
    assert!(asked.load(Ordering::SeqCst) > 1);
    assert_eq!((plant.store.alert_list().await.unwrap(), plant.store.alert_watches().await.unwrap()), (vec![], vec![]));
    assert_eq!(once(&plant, &Hand::new("2026-11-21T09:50:00Z")).await.made, 2, "the next one does");
}

#[tokio::test]
async fn a_mail_about_alerts_looks_like_this() {
    let plant = plant().await;
    once(&plant, &Hand::new("2026-11-21T09:30:00Z")).await;
    let told = mail(&plant, &about_alerts(&plant).await[1]).await;
    let alert = plant.store.alert_list().await.unwrap().remove(0).id.to_string();
    let same = |text: String| text.replace(&alert, "ALERT").replace('\r', "");
    insta::assert_snapshot!("alert.txt", same(told.text()));
    insta::assert_snapshot!("alert.html", same(told.html()));
}
