//! `heliograph readings`: everything that is stored, in time order, in little
//! memory.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use heliograph_domain::{GatewayId, MetricName, ProviderId, SensorId, Timestamp, Unit};
use heliograph_store::{DocumentWrite, ReadingRow, SensorSeen, SeriesSeen, Store, StoreUrl, Value, WriteStamp};

use crate::binary::{HELIOGRAPH, run};
use crate::cluster::STORE;
use crate::tenant::Tenant;

const SERIES: usize = 20;
/// Instants in a document.
const INSTANTS: usize = 500;

fn begin() -> Timestamp {
    Timestamp::parse_rfc3339("2026-06-01T00:00:00Z").unwrap()
}

fn document(gateway: &str, number: usize) -> DocumentWrite {
    let seen = |series| SeriesSeen {
        sensor: series % 2,
        metric: MetricName::parse(&format!("power-{}", series / 2)).unwrap(),
        unit: Unit::parse("W").unwrap(),
        kind: None,
        quantity: None,
    };
    let time = |step: usize| begin().plus_millis(((number * INSTANTS + step) * 1000) as i64);
    let values = (0..INSTANTS)
        .flat_map(|step| (0..SERIES).map(move |series| Value { series, time: time(step), value: (step * series) as f64 + 0.5 }));
    DocumentWrite {
        gateway: GatewayId::parse(gateway).unwrap(),
        received: time(INSTANTS),
        stamp: WriteStamp::at(time(INSTANTS)),
        address: "127.0.0.1:1".to_owned(),
        sensors: ["left", "right"].iter().map(|id| SensorSeen { id: SensorId::parse(id).unwrap(), role: None }).collect(),
        series: (0..SERIES).map(seen).collect(),
        values: values.collect(),
        quarantine: None,
    }
}

async fn fill(folder: &Path, documents: usize) {
    let url = StoreUrl::parse(&format!("sqlite:{}?ack=process-crash", folder.join("data").display())).unwrap();
    fill_store(url, "sunrise", "gw-1", documents).await;
}

async fn fill_store(url: StoreUrl, provider: &str, gateway: &str, documents: usize) {
    let store = Store::open(url).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
    for number in 0..documents {
        store.document_write(document(gateway, number)).await.unwrap();
    }
    store.close().await;
}

/// The KiB that the readings of some documents would take if they were kept as their
/// times and values alone. What grows by less keeps no readings; the allocator's share
/// moves by some 20 MiB from run to run.
fn kept(documents: usize) -> u64 {
    (documents * INSTANTS * SERIES * 16 / 1024) as u64
}

