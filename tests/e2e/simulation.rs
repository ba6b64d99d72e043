//! `heliograph simulate` as a test's sender: a process of its own, which pushes until
//! it is told to end, and what its journal says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::binary::{HELIOGRAPH, Process};
use crate::journal::{self, Sent};
use crate::load;
use crate::oracle::Sending;

/// Gateways that push to one provider.
#[derive(Debug, Clone)]
pub(crate) struct Simulation {
    pub(crate) provider: String,
    pub(crate) dialect: &'static str,
    /// Gateways are called by it and a number.
    pub(crate) prefix: &'static str,
    pub(crate) gateways: u32,
    /// Documents a second of all of them.
    pub(crate) rate: u32,
    /// Of each document.
    pub(crate) readings: u32,
    /// None where gateways are adopted.
    pub(crate) key: Option<&'static str>,
    pub(crate) journal: PathBuf,
}

impl Simulation {
    /// A few gateways that speak the native dialect and are adopted, with a journal in
    /// a folder.
    pub(crate) fn new(provider: &str, prefix: &'static str, folder: &Path) -> Self {
        Self {
            provider: provider.to_owned(),
            dialect: "native",
            prefix,
            gateways: 10,
            rate: 20,
            readings: 5,
            key: None,
            journal: folder.join(format!("{provider}.{prefix}.journal")),
        }
    }

    /// The command, for so many seconds.
    pub(crate) fn command(&self, to: SocketAddr, seconds: u32) -> Command {
        let mut command = Command::new(HELIOGRAPH);
        command.args(["simulate", "--json", "--to", &to.to_string(), "--dialect", self.dialect, "--prefix", self.prefix]);
        command.args(["--gateways", &self.gateways.to_string(), "--rate", &self.rate.to_string()]);
        command.args(["--readings", &self.readings.to_string(), "--for", &format!("{seconds}s")]);
        command.args(["--provider", &self.provider, "--journal"]).arg(&self.journal);
        command.envs(self.key.map(|key| ("HELIOGRAPH_SIMULATE_KEY", key)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// Starts to push, until it is told to end.
    pub(crate) fn start(&self, to: SocketAddr) -> Pushing {
        Pushing(Process(self.command(to, 86_400).spawn().unwrap()))
    }

    /// Pushes for so many seconds, all of which is acked; answers what it says of it.
    pub(crate) fn run(&self, to: SocketAddr, seconds: u32) -> Value {
        let output = self.command(to, seconds).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}: {said}", self.dialect);
        serde_json::from_str(&said).unwrap()
    }

    /// What was sent so far.
    pub(crate) fn sending(&self) -> Sending {
        let mut by_gateway: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for sent in journal::read(&self.journal).unwrap() {
            by_gateway.entry(sent.document.gateway.clone()).or_default().push(sent);
        }
        Sending { provider: self.provider.clone(), sent: by_gateway.into_values().collect() }
    }

    /// Waits until further documents were acked.
    pub(crate) fn await_acks(&self, further: usize, patience: Duration) {
        load::await_acks(std::slice::from_ref(&self.journal), further, patience);
    }
}

/// Gateways that push.
pub(crate) struct Pushing(Process);

impl Pushing {
    /// Tells them to end; answers what they say once nothing is under way any more.
    pub(crate) fn stop(mut self) -> Value {
        let asked = Command::new("kill").args(["-TERM", &self.0.0.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let said = std::io::read_to_string(self.0.0.stdout.take().unwrap()).unwrap();
        assert!(self.0.0.wait().unwrap().success(), "{said}");
        serde_json::from_str(&said).unwrap()
    }
}
