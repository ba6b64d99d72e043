//! Doing what a plan says. Every step may be repeated and none needs the one
//! before to have been seen: when this is cut off, the next plan holds what is left.

mod health;

use crate::desired::ContainerSpec;
use crate::engine::{Engine, EngineError};
use crate::plan::{Operation, Plan, Refusal, Step};

pub use health::{Unhealthy, await_health};

/// What happens while a plan is carried out.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step begins.
    Started(&'a Step),
    /// A step is done.
    Done(&'a Step),
}

/// Why a plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was done: something that is not ours is in the way.
    #[error("nothing was done, since the plan has {} in its way", count(*refusals))]
    InTheWay {
        /// How many things.
        refusals: usize,
    },
    /// A port turned out to be taken. What was done before stays.
    #[error("{refusal}")]
    PortTaken {
        /// Which one.
        refusal: Refusal,
    },
    /// The engine refused a step. What was done before stays.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn count(refusals: usize) -> String {
    if refusals == 1 { "something".to_owned() } else { format!("{refusals} things") }
}

/// Carries out a plan, telling `report` about each step.
///
/// # Errors
/// At the first step that fails; a plan with refusals fails before any.
pub async fn apply(engine: &Engine, plan: &Plan, mut report: impl FnMut(Event<'_>)) -> Result<(), ApplyError> {
    if !plan.refusals.is_empty() {
        return Err(ApplyError::InTheWay { refusals: plan.refusals.len() });
    }
    for step in &plan.steps {
        report(Event::Started(step));
        perform(engine, &step.operation).await?;
        report(Event::Done(step));
    }
    Ok(())
}

async fn perform(engine: &Engine, operation: &Operation) -> Result<(), ApplyError> {
    match operation {
        Operation::CreateNetwork(spec) => engine.create_network(spec).await?,
        Operation::CreateVolume(spec) => engine.create_volume(spec).await?,
        Operation::CreateContainer(spec) => create(engine, spec).await?,
        Operation::ReplaceContainer { old, spec } => {
            engine.remove_container(old, &spec.name).await?;
            create(engine, spec).await?;
        }
        Operation::StartContainer { spec, paused: true, .. } => engine.unpause_container(&spec.name).await?,
        Operation::StartContainer { spec, paused: false, .. } => start(engine, spec).await?,
        Operation::RemoveContainer { id, name } => engine.remove_container(id, name).await?,
        Operation::RemoveNetwork { id, name } => engine.remove_network(id, name).await?,
        Operation::DestroyVolume { name } => engine.remove_volume(name).await?,
    }
    Ok(())
}

async fn create(engine: &Engine, spec: &ContainerSpec) -> Result<(), ApplyError> {
    engine.create_container(spec).await?;
    start(engine, spec).await
}

async fn start(engine: &Engine, spec: &ContainerSpec) -> Result<(), ApplyError> {
    engine.start_container(&spec.name).await.map_err(|error| match spec.ports.first() {
        Some(port) if error.is_port_taken() => ApplyError::PortTaken {
            refusal: Refusal::PortTaken { port: port.host.port(), wanted_by: spec.name.clone(), holder: None },
        },
        _ => ApplyError::Engine(error),
    })
}
