//! Under systemd: when a role is ready, alive and stopping.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::binary::{connect, free_address, spawn_with, terminate};
use crate::crash::commission;

/// The next state that a role tells.
fn next(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn check(role: &str, folder: &Path) {
    let path = folder.join(format!("{role}.socket"));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let address = free_address();
    let told = path.display().to_string();
    let settings = [("NOTIFY_SOCKET", told.as_str()), ("WATCHDOG_USEC", "200000")];
    let arguments = [role, "--provider", "sunrise", "--store", "sqlite:.", "--listen", &address.to_string()];
    let mut process = spawn_with(&arguments, &settings, folder);
    assert_eq!(next(&socket), "READY=1");
    drop(connect(address, Duration::ZERO));
    assert_eq!([next(&socket), next(&socket)], ["WATCHDOG=1", "WATCHDOG=1"]);
    terminate(&mut process);
    while next(&socket) != "STOPPING=1" {}
}

#[tokio::test]
async fn a_supervisor_hears_when_a_role_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", 1).await;
    for role in ["ingest", "admin"] {
        check(role, folder.path());
    }
}
