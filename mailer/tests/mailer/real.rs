//! A real mail server, which delivers into a Maildir.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use heliograph_mailer::{Tls, TransportSettings, run_once};

use crate::parse::parse;
use crate::plant::{Hand, Plant, settings};

/// OpenSMTPD, stopped when the test ends.
struct Mta {
    dir: tempfile::TempDir,
    port: u16,
}

impl Mta {
    fn start() -> Self {
        let installed = ["/usr/sbin/smtpd", "/usr/local/sbin/smtpd"].iter().any(|path| Path::new(path).exists());
        assert!(installed, "opensmtpd is not installed; start it: deploy/dev/install.sh");
        let dir = tempfile::Builder::new().permissions(open_to_all()).tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mta = Self { dir, port };
        assert!(mta.script(&["start", mta.path(), "127.0.0.1", &port.to_string()]), "smtp.sh start failed");
        mta
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn script(&self, arguments: &[&str]) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dev/smtp.sh");
        Command::new(&script).args(arguments).status().is_ok_and(|status| status.success())
    }

    /// The mails that were delivered, waiting for as many as expected.
    fn delivered(&self, expected: usize) -> Vec<PathBuf> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let mut found = Vec::new();
            collect(self.dir.path(), &mut found);
            if found.len() >= expected || Instant::now() > end {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Mta {
    fn drop(&mut self) {
        self.script(&["stop", self.path()]);
    }
}

fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// The files of every `new` folder below.
fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, found);
        } else if dir.file_name().is_some_and(|name| name == "new") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn a_real_server_delivers_the_mail_as_it_stands_in_the_outbox() {
    let mta = Mta::start();
    let plant = Plant::with_one_mail().await;
    let host = "127.0.0.1".to_owned();
    let settings = settings(TransportSettings::Smtp { host, port: mta.port, tls: Tls::None, credentials: None, ca: None });
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    assert_eq!(run_once(&plant.store, &settings, &clock).await.unwrap().sent, 1);
    assert_eq!(run_once(&plant.store, &settings, &clock).await.unwrap().sent, 0);

    let delivered = mta.delivered(1);
    assert_eq!(delivered.len(), 1);
    let received = parse(&std::fs::read(&delivered[0]).unwrap());
    let row = plant.store.outbox_list(1).await.unwrap().remove(0);
    let stored = parse(&plant.store.outbox_fetch(row.id).await.unwrap().message);
    assert_eq!(received.header("Message-ID"), [row.message_id]);
    assert_eq!(received.header("Subject"), [row.subject]);
    assert_eq!(received.text(), stored.text());
    assert_eq!(received.html(), stored.html());
    assert!(received.image() == stored.image(), "another image");
    assert_eq!(received.defects(), 0);
}
