//! The binary under test, and what it takes to run it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

pub(crate) const HELIOGRAPH: &str = env!("CARGO_BIN_EXE_heliograph");

/// Ports 6001, 6002, 8081 and 8082 belong to one test at a time.
static PORTS: Mutex<()> = Mutex::const_new(());

pub(crate) async fn well_known_ports() -> MutexGuard<'static, ()> {
    PORTS.lock().await
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str], folder: &Path) -> Output {
    Command::new(HELIOGRAPH).args(arguments).current_dir(folder).env_remove("RUST_BACKTRACE").output().unwrap()
}

/// Runs a command that has to succeed, with a text on its standard input.
pub(crate) fn run_with_input(arguments: &[&str], folder: &Path, input: &str) -> String {
    let mut child = Command::new(HELIOGRAPH)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A process that ends with its test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn spawn(arguments: &[&str], folder: &Path) -> Process {
    spawn_with(arguments, &[], folder)
}

/// An ingest that acks only what is in the store, however slow that is.
pub(crate) const NO_SPOOL: [(&str, &str); 2] =
    [("HELIOGRAPH__INGEST__SPOOL_BYTES", "0"), ("HELIOGRAPH__INGEST__STORE_DEADLINE_MS", "30000")];

/// As [`spawn`], with settings from the environment.
pub(crate) fn spawn_with(arguments: &[&str], settings: &[(&str, &str)], folder: &Path) -> Process {
    let child = Command::new(HELIOGRAPH)
        .args(arguments)
        .envs(settings.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Process(child)
}

/// Asks a process to end, as an operator would, and answers what it has logged.
pub(crate) fn terminate(process: &mut Process) -> String {
    let asked = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let mut logged = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut logged).unwrap();
    assert!(process.0.wait().unwrap().success(), "{logged}");
    logged
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until something listens.
pub(crate) fn connect(address: SocketAddr, patience: Duration) -> TcpStream {
    let deadline = Instant::now() + patience;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) if Instant::now() > deadline => panic!("{address} is not listened on: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
