//! The words of Heliograph and the rules that follow from them alone.
//!
//! Nothing here reads a clock, a file or a socket, and nothing fails except to
//! parse. Every other crate speaks in these types; a value of one of them has
//! already been checked.

mod actor;
mod address;
mod alert;
mod calendar;
mod classify;
mod co2;
mod correction;
mod credential;
mod customer;
mod device_clock;
mod gateway;
mod id;
mod location;
mod logo;
mod mapping;
mod point;
mod policy;
mod quarantine;
mod reading;
mod rollup;
mod sensor;
mod series;
mod settings;
mod span;
mod target;
mod tariff;
mod text;
mod time;
mod unit;
mod user;

pub use actor::Actor;
pub use address::block_of;
pub use alert::{
    Acknowledgement, Alert, AlertCause, AlertComment, AlertEnd, AlertKey, AlertKind, AlertRefusal, AlertState, AlertSubject,
    Intake, Maintenance, MaintenanceSubject, Note, Outcome, Patience, Verdict, Watch, WatchPhase,
};
pub use calendar::{Bucket, Period, PeriodKind, Step};
pub use classify::{Classification, classify, suggested_role};
pub use co2::Co2Factors;
pub use correction::{Correction, CorrectionKind, Reverted, SeriesCorrections};
pub use credential::{Fingerprint, GatewayKey, KeyDigest, Secret};
pub use customer::{Commission, Customer};
pub use device_clock::{
    ClockCorrection, ClockCorrections, ClockEstimate, ClockSample, ClockSamples, ClockShape, ClockShift, ClockState,
};
pub use gateway::{GatewayState, Reachability, UnknownGateways};
pub use id::{
    AlertId, ApiTokenId, ArrayId, CommissionId, CorrectionId, CredentialId, CustomerId, GatewayId, LocationId, MaintenanceId,
    MappingName, MetricName, OutboxId, PointId, ProviderId, QuarantineId, SensorId, UserId, time_ordered_uuid,
};
pub use location::{InstalledArray, Location, Position};
pub use logo::LogoKind;
pub use mapping::ProviderMapping;
pub use point::{Binding, Point};
pub use policy::TimePolicy;
pub use quarantine::RefusalCode;
pub use reading::{Reading, ReadingError};
pub use rollup::{Rollup, RollupFlags, RollupRule, Sample, WINDOW_MS, affected_windows, roll_up, roll_up_span, window_of};
pub use sensor::SensorRole;
pub use series::{Kind, Quantity, SeriesKey};
pub use settings::{AlertSettings, Colour, Currency, ProviderSettings};
pub use span::{LocalSpan, SpanStep, ZoneHistory};
pub use target::YieldTargets;
pub use tariff::Tariff;
pub use text::{EmailAddress, ParseError, visible};
pub use time::{TimeWindow, Timestamp, Zone};
pub use unit::{Scaled, Unit, canonical_unit};
pub use user::{ApiScope, Assignment, AssignmentProblem, UserRole};
