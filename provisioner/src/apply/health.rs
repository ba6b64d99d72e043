//! Waiting until containers are well. The engine asks too seldom for somebody
//! who waits, so that the health check is also run from here.

use std::time::Duration;

use serde::Serialize;

use crate::desired::ContainerSpec;
use crate::engine::{ContainerHealth, Engine, EngineError, HealthState};
use crate::paint::Paint;

const PAUSE: Duration = Duration::from_millis(200);
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// After so many restarts by the engine nobody has to wait any longer.
const CRASH_LOOP: i64 = 3;
const LINES: usize = 10;

/// A container that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unhealthy {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub reason: String,
    /// The last lines that it wrote.
    pub last_lines: Vec<String>,
}

impl Unhealthy {
    /// For people, with the lines that it wrote.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let mut out = format!("{} {} {}\n", paint.bad("Not healthy:"), paint.strong(&self.name), self.reason);
        if self.last_lines.is_empty() {
            out.push_str("    it wrote nothing\n");
        }
        for line in &self.last_lines {
            out.push_str(&format!("    {} {line}\n", paint.faint("|")));
        }
        out
    }
}

enum Verdict {
    Well,
    NotYet(String),
    Never(String),
}

/// Waits until every container is well, for at most `timeout`, telling `report`
/// the name of each that is. Returns those that are not.
///
/// # Errors
/// When the engine fails.
pub async fn await_health(
    engine: &Engine,
    specs: &[&ContainerSpec],
    timeout: Duration,
    mut report: impl FnMut(&str),
) -> Result<Vec<Unhealthy>, EngineError> {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut waiting = specs.to_vec();
    let mut unhealthy = Vec::new();
    loop {
        let late = tokio::time::Instant::now() >= deadline;
        let mut still = Vec::new();
        for spec in waiting {
            match examine(engine, spec).await? {
                Verdict::Well => report(&spec.name),
                Verdict::NotYet(_) if !late => still.push(spec),
                Verdict::NotYet(reason) | Verdict::Never(reason) => unhealthy.push(describe(engine, spec, reason).await),
            }
        }
        if still.is_empty() {
            return Ok(unhealthy);
        }
        waiting = still;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn examine(engine: &Engine, spec: &ContainerSpec) -> Result<Verdict, EngineError> {
    let Some(health) = engine.observer().health(&spec.name).await? else {
        return Ok(Verdict::Never("is gone".to_owned()));
    };
    if health.running && (health.health == HealthState::Healthy || answers(engine, spec).await) {
        return Ok(Verdict::Well);
    }
    if health.restarts >= CRASH_LOOP {
        return Ok(Verdict::Never(format!("{}; the engine has started it again {} times", ending(&health), health.restarts)));
    }
    Ok(Verdict::NotYet(ending(&health)))
}

fn ending(health: &ContainerHealth) -> String {
    if health.out_of_memory {
        "ended for want of memory".to_owned()
    } else if health.running {
        "runs, but its health check fails".to_owned()
    } else {
        format!("is {}, its last exit code {}", health.state, health.exit_code)
    }
}

/// Whether the health check passes now. A container that ends meanwhile does
/// not pass.
async fn answers(engine: &Engine, spec: &ContainerSpec) -> bool {
    let check = engine.run_inside(&spec.name, &spec.healthcheck);
    matches!(tokio::time::timeout(CHECK_TIMEOUT, check).await, Ok(Ok(0)))
}

async fn describe(engine: &Engine, spec: &ContainerSpec, reason: String) -> Unhealthy {
    let last_lines = engine.observer().last_lines(&spec.name, LINES).await.unwrap_or_default();
    Unhealthy { name: spec.name.clone(), reason, last_lines }
}
