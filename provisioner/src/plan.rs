//! The difference between what should be and what is, as a value.
//!
//! Nothing here talks to the engine: a plan can be printed, compared, tested
//! and thrown away.

mod diff;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use heliograph_domain::ProviderId;
use serde::Serialize;

use crate::desired::{ContainerSpec, Desired, NetworkSpec, PortSpec, Tenant, VolumeSpec};
use crate::observed::{ObjectKind, Observed, ObservedContainer, RunState};

pub use diff::Change;

/// What would be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The fleet's name.
    pub fleet: String,
    /// The steps, in the order in which they are taken.
    pub steps: Vec<Step>,
    /// What stands in the way; with one of these nothing is done.
    pub refusals: Vec<Refusal>,
    /// Volumes that belong to no provider of the fleet file and are kept.
    pub kept_volumes: Vec<String>,
    /// Objects that are as they should be.
    pub unchanged: usize,
    /// Every container that should run in the end, touched by a step or not.
    pub containers: Vec<ContainerSpec>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Whose object changes.
    pub provider: ProviderId,
    /// What is done.
    pub operation: Operation,
    /// Why.
    pub causes: Vec<Cause>,
}

/// What can be done to an engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make a network.
    CreateNetwork(NetworkSpec),
    /// Make a volume.
    CreateVolume(VolumeSpec),
    /// Make a container and start it.
    CreateContainer(Box<ContainerSpec>),
    /// Stop and remove a container, make it anew and start it.
    ReplaceContainer {
        /// The engine's id of the old one.
        old: String,
        /// The new one.
        spec: Box<ContainerSpec>,
    },
    /// Start a container that is there and right, but does not run.
    StartContainer {
        /// The engine's id.
        id: String,
        /// What it was made from.
        spec: Box<ContainerSpec>,
        /// Whether it is only paused.
        paused: bool,
    },
    /// Stop and remove a container.
    RemoveContainer {
        /// The engine's id.
        id: String,
        /// Its name.
        name: String,
    },
    /// Remove a network.
    RemoveNetwork {
        /// The engine's id.
        id: String,
        /// Its name.
        name: String,
    },
    /// Remove a volume with all its data.
    DestroyVolume {
        /// Its name.
        name: String,
    },
}

/// How much a step disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Something new; nothing that runs is touched.
    Create,
    /// Something that stood still runs again.
    Start,
    /// Something that runs is away for a moment.
    Replace,
    /// Something goes; no data does.
    Remove,
    /// Data goes.
    Destroy,
}

/// Why a step is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// It is not there.
    Missing,
    /// It is there and does not run.
    NotRunning {
        /// What it does instead.
        state: RunState,
    },
    /// The image's tag stands for another image now.
    Image {
        /// The image it was made from.
        from: String,
        /// The image that it should be made from.
        to: String,
    },
    /// Settings differ.
    Settings {
        /// Which ones.
        changes: Vec<Change>,
    },
    /// A secret's file is another one, or its content was written anew.
    Secret,
    /// It is on another network than its provider's.
    Network,
    /// Its port goes to another container of the fleet.
    PortMoves {
        /// The container that gets the port.
        to: String,
    },
    /// Its provider is not in the fleet file.
    NotInFleet,
    /// The operator asked for it.
    Asked,
}

/// Something that the plan would need and must not touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// An object of the name is there and not ours.
    Foreign {
        /// What it is.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// The other fleet that it belongs to, if any.
        fleet: Option<String>,
    },
    /// The host port is in use.
    PortTaken {
        /// The port.
        port: u16,
        /// Which container needs it.
        wanted_by: String,
        /// The container that has it; `None`: some process of the host.
        holder: Option<String>,
    },
}

/// How many steps of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// To create.
    pub create: usize,
    /// To start.
    pub start: usize,
    /// To replace.
    pub replace: usize,
    /// To remove.
    pub remove: usize,
    /// To destroy.
    pub destroy: usize,
}

