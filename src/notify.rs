//! What a role tells systemd about itself (sd_notify(3)): that it is ready, that it
//! is alive, that it stops. Where nobody wants to know, nothing is told.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Says that the role serves from now on; later that it stops, and meanwhile, as
/// often as it is asked for, that its runtime still turns.
pub(crate) fn running(shutdown: &CancellationToken) {
    let variable = |name| std::env::var(name).ok();
    let Some(supervisor) = variable("NOTIFY_SOCKET").and_then(|path| Supervisor::at(&path)) else { return };
    let interval = watchdog(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id());
    supervisor.tell("READY=1");
    tokio::spawn(supervisor.follow(interval, shutdown.clone()));
}

/// Whoever started this process and wants to know how it fares.
struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// At a path or, behind an `@`, at an abstract name.
    fn at(path: &str) -> Option<Self> {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(path),
        };
        let opened = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // Nobody is served while a supervisor does not listen.
            socket.set_nonblocking(true)?;
            Ok(Self { socket, address })
        });
        opened.inspect_err(|error| tracing::warn!(%error, path, "the supervisor cannot be told anything")).ok()
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::warn!(%error, state, "the supervisor cannot be told");
        }
    }

    async fn follow(self, interval: Option<Duration>, shutdown: CancellationToken) {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.tell("STOPPING=1");
                }
                () = tokio::time::sleep(interval.unwrap_or(Duration::MAX)), if interval.is_some() => self.tell("WATCHDOG=1"),
                else => return,
            }
        }
    }
}

/// How often a sign of life is sent: twice in the time that a supervisor waits.
fn watchdog(micros: Option<&str>, of_process: Option<&str>, process: u32) -> Option<Duration> {
    if of_process.is_some_and(|of| of.parse() != Ok(process)) {
        return None;
    }
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_is_for_the_process_that_is_asked() {
        let half_a_minute = Some(Duration::from_secs(30));
        assert_eq!(watchdog(Some("60000000"), None, 7), half_a_minute);
        assert_eq!(watchdog(Some("60000000"), Some("7"), 7), half_a_minute);
        for (micros, of) in [(Some("60000000"), Some("8")), (None, Some("7")), (Some("0"), None), (Some("soon"), None)] {
            assert_eq!(watchdog(micros, of, 7), None, "{micros:?} {of:?}");
        }
    }

    #[tokio::test]
    async fn states_arrive_at_an_abstract_name_too() {
        let name = format!("heliograph-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let supervisor = Supervisor::at(&format!("@{name}")).unwrap();
        let shutdown = CancellationToken::new();
        supervisor.tell("READY=1");
        let following = tokio::spawn(supervisor.follow(Some(Duration::from_millis(5)), shutdown.clone()));
        let mut heard = Vec::new();
        let next = async || {
            let mut bytes = [0; 64];
            listener.set_nonblocking(true).unwrap();
            for _ in 0..2000 {
                if let Ok(length) = listener.recv(&mut bytes) {
                    return String::from_utf8_lossy(&bytes[..length]).into_owned();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            "nothing".to_owned()
        };
        heard.push(next().await);
        heard.push(next().await);
        shutdown.cancel();
        while heard.last().is_some_and(|state| state == "WATCHDOG=1") {
            heard.push(next().await);
        }
        heard.push(next().await);
        following.abort();
        heard.dedup();
        assert_eq!(heard, ["READY=1", "WATCHDOG=1", "STOPPING=1", "WATCHDOG=1"]);
    }
}
