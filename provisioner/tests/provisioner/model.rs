//! A small engine in memory, as strict as the real one where plans could go
//! wrong: names, ports, networks in use, volumes in use.

use std::collections::{BTreeMap, BTreeSet};

use heliograph_domain::ProviderId;
use heliograph_provisioner::{
    ContainerSpec, Observed, ObservedContainer, ObservedNetwork, ObservedVolume, Operation, Plan, RunState,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    containers: BTreeMap<String, Container>,
    networks: BTreeMap<String, (String, ProviderId)>,
    volumes: BTreeMap<String, ProviderId>,
    ids: u32,
}

#[derive(Debug, Clone)]
struct Container {
    id: String,
    spec: ContainerSpec,
    state: RunState,
    network: Option<String>,
}

impl Container {
    fn holds_ports(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Paused)
    }

    fn ports(&self) -> Vec<u16> {
        self.spec.ports.iter().map(|port| port.host.port()).collect()
    }
}

impl Model {
    fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("id{}", self.ids)
    }

    pub(crate) fn observe(&self) -> Observed {
        let container = |c: &Container| ObservedContainer {
            id: c.id.clone(),
            name: c.spec.name.clone(),
            provider: c.spec.provider.clone(),
            state: c.state,
            spec_digest: c.spec.digest(),
            spec_json: c.spec.to_json(),
            ports: if c.holds_ports() { c.ports() } else { Vec::new() },
            networks: c.network.iter().cloned().collect(),
        };
        let network = |(name, (id, provider)): (&String, &(String, ProviderId))| ObservedNetwork {
            id: id.clone(),
            name: name.clone(),
            provider: provider.clone(),
        };
        let volume = |(name, provider): (&String, &ProviderId)| ObservedVolume { name: name.clone(), provider: provider.clone() };
        Observed {
            containers: self.containers.values().map(container).collect(),
            networks: self.networks.iter().map(network).collect(),
            volumes: self.volumes.iter().map(volume).collect(),
            ..Observed::default()
        }
    }

    /// Carries out the first `steps` steps of a plan.
    pub(crate) fn apply(&mut self, plan: &Plan, steps: usize) -> Result<(), String> {
        assert!(plan.refusals.is_empty(), "{plan}");
        plan.steps.iter().take(steps).try_for_each(|step| self.perform(&step.operation))
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::CreateNetwork(spec) => {
                let id = self.new_id();
                taken(self.networks.insert(spec.name.clone(), (id, spec.provider.clone())).is_some(), &spec.name)
            }
            Operation::CreateVolume(spec) => {
                taken(self.volumes.insert(spec.name.clone(), spec.provider.clone()).is_some(), &spec.name)
            }
            Operation::CreateContainer(spec) => self.create(spec),
            Operation::ReplaceContainer { old, spec } => {
                self.remove(old)?;
                self.create(spec)
            }
            Operation::StartContainer { spec, .. } => self.start(&spec.name),
            Operation::RemoveContainer { id, .. } => self.remove(id),
            Operation::RemoveNetwork { id, name } => self.remove_network(id, name),
            Operation::DestroyVolume { name } => self.destroy_volume(name),
        }
    }

    fn create(&mut self, spec: &ContainerSpec) -> Result<(), String> {
        if self.containers.contains_key(&spec.name) {
            return Err(format!("the name {} is in use", spec.name));
        }
        let id = self.new_id();
        let container = Container { id, spec: spec.clone(), state: RunState::Created, network: None };
        self.containers.insert(spec.name.clone(), container);
        self.start(&spec.name)
    }

    fn start(&mut self, name: &str) -> Result<(), String> {
        let held: BTreeSet<u16> =
            self.containers.values().filter(|c| c.holds_ports() && c.spec.name != name).flat_map(Container::ports).collect();
        let container = self.containers.get_mut(name).ok_or("no such container")?;
        if let Some(port) = container.ports().into_iter().find(|port| held.contains(port)) {
            return Err(format!("port {port} is in use"));
        }
        let (network, _) = self.networks.get(&container.spec.network).ok_or("no such network")?;
        if container.network.as_ref().is_some_and(|id| id != network) {
            return Err("its network is gone".to_owned());
        }
        self.volumes.get(&container.spec.volume).ok_or("no such volume")?;
        container.network = Some(network.clone());
        container.state = RunState::Running;
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<(), String> {
        let before = self.containers.len();
        self.containers.retain(|_, container| container.id != id);
        if self.containers.len() < before { Ok(()) } else { Err(format!("no container {id}")) }
    }

    fn remove_network(&mut self, id: &str, name: &str) -> Result<(), String> {
        if self.containers.values().any(|c| c.holds_ports() && c.network.as_deref() == Some(id)) {
            return Err(format!("network {name} is in use"));
        }
        self.networks.remove(name).map(drop).ok_or_else(|| format!("no network {name}"))
    }

    fn destroy_volume(&mut self, name: &str) -> Result<(), String> {
        if self.containers.values().any(|c| c.spec.volume == name) {
            return Err(format!("volume {name} is in use"));
        }
        self.volumes.remove(name).map(drop).ok_or_else(|| format!("no volume {name}"))
    }

    /// What happens to an engine between two runs. What the engine would not
    /// allow does not happen.
    pub(crate) fn damage(&mut self, kind: u8, index: usize) {
        let names: Vec<String> = self.containers.keys().cloned().collect();
        let Some(name) = names.get(index % names.len().max(1)) else {
            return;
        };
        let Some(container) = self.containers.get_mut(name) else {
            return;
        };
        let (network, id) = (container.spec.network.clone(), container.id.clone());
        match kind {
            0 => drop(self.remove(&id)),
            1 => container.state = RunState::Exited,
            2 => container.state = RunState::Dead,
            3 if container.state == RunState::Running => container.state = RunState::Paused,
            4 => {
                if let Some((id, _)) = self.networks.get(&network).cloned() {
                    drop(self.remove_network(&id, &network));
                }
            }
            5 => {
                let tenant = container.spec.provider.clone();
                self.containers.retain(|_, container| container.spec.provider != tenant);
                drop(self.destroy_volume(&network));
            }
            _ => {}
        }
    }
}

fn taken(before: bool, name: &str) -> Result<(), String> {
    if before { Err(format!("the name {name} is in use")) } else { Ok(()) }
}
