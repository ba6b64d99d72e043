//! Tenants as containers: the fleet file, plan and apply.
//!
//! `fleet.toml` says what should be, the engine's labels say what is, and a
//! [`Plan`] is the difference as a value, made by pure code. Only [`Engine`]
//! changes anything; [`Observer`] has no method that could.

mod apply;
mod desired;
mod engine;
mod fleet;
mod host;
mod image;
mod observed;
mod paint;
mod plan;
mod role;
mod status;

pub use apply::{ApplyError, Event, Unhealthy, apply, await_health};
pub use desired::{ContainerSpec, Desired, NetworkSpec, PortSpec, ResolvedImage, SecretMount, Tenant, VolumeSpec, desired};
pub use engine::{ContainerHealth, Endpoint, Engine, EngineError, HealthState, Observer};
pub use fleet::{
    ByteSize, EditError, Fleet, FleetError, FleetFile, FleetFileError, Limits, Mail, MailTls, Problem, Provider, Slot, add,
    remove,
};
pub use host::{SecretError, SecretVersions, examine_secrets, ports_in_use};
pub use image::{BuiltImage, ImageError, build as build_image};
pub use observed::{Foreign, ObjectKind, Observed, ObservedContainer, ObservedNetwork, ObservedVolume, RunState};
pub use paint::Paint;
pub use plan::{Cause, Change, Class, Operation, Plan, Refusal, Step, Tally, plan, plan_removal};
pub use role::Role;
pub use status::{Status, StatusRow};
