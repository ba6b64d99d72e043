//! The data of each provider, kept in its own silo.
//!
//! [`Store::open`] opens what a URL names; [`Store::provider`] gives the handle
//! to one provider's data, and there is no other way to any data. The methods
//! of [`ProviderStore`] are named noun first and stand in one file a resource,
//! beside the records that they take and give. Nothing outside this crate
//! spells SQL or CQL.

mod address;
mod admin;
mod alert;
mod api_token;
mod archive;
mod array;
mod audit;
mod cassandra;
mod catalog;
mod change;
mod check;
mod clock;
mod correction;
mod credential;
mod customer;
mod device_clock;
mod document;
mod error;
mod gateway;
mod letter;
mod location;
mod logo;
mod mapping;
mod outbox;
mod point;
mod quarantine;
mod reading;
mod replay;
mod retention;
mod rollup;
#[cfg(test)]
mod sample;
mod second_factor;
mod sensor;
mod settings;
mod sqlite;
mod stamp;
mod store;
mod takeover;
mod target;
mod url;
mod user;

pub use admin::{ClusterAdmin, Replication, RoleMade};
pub use alert::{AlertChange, AlertDeed};
pub use api_token::ApiToken;
pub use archive::{ArchiveHeader, ArchiveMember, ArchiveStep, ArchiveSummary, AuditPolicy, Progress, archive_verify};
pub use audit::{AuditFault, AuditHash, AuditHead, AuditRestored, AuditRow, AuditVerdict};
pub use change::Versions;
pub use check::Damage;
pub use correction::CorrectionNew;
pub use credential::{CertificateRecord, Credential, CredentialNew, CredentialRecord};
pub use customer::CustomerErasure;
pub use device_clock::GatewayClock;
pub use document::{DocumentWrite, SensorSeen, SeriesSeen, Value};
pub use error::StoreError;
pub use gateway::{DirectoryEntry, DirectoryKey, GatewayCommissioning, GatewayRecord, Placement};
pub use letter::{Letter, LetterKind};
pub use logo::Logo;
pub use outbox::{OutboxKey, OutboxMail, OutboxNew, OutboxRow, OutboxState};
pub use quarantine::{QuarantineNew, QuarantineRow, QuarantineUsage};
pub use reading::{ReadingPage, ReadingRow};
pub use replay::{Difference, Was};
pub use retention::{RetentionPlan, RetentionPreview, RetentionShare, RetentionStep};
pub use rollup::{SeriesChoice, SeriesRollups, SeriesSpans, Sight, SpanRollup, WindowRollup};
pub use second_factor::{SecondFactor, SecondProof};
pub use sensor::{SensorRecord, SensorUpdate, SeriesRecord};
pub use stamp::{Stamps, WriteStamp};
pub use store::{AckCheck, ProviderStore, Store};
pub use takeover::Takeover;
pub use url::{AckLevel, StoreUrl};
pub use user::{SessionRow, UserRecord, UserUpdate};
