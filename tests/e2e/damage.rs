//! A bit flips on the disk: nothing that is checked changes without a word, `store
//! check` says where, and other gateways and providers are served.

use std::path::Path;
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, ProviderId, TimeWindow};
use heliograph_store::{ProviderStore, ReadingRow, SeriesRollups, Store, StoreError, StoreUrl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::binary::{free_address, run, terminate};
use crate::crash;
use crate::load::Plan;
use crate::oracle::{Verdict, judge, sqlite};

/// Gateways that have pushed before anything is damaged; as many push meanwhile.
const LANES: usize = 2;
const FLIPS: usize = 200;
/// Each so many rounds the log of a process that was killed lies beside the file.
const WITH_LOG: usize = 4;
/// Flips of a bit in such a log.
const LOG_FLIPS: usize = 30;
/// The format of a log: bytes before the first frame, and before a frame's page.
const LOG_HEADER: usize = 32;
const LOG_FRAME_HEADER: usize = 24;
const PATIENCE: Duration = Duration::from_secs(30);

/// A provider's file and the log beside it, as they lie on the disk while nobody
/// works on them.
struct Copied {
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Copied {
    fn of(folder: &Path, provider: &str) -> Self {
        let read = |name: &str| std::fs::read(folder.join(format!("{provider}{name}"))).unwrap_or_default();
        Self { file: read(".db"), log: read(".db-wal") }
    }

    /// Lays them into a folder, without what a process left there before.
    fn lay(&self, folder: &Path, provider: &str) {
        sqlite::damaged_logs(&folder.join(format!("{provider}.db")))
            .into_iter()
            .for_each(|copy| std::fs::remove_file(copy).unwrap());
        for (name, bytes) in [(".db", &self.file), (".db-wal", &self.log), (".db-shm", &Vec::new())] {
            let path = folder.join(format!("{provider}{name}"));
            drop(std::fs::remove_file(&path));
            if !bytes.is_empty() {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }

    /// Up to where of the log it is known that a writer went on behind a commit: to the
    /// last commit but one. The log's own head counts as followed.
    fn followed(&self) -> usize {
        let number = |at: usize| u32::from_be_bytes(self.log[at..at + 4].try_into().unwrap());
        let frame = LOG_FRAME_HEADER + number(8) as usize;
        let salts = &self.log[16..24];
        let of_this_round = |at: &usize| self.log.get(at + 8..at + 16) == Some(salts);
        let frames: Vec<usize> = (LOG_HEADER..self.log.len()).step_by(frame).take_while(of_this_round).collect();
        let commits = frames.into_iter().filter(|at| number(at + 4) != 0);
        commits.rev().nth(2).map_or(LOG_HEADER, |commit| commit + frame)
    }

    fn flipped(&self, byte: usize, bit: usize) -> Self {
        let (mut file, mut log) = (self.file.clone(), self.log.clone());
        let place = if byte < file.len() { &mut file[byte] } else { &mut log[byte - self.file.len()] };
        *place ^= 1 << bit;
        Self { file, log }
    }
}

/// What of a file has to be named where it changes, read with plain SQL: readings, what
/// follows from them, the trail, and what people set up. What only older and newer
/// releases look at is left out.
const CHECKED: [(&str, &str); 15] = [
    ("frame", "SELECT gateway, time, data FROM frame"),
    ("quarter", "SELECT key, data FROM quarter"),
    (
        "rollup",
        "SELECT gateway, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase, flags & 7 FROM rollup",
    ),
    (
        "span",
        "SELECT gateway, slot, step, start, count, min, max, first, last, covered_ms, positive, negative, increase, flags & 7
         FROM span",
    ),
    ("audit", "SELECT seq, at, actor, action, object, detail, hash FROM audit"),
    ("latest", "SELECT gateway, seen, address, documents, data FROM latest"),
    ("counter", "SELECT * FROM counter WHERE name NOT IN ('config', 'data')"),
    ("setting", "SELECT * FROM setting"),
    ("location", "SELECT * FROM location"),
    ("gateway", "SELECT * FROM gateway"),
    ("placement", "SELECT * FROM placement"),
    ("credential", "SELECT * FROM credential"),
    ("sensor", "SELECT * FROM sensor"),
    ("series", "SELECT * FROM series"),
    ("record", "SELECT * FROM record"),
];

type Contents = Vec<Result<Vec<Vec<Value>>, String>>;

fn contents(file: &Path, queries: &[String]) -> Contents {
    let connection = match Connection::open(file) {
        Ok(connection) => connection,
        Err(error) => return vec![Err(error.to_string()); queries.len()],
    };
    queries.iter().map(|query| rows(&connection, query).map_err(|error| error.to_string())).collect()
}

fn rows(connection: &Connection, query: &str) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut query = connection.prepare(query)?;
    let columns = query.column_count();
    let rows = query.query_map([], |row| (0..columns).map(|column| row.get(column).map(number)).collect())?;
    rows.collect()
}

/// Numbers are compared as such: whole ones of a column may be kept as integers.
fn number(value: Value) -> Value {
    match value {
        Value::Integer(number) => Value::Real(number as f64),
        value => value,
    }
}

/// A file that is flipped, and what is read of it while it is sound.
struct Case {
    copied: Copied,
    readings: Vec<ReadingRow>,
    checked: Contents,
}

fn checked_queries() -> Vec<String> {
    CHECKED.iter().map(|(_, query)| (*query).to_owned()).collect()
}

impl Case {
    async fn of(folder: &Path) -> Self {
        let copied = Copied::of(folder, "sunrise");
        let file = folder.join("sunrise.db");
        assert_eq!(check(folder, "sunrise").await, Vec::<String>::new());
        let readings = read(folder, "sunrise").await.unwrap();
        assert!(readings.len() > 1000);
        let checked = contents(&file, &checked_queries());
        assert!(checked.iter().all(Result::is_ok), "{checked:?}");
        Self { copied, readings, checked }
    }
}

/// How often flips met what, and how often that was named.
#[derive(Debug, Default)]
struct Met {
    readings: usize,
    /// By table of [`CHECKED`].
    checked: [usize; CHECKED.len()],
    named: usize,
}

/// Which bits are flipped, by a seed that is printed.
fn flips() -> StdRng {
    let seed = rand::random();
    println!("seed of the flips {seed}");
    StdRng::seed_from_u64(seed)
}

#[tokio::test]
async fn a_flipped_bit_changes_nothing_that_is_checked_without_a_word() {
    let (mut random, folder) = (flips(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let first = fill(path, "sunrise", 0).await;
    settle(path, "sunrise").await;
    let plain = Case::of(path).await;
    push_and_kill(&Plan { first_lane: LANES, ..first }, path);
    let with_log = Case::of(path).await;
    assert!(plain.copied.log.is_empty() && !with_log.copied.log.is_empty());

    let mut met = Met::default();
    for round in 0..FLIPS {
        let case = if round % WITH_LOG == 0 { &with_log } else { &plain };
        let (byte, bit) = (random.random_range(0..case.copied.file.len()), random.random_range(0..8));
        case.copied.flipped(byte, bit).lay(path, "sunrise");
        flip(path, case, &format!("round {round}, byte {byte}, bit {bit}"), &mut met).await;
    }
    println!("{FLIPS} flips in {} bytes: {met:?}, of tables {:?}", plain.copied.file.len(), CHECKED.map(|(table, _)| table));
    assert!(met.readings > FLIPS / 10, "hardly any flip met a reading, so this shows little");
    assert!(met.checked[1..].iter().sum::<usize>() > FLIPS / 100, "hardly any flip met what follows from readings");
}

/// Looks at a file in which a bit was flipped.
async fn flip(folder: &Path, case: &Case, at: &str, met: &mut Met) {
    let damage = check(folder, "sunrise").await;
    let named = !damage.is_empty();
    met.named += usize::from(named);
    let readings = read(folder, "sunrise").await;
    if !readings.is_ok_and(|readings| readings == case.readings) {
        met.readings += 1;
        assert!(named, "{at}: readings are other ones or unreadable, and nothing is said");
    }
    let file = folder.join("sunrise.db");
    let checked = contents(&file, &checked_queries());
    for (number, (before, after)) in case.checked.iter().zip(&checked).enumerate() {
        if before != after {
            met.checked[number] += 1;
            assert!(named, "{at}: {} holds something else, and nothing is said", CHECKED[number].0);
        }
    }
}

/// The log is read up to the first bit that is not as it was written: what was
/// committed after it is gone, and what was laid over the file already may stand
/// beside older pages. That is named, and a copy of the log kept, but for the last
/// commits, behind which nobody can tell whether the power cut them. Nothing is there
/// that nobody sent, or else it is named.
#[tokio::test]
async fn a_flipped_bit_in_the_log_of_a_killed_process_is_named_and_makes_up_no_reading() {
    let (mut random, folder) = (flips(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let first = fill(path, "sunrise", 0).await;
    let second = Plan { first_lane: LANES, ..first.clone() };
    push_and_kill(&second, path);
    let copied = Copied::of(path, "sunrise");
    let followed = copied.followed();
    let sent: Vec<_> = first.sent().into_iter().chain(second.sent()).collect();
    let (mut named, mut lossy) = (0, 0);
    for round in 0..LOG_FLIPS {
        // Behind what was followed there may be much of an older round of the log.
        let end = if round % WITH_LOG == 0 { copied.log.len() } else { followed };
        let (byte, bit) = (random.random_range(0..end), random.random_range(0..8));
        let at = format!("round {round}, byte {byte} of the log, bit {bit}");
        let flipped = copied.flipped(copied.file.len() + byte, bit);
        flipped.lay(path, "sunrise");
        let damage = check(path, "sunrise").await;
        let copies = sqlite::damaged_logs(&path.join("sunrise.db"));
        if byte < followed {
            let [copy] = copies.as_slice() else { panic!("{at}: {copies:?}") };
            assert!(std::fs::read(copy).unwrap() == flipped.log, "{at}: another copy of the log");
            assert!(damage.iter().any(|damage| damage.contains(&format!("{}: log", copy.display()))), "{at}: {damage:?}");
        }
        if !damage.is_empty() {
            named += 1;
            continue;
        }
        let Verdict { lost, ghost, leak, .. } = judge(&sent, &[], &sqlite::read(&path.join("sunrise.db")));
        lossy += usize::from(!lost.is_empty());
        assert!(ghost.is_empty() && leak.is_empty(), "{at}: {ghost:?} {leak:?}");
    }
    let bytes = copied.log.len();
    println!("{LOG_FLIPS} flips in {bytes} bytes of a log: {named} named; {lossy} behind byte {followed} lost documents unnamed");
    assert!(named >= LOG_FLIPS / 2);
}

#[tokio::test]
async fn while_a_gateway_is_damaged_other_gateways_and_providers_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut served = Vec::new();
    for (number, provider) in ["sunrise", "meridian"].into_iter().enumerate() {
        served.push((fill(path, provider, number as u64).await, free_address()));
        settle(path, provider).await;
    }
    let before = rollups(path, "sunrise", "gw-1").await.unwrap();
    let time = damage_frame(path, "sunrise");
    // What is damaged is due to be rolled up, too.
    let connection = Connection::open(path.join("sunrise.db")).unwrap();
    connection.execute("INSERT INTO dirty VALUES (1, ?1)", [time / 900_000 * 900_000]).unwrap();
    assert_eq!(check(path, "sunrise").await.len(), 1);

    let mut roles: Vec<_> = served.iter().map(|(plan, address)| crash::start(path, &plan.provider, *address)).collect();
    for (plan, address) in &served {
        Plan { first_lane: LANES, ..plan.clone() }.run(*address);
    }
    // The worker of the ingest comes to the others, and leaves the damaged one due.
    let due = "SELECT DISTINCT g.id FROM dirty d JOIN gateway g ON g.number = d.gateway";
    let deadline = Instant::now() + PATIENCE;
    while rows(&connection, due).unwrap() != [[Value::Text("gw-0".to_owned())]] {
        assert!(Instant::now() < deadline, "still due: {:?}", rows(&connection, due));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(terminate(&mut roles[0]).contains("cannot be settled"));
    assert!(!terminate(&mut roles[1]).contains("damaged"));

    for (plan, _) in &served {
        let sent: Vec<_> = [plan, &Plan { first_lane: LANES, ..plan.clone() }].into_iter().flat_map(Plan::sent).collect();
        assert!(sent.iter().flatten().all(|sent| sent.acked_at.is_some() && sent.refusals.is_empty()));
        let damaged = if plan.provider == "sunrise" { "gw-0" } else { "none" };
        let sound: Vec<_> = sent.into_iter().filter(|lane| lane.iter().all(|sent| sent.document.gateway != damaged)).collect();
        let mut stored = sqlite::read(&path.join(format!("{}.db", plan.provider)));
        stored.retain(|reading| reading.gateway != damaged);
        let verdict = judge(&sound, &[], &stored);
        assert!(verdict.is_clean(), "{}: {verdict}", plan.provider);
    }
    assert!(matches!(rollups(path, "sunrise", "gw-0").await, Err(StoreError::Damaged(_))));
    assert_eq!(rollups(path, "sunrise", "gw-1").await.unwrap(), before);
    assert_eq!(check(path, "sunrise").await.len(), 1);
    assert_eq!(check(path, "meridian").await, Vec::<String>::new());
}

#[tokio::test]
async fn store_check_names_file_gateway_and_time() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), "sunrise", 0).await;
    let arguments = ["store", "check", "--provider", "sunrise", "--store", "sqlite:."];
    let output = run(&arguments, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    let time = damage_frame(folder.path(), "sunrise");
    let output = run(&arguments, folder.path());
    let said = String::from_utf8_lossy(&output.stdout);
    let time = jiff::Timestamp::from_millisecond(time).unwrap().to_string();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("sunrise.db: frame of gateway gw-0 at") && said.contains(&time), "{said}");
}

#[tokio::test]
async fn what_differs_from_its_copy_is_named_in_the_log_and_can_be_accepted_once_it_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fill(path, "sunrise", 0).await;
    let connection = Connection::open(path.join("sunrise.db")).unwrap();
    connection.execute("UPDATE copy SET c0 = 'Rong' WHERE tab = 'location'", []).unwrap();
    // It is looked for beside all else that begins with the start.
    let log_after = |pause: Duration| {
        let mut ingest = crash::start(path, "sunrise", free_address());
        std::thread::sleep(pause);
        terminate(&mut ingest)
    };
    let logs = [0.2, 2.0, PATIENCE.as_secs_f64()].map(Duration::from_secs_f64).into_iter().map(log_after);
    let told = |log: &String| log.contains("the store is damaged") && log.contains("it differs from its copy in name");
    assert!(logs.into_iter().any(|log| told(&log)), "no log names it");

    let arguments = ["store", "check", "--provider", "sunrise", "--store", "sqlite:.", "--accept"];
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let output = run(&arguments[..6], path);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let output = run(&arguments, path);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.starts_with("accepted: ") && text.contains("sunrise.db: location ") && text.ends_with("nothing is damaged\n"),
        "{text}"
    );
    assert_eq!(said(&run(&arguments[..6], path)), "nothing is damaged\n");
}

/// Flips a bit in a frame of the first gateway; answers its time.
fn damage_frame(folder: &Path, provider: &str) -> i64 {
    let file = folder.join(format!("{provider}.db"));
    let connection = Connection::open(&file).unwrap();
    let middle = "FROM frame ORDER BY gateway, time LIMIT 1 OFFSET 40";
    let time: i64 = connection.query_row(&format!("SELECT time {middle}"), [], |row| row.get(0)).unwrap();
    let data: Vec<u8> = connection.query_row(&format!("SELECT data {middle}"), [], |row| row.get(0)).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&file).unwrap();
    // Pages that were split may hold older copies.
    let copies: Vec<usize> = (0..bytes.len() - data.len()).filter(|at| bytes[*at..].starts_with(&data)).collect();
    assert!(!copies.is_empty());
    copies.iter().for_each(|at| bytes[at + data.len() - 3] ^= 1);
    std::fs::write(&file, bytes).unwrap();
    time
}

/// Makes a provider half of whose gateways have pushed.
async fn fill(folder: &Path, provider: &str, provider_number: u64) -> Plan {
    crash::commission(folder, provider, 2 * LANES).await;
    let address = free_address();
    let mut ingest = crash::start(folder, provider, address);
    let plan = Plan { provider_number, documents: Some(100), in_flight: 8, backfill: 300, ..Plan::new(provider, folder, LANES) };
    plan.run(address);
    terminate(&mut ingest);
    plan
}

/// Has gateways push, and kills ingest before its log is laid over the file.
fn push_and_kill(plan: &Plan, folder: &Path) {
    let address = free_address();
    let mut ingest = crash::start(folder, &plan.provider, address);
    plan.run(address);
    ingest.0.kill().unwrap();
    ingest.0.wait().unwrap();
}

async fn settle(folder: &Path, provider: &str) {
    let store = open(folder, provider).unwrap();
    while store.rollup_settle().await.unwrap() > 0 {}
    store.close().await;
}

fn open(folder: &Path, provider: &str) -> Result<ProviderStore, StoreError> {
    Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse(provider).unwrap())
}

