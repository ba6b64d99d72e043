//! A server as a process of its own, with the metrics that an ingest keeps.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{ProviderId, Secret, Timestamp};
use heliograph_ingest::{ClientCertificates, Ingest, IngestSettings, Tls, TlsSettings};
use heliograph_store::{Store, StoreUrl};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{corpus, served};

/// Gateways that are commissioned.
pub(crate) const GATEWAYS: usize = 200;
/// Connections that a server takes.
const MANY: usize = 100_000;
/// Ticks of `/proc/PID/stat` a second (USER_HZ).
const TICKS: f64 = 100.0;

/// Serves until standard input ends; says where. The folder holds certificate and key.
pub(crate) async fn serve(folder: &Path, store: &str, provider: &str) {
    let buckets = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let metrics = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), buckets).unwrap();
    let metrics = metrics.install_recorder().unwrap();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            metrics.run_upkeep();
        }
    });
    let url = StoreUrl::parse(store).unwrap();
    let url = if store.starts_with("cassandra") { url.signed_in("cassandra", Secret::new("cassandra")) } else { url };
    let store = Store::open(url).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
    served::commission(&store, GATEWAYS).await;
    let settings = IngestSettings { connections: MANY, connections_per_address: MANY, ..IngestSettings::default() };
    let clock = Arc::new(|| Timestamp::clamped(corpus::RECEIVED));
    let ingest = Ingest::open(store.clone(), settings, &folder.join("spool"), clock).await.unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let tls = Tls::open(TlsSettings { certificate, key, clients: ClientCertificates::Off }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(ingest.with_tls(tls, None).run(listener, "bench".to_owned(), shutdown.clone()));
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    waiting.await.unwrap().unwrap();
    shutdown.cancel();
    serving.await.unwrap();
    store.close().await;
}

/// A server that ends with this value.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Over an SQLite store in the folder.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::over(folder, &format!("sqlite:{}", folder.join("data").display()), "bench")
    }

    pub(crate) fn over(folder: &Path, store: &str, provider: &str) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("certificate.pem"), certified.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(folder)
            .args([store, provider])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap() }
    }

    /// A figure of `/proc/PID/status` (`VmRSS`: resident memory, `VmHWM`: the most of it), bytes.
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    }

    /// Processor time that it has used, its own and the kernel's for it, seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // Behind the name, which may hold anything: utime and stime, proc_pid_stat(5).
        let behind: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        [11, 12].iter().map(|field| behind[*field].parse::<f64>().unwrap()).sum::<f64>() / TICKS
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}