impl Operation {
    /// How much it disturbs.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::CreateNetwork(_) | Self::CreateVolume(_) | Self::CreateContainer(_) => Class::Create,
            Self::StartContainer { .. } => Class::Start,
            Self::ReplaceContainer { .. } => Class::Replace,
            Self::RemoveContainer { .. } | Self::RemoveNetwork { .. } => Class::Remove,
            Self::DestroyVolume { .. } => Class::Destroy,
        }
    }

    /// What it is done to.
    #[must_use]
    pub const fn kind(&self) -> ObjectKind {
        match self {
            Self::CreateNetwork(_) | Self::RemoveNetwork { .. } => ObjectKind::Network,
            Self::CreateVolume(_) | Self::DestroyVolume { .. } => ObjectKind::Volume,
            _ => ObjectKind::Container,
        }
    }

    /// The name of what it is done to.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::CreateNetwork(NetworkSpec { name, .. })
            | Self::CreateVolume(VolumeSpec { name, .. })
            | Self::RemoveContainer { name, .. }
            | Self::RemoveNetwork { name, .. }
            | Self::DestroyVolume { name } => name,
            Self::CreateContainer(spec) | Self::ReplaceContainer { spec, .. } | Self::StartContainer { spec, .. } => &spec.name,
        }
    }

    /// The container that runs once it is done.
    #[must_use]
    pub fn started(&self) -> Option<&ContainerSpec> {
        match self {
            Self::CreateContainer(spec) | Self::ReplaceContainer { spec, .. } | Self::StartContainer { spec, .. } => Some(spec),
            _ => None,
        }
    }
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many steps of each class.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for step in &self.steps {
            *match step.operation.class() {
                Class::Create => &mut tally.create,
                Class::Start => &mut tally.start,
                Class::Replace => &mut tally.replace,
                Class::Remove => &mut tally.remove,
                Class::Destroy => &mut tally.destroy,
            } += 1;
        }
        tally
    }

    /// The ports that this plan takes and that no container of the fleet holds
    /// at the moment, with who needs each.
    #[must_use]
    pub fn new_ports(&self, observed: &Observed) -> Vec<(PortSpec, String)> {
        let held: BTreeSet<u16> = observed.containers.iter().flat_map(|container| container.ports.iter().copied()).collect();
        let started = self.steps.iter().filter_map(|step| step.operation.started());
        let wanted = started.flat_map(|spec| spec.ports.iter().map(|port| (*port, spec.name.clone())));
        wanted.filter(|(port, _)| !held.contains(&port.host.port())).collect()
    }
}

/// Works out what has to be done so that the engine holds what is desired.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let tenants = Tenants::new(desired, observed);
    let mut plan = Plan {
        fleet: desired.fleet.clone(),
        steps: tenants.departures(),
        refusals: Vec::new(),
        kept_volumes: tenants.kept_volumes(),
        unchanged: 0,
        containers: desired.tenants.iter().flat_map(|tenant| tenant.containers.iter().cloned()).collect(),
    };
    for tenant in &desired.tenants {
        let steps = tenants.steps_of(tenant);
        plan.unchanged += 2 + tenant.containers.len() - steps.len();
        plan.steps.extend(steps);
    }
    plan.refusals = refusals(&plan, desired, observed);
    plan
}

/// Works out how one provider is removed, its data only where that is asked for.
#[must_use]
pub fn plan_removal(fleet: &str, provider: &ProviderId, observed: &Observed, delete_data: bool) -> Plan {
    let step = |operation| Step { provider: provider.clone(), operation, causes: vec![Cause::Asked] };
    let containers = observed.containers.iter().filter(|container| container.provider == *provider);
    let mut steps: Vec<_> = containers.map(|container| step(removal(container))).collect();
    let networks = observed.networks.iter().filter(|network| network.provider == *provider);
    steps.extend(networks.map(|n| step(Operation::RemoveNetwork { id: n.id.clone(), name: n.name.clone() })));
    let volumes: Vec<_> =
        observed.volumes.iter().filter(|volume| volume.provider == *provider).map(|volume| volume.name.clone()).collect();
    let mut kept_volumes = volumes.clone();
    if delete_data {
        steps.extend(volumes.into_iter().map(|name| step(Operation::DestroyVolume { name })));
        kept_volumes.clear();
    }
    Plan { fleet: fleet.to_owned(), steps, refusals: Vec::new(), kept_volumes, unchanged: 0, containers: Vec::new() }
}

fn removal(container: &ObservedContainer) -> Operation {
    Operation::RemoveContainer { id: container.id.clone(), name: container.name.clone() }
}

/// Both sides, indexed by name.
struct Tenants<'a> {
    desired: BTreeMap<&'a str, &'a ContainerSpec>,
    providers: BTreeSet<&'a ProviderId>,
    observed: &'a Observed,
    containers: BTreeMap<&'a str, &'a ObservedContainer>,
    networks: BTreeMap<&'a str, &'a str>,
    volumes: BTreeSet<&'a str>,
}

