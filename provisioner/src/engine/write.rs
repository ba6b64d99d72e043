//! Changing the engine: one method for each thing that can be done, each of
//! which may be repeated.

use bollard::Docker;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{BuildInfo, ExecConfig};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::convert::{container_body, network_body, volume_body};
use super::{Endpoint, EngineError, Observer};
use crate::desired::{ContainerSpec, NetworkSpec, VolumeSpec};

/// Changes an engine's objects.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    observer: Observer,
}

impl Engine {
    /// Connects, and makes sure that somebody answers.
    ///
    /// # Errors
    /// When nobody does.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let docker = endpoint.connect()?;
        docker.ping().await.map_err(|error| endpoint.unreachable(error))?;
        Ok(Self { observer: Observer::of(docker.clone()), docker })
    }

    /// The part of it that only reads.
    #[must_use]
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(crate) async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let made = self.docker.create_network(network_body(spec)).await;
        made.map(drop).map_err(|error| EngineError::new(format!("create network {}", spec.name), error))
    }

    pub(crate) async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        let made = self.docker.create_volume(volume_body(spec)).await;
        made.map(drop).map_err(|error| EngineError::new(format!("create volume {}", spec.name), error))
    }

    pub(crate) async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        let made = self.docker.create_container(Some(options), container_body(spec)).await;
        made.map(drop).map_err(|error| EngineError::new(format!("create container {}", spec.name), error))
    }

    pub(crate) async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(|error| EngineError::new(format!("start container {name}"), error))
    }

    pub(crate) async fn unpause_container(&self, name: &str) -> Result<(), EngineError> {
        let resumed = self.docker.unpause_container(name).await;
        resumed.map_err(|error| EngineError::new(format!("resume container {name}"), error))
    }

    /// Stops a container, within its own grace time, and removes it. One that
    /// is not there is as good.
    pub(crate) async fn remove_container(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let stopped = self.docker.stop_container(id, Some(StopContainerOptionsBuilder::default().build())).await;
        gone_is_fine(stopped, || format!("stop container {name}"))?;
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        gone_is_fine(self.docker.remove_container(id, Some(options)).await, || format!("remove container {name}"))
    }

    pub(crate) async fn remove_network(&self, id: &str, name: &str) -> Result<(), EngineError> {
        gone_is_fine(self.docker.remove_network(id).await, || format!("remove network {name}"))
    }

    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let removed = self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await;
        gone_is_fine(removed, || format!("remove volume {name}"))
    }

    /// Runs a program inside a container; its exit code.
    pub(crate) async fn run_inside(&self, name: &str, command: &[String]) -> Result<i64, EngineError> {
        let failed = |error| EngineError::new(format!("run {} in {name}", command.join(" ")), error);
        let config = ExecConfig { cmd: Some(command.to_vec()), attach_stdout: Some(true), ..ExecConfig::default() };
        let exec = self.docker.create_exec(name, config).await.map_err(failed)?;
        let started = self.docker.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(failed)?;
        if let StartExecResults::Attached { mut output, .. } = started {
            // The program has ended when its output has.
            while output.next().await.is_some() {}
        }
        let ended = self.docker.inspect_exec(&exec.id).await.map_err(failed)?;
        Ok(ended.exit_code.unwrap_or(-1))
    }

    /// Hands the engine a build context with a `Dockerfile` in it.
    pub(crate) async fn build_image(&self, tag: &str, context: Vec<u8>) -> Result<(), EngineError> {
        let options = BuildImageOptionsBuilder::default().dockerfile("Dockerfile").t(tag).rm(true).forcerm(true).build();
        let mut output = self.docker.build_image(options, None, Some(bollard::body_full(context.into())));
        while let Some(step) = output.next().await {
            let what = || format!("build image {tag}");
            let step: BuildInfo = step.map_err(|error| EngineError::new(what(), error))?;
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(EngineError::Refused { what: what(), status: 500, message });
            }
        }
        Ok(())
    }
}

fn gone_is_fine(result: Result<(), bollard::errors::Error>, what: impl FnOnce() -> String) -> Result<(), EngineError> {
    result.or_else(|error| {
        let error = EngineError::new(what(), error);
        // 304: stopped already.
        if matches!(error.status(), Some(404 | 304)) { Ok(()) } else { Err(error) }
    })
}
