//! How the fleet fares: a row for each container, wanted or found.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use heliograph_domain::{ProviderId, Timestamp};
use serde::Serialize;

use crate::engine::{ContainerHealth, EngineError, HealthState, Observer};
use crate::fleet::Fleet;
use crate::observed::Observed;
use crate::paint::Paint;
use crate::role::Role;

/// How a fleet fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The fleet's name.
    pub fleet: String,
    /// Its containers, by provider and role.
    pub containers: Vec<StatusRow>,
}

/// How one container fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusRow {
    /// Whose it is.
    pub provider: ProviderId,
    /// What it does.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// The engine's word for what it does; `missing` where there is none.
    pub state: String,
    /// What its health check says.
    pub health: HealthState,
    /// The host ports that lead to it.
    pub ports: Vec<u16>,
    /// The image it was made from.
    pub image: String,
    /// Seconds since its start; `None` while it does not run.
    pub uptime_s: Option<i64>,
    /// How often the engine started it again.
    pub restarts: i64,
    /// Whether the fleet file knows its provider.
    pub in_fleet: bool,
}

impl Status {
    /// Asks the engine about every container of a fleet.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn read(fleet: &Fleet, observer: &Observer, now: Timestamp) -> Result<Self, EngineError> {
        let observed = observer.observe(&fleet.name).await?;
        let mut providers: Vec<&ProviderId> = fleet.providers.keys().collect();
        providers.extend(observed.containers.iter().map(|container| &container.provider));
        providers.sort();
        providers.dedup();
        let mut containers = Vec::new();
        for provider in providers {
            for role in Role::ALL {
                containers.extend(row(fleet, observer, &observed, provider, role, now).await?);
            }
        }
        Ok(Self { fleet: fleet.name.clone(), containers })
    }

    /// Whether every container of the fleet file runs and none is unwell.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.containers.iter().all(|row| row.state == "running" && row.health != HealthState::Unhealthy)
    }

    /// As a table.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        if self.containers.is_empty() {
            return "The fleet is empty; `heliograph provider add ID` adds a provider.\n".to_owned();
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if paint.is_coloured() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let heads = ["PROVIDER", "ROLE", "STATE", "HEALTH", "PORT", "UPTIME", "IMAGE", "CONTAINER"];
        table.set_header(heads.map(|head| Cell::new(head).add_attribute(Attribute::Dim)));
        let mut last = None;
        for row in &self.containers {
            let first = last != Some(&row.provider);
            last = Some(&row.provider);
            table.add_row(row.cells(first));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let strangers = self.containers.iter().any(|row| !row.in_fleet);
        let note = "* is not in the fleet file; `heliograph provider apply` removes its containers and keeps its data.\n";
        format!("{}\n{}", lines.join("\n"), if strangers { note } else { "" })
    }
}

impl StatusRow {
    fn cells(&self, first: bool) -> Vec<Cell> {
        let mark = if self.in_fleet { "" } else { " *" };
        let provider = if first { format!("{}{mark}", self.provider) } else { String::new() };
        let state = if self.restarts > 0 { format!("{} ({} restarts)", self.state, self.restarts) } else { self.state.clone() };
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let ports: Vec<_> = self.ports.iter().map(ToString::to_string).collect();
        vec![
            Cell::new(provider).add_attribute(Attribute::Bold),
            Cell::new(self.role),
            Cell::new(state).fg(if self.state == "running" { Color::Reset } else { Color::Red }),
            Cell::new(self.health.as_str()).fg(health_colour(self.health)),
            Cell::new(dash(ports.join(", "))),
            Cell::new(self.uptime_s.map_or_else(|| "-".to_owned(), duration)),
            Cell::new(dash(self.image.clone())),
            Cell::new(&self.name).add_attribute(Attribute::Dim),
        ]
    }
}

fn health_colour(health: HealthState) -> Color {
    match health {
        HealthState::Healthy => Color::Green,
        HealthState::Unhealthy => Color::Red,
        HealthState::Starting => Color::Yellow,
        HealthState::Unknown => Color::Reset,
    }
}

/// The two largest units, as in `3d 4h`.
fn duration(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

async fn row(
    fleet: &Fleet,
    observer: &Observer,
    observed: &Observed,
    provider: &ProviderId,
    role: Role,
    now: Timestamp,
) -> Result<Option<StatusRow>, EngineError> {
    let name = role.container_name(provider);
    let in_fleet = fleet.providers.contains_key(provider);
    let found = observed.containers.iter().find(|container| container.name == name);
    let health = if found.is_some() { observer.health(&name).await? } else { None };
    if health.is_none() && !in_fleet {
        return Ok(None);
    }
    let ports = found.map(|container| container.ports.clone()).unwrap_or_default();
    Ok(Some(StatusRow::new(provider, role, name, in_fleet, ports, health.as_ref(), now)))
}

impl StatusRow {
    fn new(
        provider: &ProviderId,
        role: Role,
        name: String,
        in_fleet: bool,
        ports: Vec<u16>,
        health: Option<&ContainerHealth>,
        now: Timestamp,
    ) -> Self {
        let running = health.filter(|health| health.running);
        Self {
            provider: provider.clone(),
            role,
            name,
            state: health.map_or_else(|| "missing".to_owned(), |health| health.state.clone()),
            health: running.map_or(HealthState::Unknown, |health| health.health),
            ports,
            image: health.map(|health| health.image.clone()).unwrap_or_default(),
            uptime_s: running.and_then(|health| health.started_at).map(|start| (now.millis_since(start) / 1000).max(0)),
            restarts: health.map_or(0, |health| health.restarts),
            in_fleet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units() {
        for (seconds, shown) in [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_700, "1h 1m"), (90_000, "1d 1h"), (86_400, "1d 0h")] {
            assert_eq!(duration(seconds), shown);
        }
    }
}
