//! The web panel of one provider: pages rendered on the server, one style sheet, one
//! script that keeps values live and that nothing else depends on.
//!
//! [`router`] answers requests over one provider's store and [`run`] serves it.
//! Each resource stands in one file that holds its form, its page and its
//! handlers in the order in which they are used. Who may see what is decided by
//! the extractors of `access.rs`; a handler without one of them serves anybody.

mod access;
mod account;
mod alert;
mod api;
mod api_token;
mod assets;
mod audit;
mod commissioning;
mod customer;
mod error;
mod figures;
mod fleet;
mod forgot;
mod form;
mod gateway;
mod letters;
mod live;
mod location;
mod login;
mod logo;
mod mail;
mod mapping;
mod off_thread;
mod panel;
mod password;
mod people;
mod period;
mod quarantine;
mod replay;
mod report_file;
mod report_view;
mod router;
mod second_step;
mod serve;
mod session;
mod settings;
mod shell;
mod token;
pub mod users;

pub use panel::{Clock, Panel, PanelSettings};
pub use password::{HashError, PasswordProblem, check_password, hash_password};
pub use replay::{Changed, Replay, Tried, Try};
pub use router::{Visit, router, visits};
pub use serve::{PanelError, run};
pub use session::SignedIn;
