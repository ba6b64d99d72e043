//! Log lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Settings;

/// Sets logging up as the settings say.
pub(crate) fn init(settings: &mut Settings) {
    let filter = match EnvFilter::try_new(settings.text("log.filter")) {
        Ok(filter) => filter,
        Err(error) => {
            settings.problem("log.filter", &error.to_string());
            return;
        }
    };
    let json = match settings.text("log.format") {
        "json" => true,
        "text" => false,
        "auto" => !std::io::stderr().is_terminal(),
        _ => {
            settings.problem("log.format", "must be text, json or auto");
            return;
        }
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = if json { subscriber.json().flatten_event(true).finish().try_init() } else { subscriber.finish().try_init() };
    if let Err(error) = done {
        settings.problem("log.format", &error.to_string());
    }
}
