//! Several processes at once on one provider's file: each does its work, nothing
//! is lost, and nobody is told that the database is locked.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use heliograph_domain::{
    Commission, CommissionId, Customer, CustomerId, EmailAddress, GatewayId, ProviderId, TimeWindow, Timestamp,
};
use heliograph_store::{ProviderStore, Store, StoreUrl};
use uuid::Uuid;

use crate::binary::{connect, free_address, run, run_with_input, spawn, terminate};
use crate::crash;
use crate::load::Plan;
use crate::oracle;

const PASSWORD: &str = "sixteen tons of coal";
/// How often each of the short commands runs while gateways push.
const ROUNDS: usize = 6;
/// Gateways at each of the two ingests.
const LANES: usize = 2;
/// A first start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn several_processes_at_once_on_one_file_lose_nothing_and_lock_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("heliograph.toml"), SETTINGS).unwrap();
    crash::commission(path, "sunrise", 2 * LANES).await;
    let store = open(path);
    give_to_customer(&store).await;
    store.close().await;
    add_user(path, "owner");

    // Two ingests, as while one takes over from the other.
    let gates = [free_address(), free_address()];
    let panel = free_address();
    let mut roles = gates.map(|gate| crash::start(path, "sunrise", gate)).into_iter().collect::<Vec<_>>();
    roles.push(spawn(&["admin", "--provider", "sunrise", "--store", "sqlite:.", "--listen", &panel.to_string()], path));
    for address in [gates[0], gates[1], panel] {
        drop(connect(address, PATIENCE));
    }

    let first = Plan::new("sunrise", path, LANES).across_months("UTC");
    let second = Plan { first_lane: LANES, ..first.clone() };
    let loads = [first.start(gates[0]), second.start(gates[1])];
    let mails: usize = std::thread::scope(|scope| {
        let others = [
            scope.spawn(move || add_users(path, panel)),
            scope.spawn(move || sign_in_often(panel)),
            scope.spawn(move || send_mails(path)),
            scope.spawn(move || send_mails(path)),
        ];
        others.into_iter().map(|other| other.join().unwrap()).sum()
    });
    // Gateways push until everybody else is done.
    for load in loads {
        load.stop();
    }
    for role in &mut roles {
        check_said(&terminate(role));
    }

    let store = open(path);
    for (lane, sent) in first.sent().iter().chain(&second.sent()).enumerate() {
        let gateway = format!("gw-{lane}");
        assert!(sent.len() > 10, "hardly anything was pushed: {} documents", sent.len());
        assert!(sent.iter().all(|sent| sent.acked_at.is_some() && sent.refusals.is_empty()), "{gateway} was cut off");
        let record = store.gateway_fetch(&GatewayId::parse(&gateway).unwrap()).await.unwrap();
        assert_eq!(record.documents, sent.len() as u64);
    }
    oracle::check(path, &[&first, &second]);
    // Both have rolled up what either took in.
    must(&run(&["rollup", "--provider", "sunrise", "--store", "sqlite:.", "--once"], path));
    oracle::rollups::check_file(&path.join("sunrise.db"), "UTC");
    let listed = must(&run(&["user", "list", "--provider", "sunrise", "--store", "sqlite:."], path));
    for number in 0..ROUNDS {
        assert_eq!(listed.matches(&address(&format!("user-{number}"))).count(), 1, "{listed}");
    }
    let outbox = store.outbox_list(100).await.unwrap().len();
    let files = std::fs::read_dir(path.join("mails")).unwrap().flatten();
    let files = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "eml")).count();
    assert!(outbox >= 3, "{outbox} mails were due");
    assert_eq!((mails, files), (outbox, outbox), "mails sent and files written, for what the outbox holds");
}

const SETTINGS: &str = "[log]\nfilter = \"warn\"\n[mail]\nfolder = \"mails\"\n";

fn open(folder: &Path) -> ProviderStore {
    Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap()
}

/// Gives the first gateway to a customer with an address, so that mails are due.
pub(crate) async fn give_to_customer(store: &ProviderStore) {
    let id = CustomerId::new(Uuid::from_u128(1));
    let email = EmailAddress::parse("anna@sunrise.example").unwrap();
    store.customer_save(Customer { id, name: "Anna Castell".into(), email: Some(email) }).await.unwrap();
    let window = TimeWindow { from: Timestamp::clamped(0), until: None };
    let gateway = GatewayId::parse("gw-0").unwrap();
    store
        .commission_create(Commission { id: CommissionId::new(Uuid::from_u128(1)), customer: id, gateway, window })
        .await
        .unwrap();
}

fn address(name: &str) -> String {
    format!("{name}@sunrise.example")
}

fn add_user(folder: &Path, name: &str) {
    let email = address(name);
    let arguments = ["user", "add", "--provider", "sunrise", "--store", "sqlite:.", "--role", "owner", "--email", &email];
    let said = run_with_input(&arguments, folder, &format!("{PASSWORD}\n"));
    assert!(said.contains(&email), "{said}");
}

/// Adds people who sign in at once to the panel, which is another process.
fn add_users(folder: &Path, panel: SocketAddr) -> usize {
    for number in 0..ROUNDS {
        let name = format!("user-{number}");
        add_user(folder, &name);
        sign_in(panel, &name);
    }
    0
}

fn sign_in_often(panel: SocketAddr) -> usize {
    for _ in 0..ROUNDS {
        sign_in(panel, "owner");
    }
    0
}

fn sign_in(panel: SocketAddr, name: &str) {
    let form = format!("email={}&password={}", address(name).replace('@', "%40"), PASSWORD.replace(' ', "+"));
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let answer = ask(panel, &format!("POST /login HTTP/1.0\r\n{kind}\r\nContent-Length: {}\r\n\r\n{form}", form.len()));
    assert!(answer.contains(" 303 "), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let session = cookie.split(';').next().unwrap();
    let page = ask(panel, &format!("GET / HTTP/1.0\r\nCookie: {session}\r\n\r\n"));
    assert!(page.contains(" 200 ") && page.contains("gw-0"), "{page}");
}

fn ask(panel: SocketAddr, request: &str) -> String {
    let mut stream = connect(panel, PATIENCE);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs the mailer again and again; answers how many mails it says it sent.
fn send_mails(folder: &Path) -> usize {
    (0..ROUNDS)
        .map(|_| {
            let said = must(&run(&["mailer", "--provider", "sunrise", "--store", "sqlite:.", "--once"], folder));
            assert!(said.contains("not made 0,") && said.contains("tried again 0, given up 0"), "{said}");
            let sent = said.split("sent ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
            sent.parse::<usize>().unwrap()
        })
        .sum()
}

/// What a command that has to succeed says.
fn must(output: &Output) -> String {
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    check_said(&complaints);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Warnings are all that is logged here, and there is nothing to warn of.
fn check_said(complaints: &str) {
    assert_eq!(complaints, "");
}
