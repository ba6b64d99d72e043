//! Summaries and alerts by mail, from a durable outbox.
//!
//! Alerts are evaluated here too, each minute, by one process at a time.
//!
//! [`run_once`] makes what is due into the outbox, each mail rendered whole and
//! keyed by report, period and recipient, and sends what the outbox holds:
//! claimed, sent, marked. Mails about somebody's way in are ordered by others and
//! written as they are sent, since they carry a link that nobody else may have. [`run()`] does so until it is told to end. A mail goes
//! out at least once, and with the same Message-ID at every attempt. Nothing
//! outside this crate speaks SMTP.

mod alert;
mod error;
mod letter;
mod look;
mod make;
mod message;
mod outbox;
mod preview;
mod run;
mod schedule;
mod settings;
mod summary;
mod transport;

pub use error::MailerError;
pub use preview::{Preview, preview};
pub use run::{RunSummary, run, run_once};
pub use schedule::Report;
pub use settings::{Clock, MailSettings, Sender, SenderError, Tls, TransportSettings};
