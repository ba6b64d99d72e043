//! Between our values and the engine's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, NetworkCreateRequest, PortBinding, PortMap, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    VolumeCreateRequest,
};
use heliograph_domain::ProviderId;

use super::label;
use crate::desired::{ContainerSpec, NetworkSpec, VolumeSpec};
use crate::observed::{ObservedContainer, RunState};

const SECOND_NS: i64 = 1_000_000_000;

fn labels(fleet: &str, provider: &ProviderId) -> HashMap<String, String> {
    let pairs = [(label::MANAGED, "true"), (label::FLEET, fleet), (label::PROVIDER, provider.as_str())];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub(super) fn network_body(spec: &NetworkSpec) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: spec.name.clone(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels(&spec.fleet, &spec.provider)),
        ..NetworkCreateRequest::default()
    }
}

pub(super) fn volume_body(spec: &VolumeSpec) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(spec.name.clone()),
        driver: Some("local".to_owned()),
        labels: Some(labels(&spec.fleet, &spec.provider)),
        ..VolumeCreateRequest::default()
    }
}

pub(super) fn container_body(spec: &ContainerSpec) -> ContainerCreateBody {
    let mut labels = labels(&spec.fleet, &spec.provider);
    labels.insert(label::ROLE.to_owned(), spec.role.to_string());
    labels.insert(label::SPEC.to_owned(), spec.digest());
    labels.insert(label::SPEC_JSON.to_owned(), spec.to_json());
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: Some(spec.role.as_str().to_owned()),
        user: Some(spec.user.clone()),
        entrypoint: Some(spec.command.iter().take(1).cloned().collect()),
        cmd: Some(spec.command.iter().skip(1).cloned().collect()),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        exposed_ports: Some(spec.ports.iter().map(|port| inner_port(port.container)).collect()),
        healthcheck: Some(healthcheck(spec)),
        labels: Some(labels),
        stop_timeout: Some(i64::from(spec.stop_grace_s)),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    }
}

/// The engine asks every ten seconds; younger engines ask each second until the
/// first good answer.
fn healthcheck(spec: &ContainerSpec) -> HealthConfig {
    let test = std::iter::once("CMD".to_owned()).chain(spec.healthcheck.iter().cloned()).collect();
    HealthConfig {
        test: Some(test),
        interval: Some(10 * SECOND_NS),
        timeout: Some(5 * SECOND_NS),
        retries: Some(3),
        start_period: Some(30 * SECOND_NS),
        start_interval: Some(SECOND_NS),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 1024 processors")]
fn host_config(spec: &ContainerSpec) -> HostConfig {
    let memory = i64::try_from(spec.limits.memory.bytes()).unwrap_or(i64::MAX);
    let files = i64::from(spec.limits.files);
    HostConfig {
        network_mode: Some(spec.network.clone()),
        port_bindings: Some(port_bindings(spec)),
        mounts: Some(mounts(spec)),
        tmpfs: Some(spec.hardening.tmpfs.clone().into_iter().collect()),
        readonly_rootfs: Some(spec.hardening.read_only_root),
        cap_drop: Some(spec.hardening.cap_drop.clone()),
        security_opt: Some(spec.hardening.security_opt.clone()),
        privileged: Some(false),
        ipc_mode: Some("private".to_owned()),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some((spec.limits.cpus * 1e9).round() as i64),
        pids_limit: Some(i64::from(spec.limits.pids)),
        ulimits: Some(vec![ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(files), hard: Some(files) }]),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None }),
        log_config: Some(log_config(spec)),
        ..HostConfig::default()
    }
}

fn log_config(spec: &ContainerSpec) -> HostConfigLogConfig {
    let options = [("max-size", &spec.log.max_size), ("max-file", &spec.log.max_file)];
    let config = options.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    HostConfigLogConfig { typ: Some(spec.log.driver.clone()), config: Some(config) }
}

fn inner_port(port: u16) -> String {
    format!("{port}/tcp")
}

fn port_bindings(spec: &ContainerSpec) -> PortMap {
    let binding =
        |host: SocketAddr| PortBinding { host_ip: Some(host.ip().to_string()), host_port: Some(host.port().to_string()) };
    spec.ports.iter().map(|port| (inner_port(port.container), Some(vec![binding(port.host)]))).collect()
}

fn mounts(spec: &ContainerSpec) -> Vec<Mount> {
    let data = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(spec.volume.clone()),
        target: Some("/data".to_owned()),
        ..Mount::default()
    };
    let secrets = spec.secrets.iter().map(|secret| Mount {
        typ: Some(MountType::BIND),
        source: Some(secret.source.to_string_lossy().into_owned()),
        target: Some(secret.target.clone()),
        read_only: Some(true),
        ..Mount::default()
    });
    std::iter::once(data).chain(secrets).collect()
}

/// A container's name without the slash that the engine writes before it.
pub(super) fn container_name(summary: &ContainerSummary) -> String {
    let name = summary.names.iter().flatten().find(|name| name.matches('/').count() == 1);
    name.map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default()
}

/// One of our containers as a value; `None` when a label of ours is missing or wrong.
pub(super) fn observed_container(summary: &ContainerSummary) -> Option<ObservedContainer> {
    let labels = summary.labels.as_ref()?;
    let text = |key: &str| labels.get(key).cloned();
    let networks = summary.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    Some(ObservedContainer {
        id: summary.id.clone()?,
        name: container_name(summary),
        provider: ProviderId::parse(&text(label::PROVIDER)?).ok()?,
        state: run_state(summary.state),
        spec_digest: text(label::SPEC).unwrap_or_default(),
        spec_json: text(label::SPEC_JSON).unwrap_or_default(),
        ports: published(summary).into_iter().map(|host| host.port()).collect(),
        networks: networks
            .into_iter()
            .flatten()
            .filter_map(|(_, end)| end.network_id.clone())
            .filter(|id| !id.is_empty())
            .collect(),
    })
}

/// The host's ends of a container's ports.
pub(super) fn published(summary: &ContainerSummary) -> Vec<SocketAddr> {
    let ends = summary.ports.iter().flatten().filter_map(|port| Some((port.ip.as_deref(), port.public_port?)));
    let mut hosts: Vec<_> = ends
        .map(|(ip, port)| SocketAddr::new(ip.and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port))
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn run_state(state: Option<ContainerSummaryStateEnum>) -> RunState {
    match state {
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::STOPPING) => RunState::Running,
        Some(ContainerSummaryStateEnum::RESTARTING) => RunState::Restarting,
        Some(ContainerSummaryStateEnum::PAUSED) => RunState::Paused,
        Some(ContainerSummaryStateEnum::EXITED) => RunState::Exited,
        Some(ContainerSummaryStateEnum::DEAD | ContainerSummaryStateEnum::REMOVING) => RunState::Dead,
        Some(ContainerSummaryStateEnum::CREATED | ContainerSummaryStateEnum::EMPTY) | None => RunState::Created,
    }
}