/// What a process holds that no file does, KiB: how much of its executable the kernel has
/// mapped is no matter of what it reads. 0 once it has ended.
fn own_memory(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Reads a command's output to its end; answers lines, whether their first column
/// never falls, and the most memory that the process held of its own, in KiB, as far as
/// looking at every 20,000th line shows it.
fn stream(folder: &Path, provider: &str, gateway: &str) -> (usize, bool, u64) {
    let arguments = ["readings", "--provider", provider, "--gateway", gateway, "--csv"];
    let mut child = Command::new(HELIOGRAPH).args(arguments).current_dir(folder).stdout(Stdio::piped()).spawn().unwrap();
    let (mut lines, mut ordered, mut peak, mut before) = (0, true, 0, String::new());
    for line in BufReader::new(child.stdout.take().unwrap()).lines().skip(1) {
        let time = line.unwrap().split(',').next().unwrap().to_owned();
        ordered &= before <= time;
        before = time;
        lines += 1;
        if lines % 20_000 == 0 {
            peak = peak.max(own_memory(&child));
        }
    }
    assert!(child.wait().unwrap().success());
    (lines, ordered, peak)
}

#[tokio::test]
async fn millions_of_readings_stream_in_order_in_the_memory_of_a_few() {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(small.path(), 10).await;
    fill(large.path(), 400).await;
    let (lines, ordered, few) = stream(small.path(), "sunrise", "gw-1");
    assert_eq!((lines, ordered), (10 * INSTANTS * SERIES, true));
    let (lines, ordered, many) = stream(large.path(), "sunrise", "gw-1");
    assert_eq!((lines, ordered), (400 * INSTANTS * SERIES, true));
    println!("peak memory: {few} KiB for 10^5 readings, {many} KiB for 4 × 10^6");
    assert!(few > 0 && many < few + kept(390), "{few} KiB grew to {many} KiB");
}

#[tokio::test]
async fn many_readings_stream_from_a_cluster_in_the_memory_of_a_few() {
    let tenant = Tenant::set_up(STORE);
    let mut peaks = Vec::new();
    for (gateway, documents) in [("gw-few", 5), ("gw-many", 65)] {
        fill_store(tenant.store(), &tenant.id, gateway, documents).await;
        let (lines, ordered, peak) = stream(tenant.path(), &tenant.id, gateway);
        assert_eq!((lines, ordered), (documents * INSTANTS * SERIES, true));
        peaks.push(peak);
    }
    println!("peak memory: {} KiB for 5 × 10^4 readings of a cluster, {} KiB for 6.5 × 10^5", peaks[0], peaks[1]);
    let rows = (60 * INSTANTS * SERIES * size_of::<ReadingRow>() / 1024) as u64;
    assert!(peaks[0] > 0 && peaks[1] < peaks[0] + rows, "{peaks:?} KiB");
}

#[tokio::test]
async fn one_sensor_and_one_hour_are_chosen_in_local_time() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 10).await;
    let hour =
        ["--from", "2026-06-01T02:30", "--to", "2026-06-01T03:00", "--zone", "Europe/Madrid", "--sensor", "left", "--json"];
    let arguments = [&["readings", "--provider", "sunrise", "--gateway", "gw-1"], &hour[..]].concat();
    let output = run(&arguments, folder.path());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), 1800 * SERIES / 2, "{}", String::from_utf8_lossy(&output.stderr));
    let first: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert_eq!((&first["time"], &first["sensor"]), (&"2026-06-01T02:30:00+02:00".into(), &"left".into()));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_a_reader_that_leaves_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 10).await;
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--gateway", "gw-2"], 1, "has no gateway gw-2"),
        (&["--gateway", "gw-1", "--sensor", "roof"], 1, "it has: left, right"),
        (&["--gateway", "gw-1", "--from", "soon"], 64, "--from \"soon\""),
        (&["--gateway", "gw-1", "--from", "2026-06-02", "--to", "2026-06-01"], 64, "--to must lie after --from"),
        (&["--gateway", "gw-1", "--csv", "--json"], 64, "--json"),
    ];
    for (more, code, named) in cases {
        let output = run(&[&["readings", "--provider", "sunrise"], more].concat(), folder.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(named), "{said}");
    }
    let arguments = ["readings", "--provider", "sunrise", "--gateway", "gw-1"];
    let mut child = Command::new(HELIOGRAPH);
    let child = child.args(arguments).current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut some = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a command to its end; answers the most memory that it held of its own, in KiB,
/// as far as looking every few milliseconds shows it.
fn peak_of(arguments: &[&str], folder: &Path) -> u64 {
    let mut child = Command::new(HELIOGRAPH).args(arguments).current_dir(folder).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        peak = peak.max(own_memory(&child));
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{arguments:?}");
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[tokio::test]
async fn an_archive_takes_no_more_memory_for_more_readings() {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(small.path(), 40).await;
    fill(large.path(), 400).await;
    for arguments in [
        &["archive", "create", "--provider", "sunrise", "a.archive"][..],
        &["archive", "verify", "a.archive"],
        &["archive", "restore", "--provider", "sunrise", "--as", "dawn", "a.archive"],
    ] {
        let (few, many) = (peak_of(arguments, small.path()), peak_of(arguments, large.path()));
        println!("{}: {few} KiB for 4 × 10^5 readings, {many} KiB for 4 × 10^6", arguments[1]);
        assert!(few > 0 && many < few + kept(360), "{}: {few} KiB grew to {many} KiB", arguments[1]);
    }
}
