//! The disk is full, and then it is not: no ack meanwhile, or acks from a spool that
//! has a disk of its own, and no hand needed.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::binary::{HELIOGRAPH, Process, connect, free_address};
use crate::crash;
use crate::ingest::{Ingest, segments};
use crate::load::Plan;
use crate::oracle::{self, sqlite};

const LANES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_full_disk_stops_acks_until_it_has_room_again() {
    let journals = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(8);
    let data = disk.0.join("data");
    crash::commission(&data, "sunrise", LANES).await;
    let address = free_address();
    let mut ingest = start(&data, address, &journals.path().join("ingest.log"));
    let plan = Plan { backfill: 300, ..Plan::new("sunrise", journals.path(), LANES) };
    let load = plan.start(address);
    plan.await_acks(20, PATIENCE);
    for round in 0..2 {
        let ballast = disk.fill();
        std::thread::sleep(Duration::from_secs(1));
        let before = plan.acked();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(plan.acked(), before, "acked while the disk was full");
        assert!(ingest.0.try_wait().unwrap().is_none(), "ingest has ended");
        std::fs::remove_file(ballast).unwrap();
        let freed = Instant::now();
        plan.await_acks(1, PATIENCE);
        println!("round {round}: acks again {} ms after there is room", freed.elapsed().as_millis());
        assert!(freed.elapsed() < Duration::from_secs(5));
        plan.await_acks(10, PATIENCE);
    }
    load.stop();
    end(ingest);
    let sent = plan.sent();
    let refusals: Vec<_> = sent.iter().flatten().flat_map(|sent| &sent.refusals).collect();
    assert!(!refusals.is_empty(), "nothing was refused: the disk was never full");
    for refusal in refusals {
        assert!(refusal.contains("retry=\"true\""), "{refusal}");
    }
    oracle::check_within(&data, &[&plan], PATIENCE);
    assert_eq!(sqlite::integrity(&data.join("sunrise.db")), Vec::<String>::new());
}

/// Of a store on a full disk nobody hears who pushes, while the spool has room.
#[tokio::test]
async fn while_the_spool_has_room_a_store_without_any_costs_no_ack() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(32);
    let data = disk.0.join("data");
    crash::commission(&data, "sunrise", LANES).await;
    let (store, spool) = (format!("sqlite:{}", data.display()), folder.path().join("spool"));
    let settings = [("HELIOGRAPH__INGEST__SPOOL_DIR", spool.to_str().unwrap())];
    let mut ingest = Ingest::start("sunrise", free_address(), &["--store", &store], &settings, folder.path());
    let await_segments = |enough: fn(usize) -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !enough(segments(&spool.join("sunrise")).len()) {
            assert!(Instant::now() < deadline, "{:?}", segments(&spool.join("sunrise")));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // A pace at which the disk stays small.
    let every = Duration::from_millis(30);
    let plan = Plan { backfill: 300, every, ..Plan::new("sunrise", folder.path(), LANES) };
    let load = plan.start(ingest.address);
    ingest.await_acks(&plan, 20);
    for round in 0..2 {
        let ballast = disk.fill();
        await_segments(|count| count > 0);
        ingest.await_acks(&plan, 50);
        let ready = ingest.get("/readyz");
        assert!(ready.contains(" 200 ") && ready.contains("acks come from the spool"), "{ready}");
        assert!(ingest.metric("heliograph_spool_documents") >= 40.0, "{}", ingest.logged());
        std::fs::remove_file(ballast).unwrap();
        let freed = Instant::now();
        await_segments(|count| count == 0);
        println!("round {round}: drained {} ms after there is room", freed.elapsed().as_millis());
        ingest.await_acks(&plan, 10);
    }
    load.stop();
    await_segments(|count| count == 0);
    ingest.await_ready("ready, acks survive power-loss", PATIENCE);
    assert!(ingest.runs());
    let refusals: Vec<_> = plan.sent().into_iter().flatten().flat_map(|sent| sent.refusals).collect();
    assert!(refusals.is_empty(), "{refusals:?}");
    ingest.terminate();
    oracle::check(&data, &[&plan]);
    assert_eq!(sqlite::integrity(&data.join("sunrise.db")), Vec::<String>::new());
}

/// Logs to a file elsewhere: much is said while the disk is full.
fn start(data: &Path, address: SocketAddr, log: &Path) -> Process {
    let store = format!("sqlite:{}", data.display());
    let child = Command::new(HELIOGRAPH)
        .args(["ingest", "--provider", "sunrise", "--listen", &address.to_string(), "--store", &store])
        .current_dir(data)
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap();
    drop(connect(address, PATIENCE));
    Process(child)
}

fn end(mut ingest: Process) {
    assert!(Command::new("kill").args(["-TERM", &ingest.0.id().to_string()]).status().unwrap().success());
    assert!(ingest.0.wait().unwrap().success());
}

/// A file system of a few MiB in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(mebibytes: u8) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let size = format!("size={mebibytes}m,mode=0777");
        as_root(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", folder.to_str().unwrap()]);
        Self(folder)
    }

    /// Leaves no room for a byte.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "-l", self.0.to_str().unwrap()]);
        drop(std::fs::remove_dir(&self.0));
    }
}

fn as_root(command: &[&str]) {
    let is_root = Path::new("/proc/self").metadata().is_ok_and(|owner| std::os::unix::fs::MetadataExt::uid(&owner) == 0);
    let command = if is_root { command.to_vec() } else { [&["sudo", "-n"], command].concat() };
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
