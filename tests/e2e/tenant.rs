//! A provider on a cluster that nobody else has, set up by command.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use heliograph_domain::Secret;
use heliograph_store::StoreUrl;

use crate::binary::{Process, connect, run, spawn, spawn_with};

/// A first start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Tenant {
    pub(crate) id: String,
    url: String,
    password: String,
    folder: tempfile::TempDir,
}

impl Tenant {
    /// Sets one up; what the command prints is all that its roles need.
    pub(crate) fn set_up(url: &str) -> Self {
        let id = format!("e2e_{:08x}", rand::random::<u32>());
        let folder = tempfile::tempdir().unwrap();
        let admin = "[store]\nadmin_user = \"cassandra\"\nadmin_password = \"cassandra\"\n";
        std::fs::write(folder.path().join("admin.toml"), admin).unwrap();
        let mut tenant = Self { id, url: url.to_owned(), password: String::new(), folder };
        let said = tenant.command(&["store", "init", "--admin-url", url, "--config", "admin.toml"]);
        let password = said.lines().find_map(|line| line.strip_prefix("its password, shown this once: ")).unwrap();
        tenant.password = password.to_owned();
        std::fs::write(tenant.path().join("password"), password).unwrap();
        let roles = format!("[store]\nurl = \"{url}\"\nuser = \"provider_{}\"\npassword_file = \"password\"\n", tenant.id);
        std::fs::write(tenant.path().join("heliograph.toml"), roles).unwrap();
        tenant
    }

    /// Where its roles run, with the settings that they need.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its store, as its roles sign in.
    pub(crate) fn store(&self) -> StoreUrl {
        StoreUrl::parse(&self.url).unwrap().signed_in(format!("provider_{}", self.id), Secret::new(&self.password))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = run(&[arguments, &["--provider", &self.id]].concat(), self.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}(Cassandra is started with deploy/dev/cassandra.sh start)");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn start(&self, role: &str, listen: SocketAddr, ops: SocketAddr) -> Process {
        let (listen_text, ops_text) = (listen.to_string(), ops.to_string());
        let process = spawn(&[role, "--provider", &self.id, "--listen", &listen_text, "--ops", &ops_text], self.path());
        drop(connect(listen, PATIENCE));
        process
    }

    /// The mailer, which writes its mails to the folder `mails` where it runs.
    pub(crate) fn start_mailer(&self, ops: SocketAddr) -> Process {
        let arguments = ["mailer", "--provider", &self.id, "--ops", &ops.to_string()];
        let process = spawn_with(&arguments, &[("HELIOGRAPH__MAIL__FOLDER", "mails")], self.path());
        drop(connect(ops, PATIENCE));
        process
    }
}
