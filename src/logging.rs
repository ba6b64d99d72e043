//! Log lines on standard error.

use std::fmt;
use std::io::IsTerminal;

use heliograph_domain::ProviderId;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Settings;

/// Sets logging up as the settings say. Each line of a process that works for one
/// provider names it.
pub(crate) fn init(settings: &mut Settings, provider: Option<&ProviderId>) {
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
    let provider = provider.map(ProviderId::to_string);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = if json {
        subscriber
            .json()
            .flatten_event(true)
            .map_event_format(|lines| Labelled { lines, provider, style: Style::Json })
            .finish()
            .try_init()
    } else {
        subscriber.map_event_format(|lines| Labelled { lines, provider, style: Style::Text }).finish().try_init()
    };
    if let Err(error) = done {
        settings.problem("log.format", &error.to_string());
    }
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Json,
    Text,
}

/// Lines that name the provider. A span would have to be entered by every task, those of
/// libraries too.
struct Labelled<F> {
    lines: F,
    provider: Option<String>,
    style: Style,
}

impl<S, N, F> FormatEvent<S, N> for Labelled<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(provider) = &self.provider else { return self.lines.format_event(context, writer, event) };
        match self.style {
            Style::Text => {
                write!(writer, "{provider} ")?;
                self.lines.format_event(context, writer, event)
            }
            Style::Json => {
                let mut line = String::new();
                self.lines.format_event(context, Writer::new(&mut line), event)?;
                writer.write_str(&labelled(line, provider))
            }
        }
    }
}

/// A line of JSON with the provider in it; one that names a provider itself stays as it
/// is.
fn labelled(line: String, provider: &str) -> String {
    match line.strip_prefix('{') {
        // Quotes within texts are escaped, so that this is a field.
        Some(fields) if !line.contains("\"provider\":") => format!("{{\"provider\":\"{provider}\",{fields}"),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_names_the_provider_once() {
        let line = "{\"level\":\"INFO\",\"message\":\"of \\\"provider\\\": x\"}\n";
        assert_eq!(labelled(line.to_owned(), "sunrise"), format!("{{\"provider\":\"sunrise\",{}", &line[1..]));
        let named = "{\"level\":\"INFO\",\"span\":{\"provider\":\"sunrise\"}}\n";
        assert_eq!(labelled(named.to_owned(), "sunrise"), named);
    }
}
