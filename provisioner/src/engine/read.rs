//! Reading the engine. No method here changes anything.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary, HealthStatusEnum};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions, LogsOptionsBuilder};
use futures_util::StreamExt as _;
use heliograph_domain::{ProviderId, Timestamp};
use serde::Serialize;

use super::convert::{container_name, observed_container, published};
use super::{Endpoint, EngineError, label};
use crate::desired::ResolvedImage;
use crate::observed::{Foreign, ObjectKind, Observed, ObservedNetwork, ObservedVolume};

/// Sees an engine's objects.
#[derive(Debug, Clone)]
pub struct Observer {
    docker: Docker,
}

/// How a container fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerHealth {
    /// The engine's word for what it does: running, exited, restarting.
    pub state: String,
    /// Whether it runs.
    pub running: bool,
    /// What its health check says.
    pub health: HealthState,
    /// How often the engine started it again.
    pub restarts: i64,
    /// The exit code of its last end.
    pub exit_code: i64,
    /// Whether it ended for want of memory.
    pub out_of_memory: bool,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// The image it was made from, as it was named then.
    pub image: String,
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// Nothing yet, or nothing to ask.
    Unknown,
    /// It is within its first half minute and has not answered well yet.
    Starting,
    /// It answers.
    Healthy,
    /// It does not.
    Unhealthy,
}

impl HealthState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "-",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Observer {
    /// Connects, and makes sure that somebody answers.
    ///
    /// # Errors
    /// When nobody does.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let docker = endpoint.connect()?;
        docker.ping().await.map_err(|error| endpoint.unreachable(error))?;
        Ok(Self { docker })
    }

    pub(super) fn of(docker: Docker) -> Self {
        Self { docker }
    }

    /// What an image reference stands for; `None` when the engine has no such image.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn image(&self, reference: &str) -> Result<Option<ResolvedImage>, EngineError> {
        match self.docker.inspect_image(reference).await {
            Ok(image) => Ok(image.id.map(|id| ResolvedImage { reference: reference.to_owned(), id })),
            Err(error) => absent(EngineError::new(format!("inspect image {reference}"), error)),
        }
    }

    /// Everything about a fleet.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn observe(&self, fleet: &str) -> Result<Observed, EngineError> {
        let mut observed = Observed::default();
        self.observe_containers(fleet, &mut observed).await?;
        self.observe_networks(fleet, &mut observed).await?;
        self.observe_volumes(fleet, &mut observed).await?;
        observed.containers.sort_by(|a, b| a.name.cmp(&b.name));
        observed.networks.sort_by(|a, b| a.name.cmp(&b.name));
        observed.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(observed)
    }

    async fn observe_containers(&self, fleet: &str, observed: &mut Observed) -> Result<(), EngineError> {
        for summary in self.containers().await? {
            if let Ownership::Ours(_) = ownership(summary.labels.as_ref(), fleet)
                && let Some(container) = observed_container(&summary)
            {
                observed.containers.push(container);
                continue;
            }
            let name = container_name(&summary);
            observed.foreign_ports.extend(published(&summary).into_iter().map(|host| (host, name.clone())));
            observed.foreign.push(foreign(ObjectKind::Container, name, summary.labels.as_ref()));
        }
        Ok(())
    }

    async fn containers(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        self.docker.list_containers(Some(options)).await.map_err(|error| EngineError::new("list containers", error))
    }

    async fn observe_networks(&self, fleet: &str, observed: &mut Observed) -> Result<(), EngineError> {
        let networks = self.docker.list_networks(None::<ListNetworksOptions>).await;
        for network in networks.map_err(|error| EngineError::new("list networks", error))? {
            let (id, name) = (network.id.unwrap_or_default(), network.name.unwrap_or_default());
            match ownership(network.labels.as_ref(), fleet) {
                Ownership::Ours(provider) => observed.networks.push(ObservedNetwork { id, name, provider }),
                Ownership::Foreign => observed.foreign.push(foreign(ObjectKind::Network, name, network.labels.as_ref())),
            }
        }
        Ok(())
    }

    async fn observe_volumes(&self, fleet: &str, observed: &mut Observed) -> Result<(), EngineError> {
        let volumes = self.docker.list_volumes(None::<ListVolumesOptions>).await;
        let volumes = volumes.map_err(|error| EngineError::new("list volumes", error))?.volumes;
        for volume in volumes.into_iter().flatten() {
            match ownership(Some(&volume.labels), fleet) {
                Ownership::Ours(provider) => observed.volumes.push(ObservedVolume { name: volume.name, provider }),
                Ownership::Foreign => observed.foreign.push(foreign(ObjectKind::Volume, volume.name, Some(&volume.labels))),
            }
        }
        Ok(())
    }

    /// How one container fares; `None` when there is none of that name.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn health(&self, name: &str) -> Result<Option<ContainerHealth>, EngineError> {
        match self.docker.inspect_container(name, None).await {
            Ok(container) => Ok(Some(container_health(container))),
            Err(error) => absent(EngineError::new(format!("inspect container {name}"), error)),
        }
    }

    /// The last lines that a container wrote.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn last_lines(&self, name: &str, count: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&count.to_string()).build();
        let mut stream = self.docker.logs(name, Some(options));
        let mut text = String::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| EngineError::new(format!("read the log of {name}"), error))?;
            text.push_str(&String::from_utf8_lossy(&piece.into_bytes()));
        }
        Ok(text.lines().map(str::to_owned).collect())
    }
}

enum Ownership {
    Ours(ProviderId),
    Foreign,
}

fn ownership(labels: Option<&HashMap<String, String>>, fleet: &str) -> Ownership {
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let ours = value(label::MANAGED) == Some("true") && value(label::FLEET) == Some(fleet);
    match value(label::PROVIDER).and_then(|id| ProviderId::parse(id).ok()).filter(|_| ours) {
        Some(provider) => Ownership::Ours(provider),
        None => Ownership::Foreign,
    }
}

fn foreign(kind: ObjectKind, name: String, labels: Option<&HashMap<String, String>>) -> Foreign {
    let managed = labels.filter(|labels| labels.get(label::MANAGED).is_some_and(|value| value == "true"));
    let fleet = managed.and_then(|labels| labels.get(label::FLEET)).cloned();
    Foreign { kind, name, fleet }
}

fn absent<T>(error: EngineError) -> Result<Option<T>, EngineError> {
    if error.status() == Some(404) { Ok(None) } else { Err(error) }
}

fn container_health(container: ContainerInspectResponse) -> ContainerHealth {
    let state = container.state.unwrap_or_default();
    let health = state.health.and_then(|health| health.status);
    ContainerHealth {
        state: state.status.map(|status| status.to_string()).unwrap_or_default(),
        running: state.running == Some(true) && state.restarting != Some(true) && state.paused != Some(true),
        health: match health {
            Some(HealthStatusEnum::STARTING) => HealthState::Starting,
            Some(HealthStatusEnum::HEALTHY) => HealthState::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => HealthState::Unhealthy,
            Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) | None => HealthState::Unknown,
        },
        restarts: container.restart_count.unwrap_or(0),
        exit_code: state.exit_code.unwrap_or(0),
        out_of_memory: state.oom_killed == Some(true),
        started_at: state.started_at.and_then(|text| Timestamp::parse_rfc3339(&text).ok()).filter(|time| time.as_millis() > 0),
        image: container.config.and_then(|config| config.image).unwrap_or_default(),
    }
}
