//! An ingest that can be asked, ended and killed.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::{HELIOGRAPH, Process, connect, free_address};
use crate::load::Plan;

/// A busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Ingest {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    ops: SocketAddr,
    pub(crate) log: PathBuf,
}

impl Ingest {
    /// Starts one with settings from the environment, and waits until it listens.
    /// What it logs stands in a file of the folder.
    pub(crate) fn start(provider: &str, address: SocketAddr, options: &[&str], settings: &[(&str, &str)], folder: &Path) -> Self {
        let ops = free_address();
        let log = folder.join(format!("{}.log", ops.port()));
        let child = Command::new(HELIOGRAPH)
            .args(["ingest", "--provider", provider, "--listen", &address.to_string(), "--ops", &ops.to_string()])
            .args(options)
            .envs(settings.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let ingest = Self { process: Process(child), address, ops, log };
        drop(connect(address, PATIENCE));
        ingest
    }

    pub(crate) fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Asks it to end, as an operator would; answers how long it took.
    pub(crate) fn terminate(self) -> Duration {
        let began = Instant::now();
        self.tell_to_end();
        self.await_end();
        began.elapsed()
    }

    /// Asks it to end, and does not wait for that.
    pub(crate) fn tell_to_end(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.process.0.id().to_string()]).status().unwrap().success());
    }

    /// Waits until it has ended, and well.
    pub(crate) fn await_end(mut self) {
        assert!(self.process.0.wait().unwrap().success(), "{}", self.logged());
    }

    /// Whether it has run since its start.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = connect(self.ops, PATIENCE);
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        std::io::read_to_string(stream).unwrap()
    }

    /// Waits until `/readyz` says something.
    pub(crate) fn await_ready(&self, says: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let said = self.get("/readyz");
            if said.contains(says) {
                return said;
            }
            assert!(Instant::now() < deadline, "not {says:?} but {said}\n{}\n{}", self.logged(), self.figures());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until a metric has a value.
    pub(crate) fn await_metric(&self, name: &str, is_so: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self.metric(name)) {
            assert!(Instant::now() < deadline, "{name} is {}\n{}", self.metric(name), self.logged());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until further documents of a plan were acked.
    pub(crate) fn await_acks(&self, plan: &Plan, further: usize) {
        let (until, deadline) = (plan.acked() + further, Instant::now() + PATIENCE);
        while plan.acked() < until {
            assert!(Instant::now() < deadline, "{} of {until} were acked: {}", plan.acked(), self.state());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it is at: what it has logged, its figures, and what its threads wait for.
    fn state(&self) -> String {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.0.id())).into_iter().flatten().flatten();
        let waits = |thread: std::fs::DirEntry| {
            let read = |what: &str| std::fs::read_to_string(thread.path().join(what)).unwrap_or_default();
            format!("{} {}\n{}", read("comm").trim_end(), read("wchan"), read("stack"))
        };
        let threads: Vec<String> = threads.map(waits).collect();
        format!("{}\n{}\n{}", self.logged(), threads.join("\n"), self.get("/metrics"))
    }

    /// What it says of its spool.
    fn figures(&self) -> String {
        let metrics = self.get("/metrics");
        metrics.lines().filter(|line| line.starts_with("heliograph_spool")).collect::<Vec<_>>().join("\n")
    }

    /// A metric without labels of its own.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }
}

/// What all processes of a provider have in their spool, whose folder this is.
pub(crate) fn segments(spool: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for replica in std::fs::read_dir(spool).into_iter().flatten().flatten() {
        let inside = std::fs::read_dir(replica.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(inside.filter(|path| path.extension().is_some_and(|of| of == "spool1")));
    }
    found
}