fn gateway(name: &str) -> GatewayId {
    GatewayId::parse(name).unwrap()
}

async fn read(folder: &Path, provider: &str) -> Result<Vec<ReadingRow>, StoreError> {
    let store = open(folder, provider)?;
    let mut pages = Vec::new();
    for lane in 0..2 * LANES {
        pages.push(store.reading_page(&gateway(&format!("gw-{lane}")), TimeWindow::ALWAYS, usize::MAX).await);
    }
    // Before anything else is laid in its place.
    store.close().await;
    let pages: Vec<_> = pages.into_iter().collect::<Result<_, _>>()?;
    Ok(pages.into_iter().flat_map(|page| page.rows).collect())
}

async fn rollups(folder: &Path, provider: &str, name: &str) -> Result<Vec<SeriesRollups>, StoreError> {
    let store = open(folder, provider)?;
    let rollups = store.rollup_list(&gateway(name), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await;
    store.close().await;
    rollups
}

/// What is said of a file; one that cannot be opened says so itself.
async fn check(folder: &Path, provider: &str) -> Vec<String> {
    let store = match open(folder, provider) {
        Ok(store) => store,
        Err(error) => return vec![error.to_string()],
    };
    let damage = store.damage_list().await;
    store.close().await;
    damage.map_or_else(|error| vec![error.to_string()], |damage| damage.iter().map(ToString::to_string).collect())
}