impl<'a> Tenants<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let specs = desired.tenants.iter().flat_map(|tenant| &tenant.containers);
        Self {
            desired: specs.map(|spec| (spec.name.as_str(), spec)).collect(),
            providers: desired.tenants.iter().map(|tenant| &tenant.provider).collect(),
            observed,
            containers: observed.containers.iter().map(|container| (container.name.as_str(), container)).collect(),
            networks: observed.networks.iter().map(|network| (network.name.as_str(), network.id.as_str())).collect(),
            volumes: observed.volumes.iter().map(|volume| volume.name.as_str()).collect(),
        }
    }

    /// What goes first: whatever belongs to no provider of the fleet, and what
    /// sits on a port that another container is about to get.
    fn departures(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for container in self.containers.values() {
            let cause = if self.desired.contains_key(container.name.as_str()) {
                self.port_moves(container)
            } else {
                Some(Cause::NotInFleet)
            };
            steps.extend(cause.map(|cause| Step {
                provider: container.provider.clone(),
                operation: removal(container),
                causes: vec![cause],
            }));
        }
        let gone = self.observed.networks.iter().filter(|network| !self.providers.contains(&network.provider));
        steps.extend(gone.map(|network| Step {
            provider: network.provider.clone(),
            operation: Operation::RemoveNetwork { id: network.id.clone(), name: network.name.clone() },
            causes: vec![Cause::NotInFleet],
        }));
        steps.sort_by(|a, b| a.provider.cmp(&b.provider));
        steps
    }

    fn port_moves(&self, container: &ObservedContainer) -> Option<Cause> {
        let taker = self.desired.values().find(|spec| {
            spec.name != container.name && spec.ports.iter().any(|port| container.ports.contains(&port.host.port()))
        })?;
        Some(Cause::PortMoves { to: taker.name.clone() })
    }

    fn kept_volumes(&self) -> Vec<String> {
        let kept = self.observed.volumes.iter().filter(|volume| !self.providers.contains(&volume.provider));
        let mut names: Vec<_> = kept.map(|volume| volume.name.clone()).collect();
        names.sort();
        names
    }

    fn steps_of(&self, tenant: &Tenant) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut add = |operation, causes| steps.push(Step { provider: tenant.provider.clone(), operation, causes });
        let network = self.networks.get(tenant.network.name.as_str()).copied();
        if network.is_none() {
            add(Operation::CreateNetwork(tenant.network.clone()), vec![Cause::Missing]);
        }
        if !self.volumes.contains(tenant.volume.name.as_str()) {
            add(Operation::CreateVolume(tenant.volume.clone()), vec![Cause::Missing]);
        }
        for spec in &tenant.containers {
            if let Some((operation, causes)) = self.container_step(spec, network) {
                add(operation, causes);
            }
        }
        steps
    }

    fn container_step(&self, spec: &ContainerSpec, network: Option<&str>) -> Option<(Operation, Vec<Cause>)> {
        let boxed = || Box::new(spec.clone());
        let Some(container) = self.containers.get(spec.name.as_str()) else {
            return Some((Operation::CreateContainer(boxed()), vec![Cause::Missing]));
        };
        if self.port_moves(container).is_some() {
            return Some((Operation::CreateContainer(boxed()), vec![Cause::Missing]));
        }
        let mut causes = diff::causes(container, spec);
        if off_network(container, network) {
            causes.push(Cause::Network);
        }
        if container.state == RunState::Dead {
            causes.push(Cause::NotRunning { state: container.state });
        }
        if !causes.is_empty() {
            return Some((Operation::ReplaceContainer { old: container.id.clone(), spec: boxed() }, causes));
        }
        match container.state {
            RunState::Running | RunState::Restarting | RunState::Dead => None,
            state @ (RunState::Created | RunState::Paused | RunState::Exited) => {
                let start =
                    Operation::StartContainer { id: container.id.clone(), spec: boxed(), paused: state == RunState::Paused };
                Some((start, vec![Cause::NotRunning { state }]))
            }
        }
    }
}

/// Whether a container hangs on a network that its provider no longer has. One
/// that was never started names no network yet.
fn off_network(container: &ObservedContainer, network: Option<&str>) -> bool {
    match network {
        Some(network) => !container.networks.is_empty() && container.networks.iter().all(|id| id != network),
        None => !container.networks.is_empty(),
    }
}

fn refusals(plan: &Plan, desired: &Desired, observed: &Observed) -> Vec<Refusal> {
    let wanted: BTreeSet<(ObjectKind, &str)> = desired
        .tenants
        .iter()
        .flat_map(|tenant| {
            let containers = tenant.containers.iter().map(|spec| (ObjectKind::Container, spec.name.as_str()));
            let network = (ObjectKind::Network, tenant.network.name.as_str());
            containers.chain([network, (ObjectKind::Volume, tenant.volume.name.as_str())])
        })
        .collect();
    let foreign = observed.foreign.iter().filter(|foreign| wanted.contains(&(foreign.kind, foreign.name.as_str())));
    let mut refusals: Vec<_> = foreign
        .map(|foreign| Refusal::Foreign { kind: foreign.kind, name: foreign.name.clone(), fleet: foreign.fleet.clone() })
        .collect();
    refusals.extend(plan.new_ports(observed).into_iter().filter_map(|(port, wanted_by)| {
        let (_, holder) = observed.foreign_ports.iter().find(|(host, _)| clash(*host, port.host))?;
        Some(Refusal::PortTaken { port: port.host.port(), wanted_by, holder: Some(holder.clone()) })
    }));
    refusals
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
