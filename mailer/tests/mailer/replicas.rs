//! Several mailers at once, and the end of one.

use std::time::Duration;

use heliograph_domain::TimeWindow;
use heliograph_mailer::run;
use tokio_util::sync::CancellationToken;

use crate::misbehaving::to;
use crate::parse::{files, parse};
use crate::plant::{Hand, Plant, at};
use crate::smtp::{Fault, Server, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_run_at_once_send_each_mail_once() {
    let plant = Plant::empty().await;
    for number in 1..=12 {
        plant.gateway(number, "Roof").await;
        plant.readings(number, TimeWindow::between(at("2026-11-19T00:00:00Z"), at("2026-11-21T00:00:00Z"))).await;
        plant.customer(number, "Somebody", &format!("c{number}@customer.example")).await;
        plant.commission(number, number, "2026-11-19T23:00:00Z").await;
    }
    let (server, hand, stop) = (Server::start().await, Hand::new("2026-11-21T06:00:00Z"), CancellationToken::new());
    let replicas: Vec<_> =
        (0..3).map(|_| tokio::spawn(run(plant.store.clone(), to(&server), hand.clock(), stop.clone()))).collect();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while plant.store.outbox_list(99).await.unwrap().iter().filter(|row| row.sent.is_some()).count() < 12 {
        assert!(std::time::Instant::now() < end, "{:?}", plant.store.outbox_list(99).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    for replica in replicas {
        replica.await.unwrap().unwrap();
    }
    let mut ids: Vec<String> = server.messages().iter().map(|message| parse(message).header("Message-ID").concat()).collect();
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!((count, ids.len()), (12, 12));
}

#[tokio::test]
async fn the_end_waits_for_the_mail_on_its_way_but_not_for_ever() {
    let (plant, server, hand) = (Plant::with_one_mail().await, Server::start().await, Hand::new("2026-11-21T06:00:00Z"));
    server.set_fault(Some(Fault::Hang(Stage::Message)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(plant.store.clone(), to(&server), hand.clock(), stop.clone()));
    server.hanging().await;
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    tokio::time::resume();
    // The mail is left for the next start.
    assert_eq!(heliograph_mailer::run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().sent, 1);
    let again = std::fs::read(&files(&plant.folder(), "eml")[0]).unwrap();
    assert_eq!(parse(&again).header("Message-ID"), parse(&server.messages()[0]).header("Message-ID"));
}
