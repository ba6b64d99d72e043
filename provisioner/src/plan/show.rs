//! A plan for people and for programs.

use std::fmt::{self, Write as _};

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::{Cause, Class, Plan, Refusal, Step, Tally};
use crate::paint::Paint;

impl Class {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Destroy => "destroy",
        }
    }

    /// Its sign and word in one width, coloured.
    pub(crate) fn label(self, paint: Paint) -> String {
        let sign = match self {
            Self::Create => '+',
            Self::Start => '>',
            Self::Replace => '~',
            Self::Remove | Self::Destroy => '-',
        };
        let label = format!("{sign} {:<7}", self.as_str());
        match self {
            Self::Create | Self::Start => paint.good(&label),
            Self::Replace => paint.change(&label),
            Self::Remove | Self::Destroy => paint.bad(&label),
        }
    }
}

/// The first twelve digits of an image's id, as the engine's own tools show it.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is not there"),
            Self::NotRunning { state } => write!(f, "is {state}"),
            Self::Image { from, to } => write!(f, "image {} → {}", or_none(short_id(from)), short_id(to)),
            Self::Settings { changes } if changes.is_empty() => f.write_str("settings differ"),
            Self::Settings { changes } => {
                let shown = changes.iter().take(3).map(|c| format!("{} {} → {}", c.setting, shorten(&c.from), shorten(&c.to)));
                let more = changes.len().saturating_sub(3);
                f.write_str(&shown.collect::<Vec<_>>().join(", "))?;
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Self::Secret => f.write_str("a secret's file has changed"),
            Self::Network => f.write_str("is not on its provider's network"),
            Self::PortMoves { to } => write!(f, "{to} gets its port"),
            Self::NotInFleet => f.write_str("is not in the fleet file"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

/// A value as it fits into a line.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => or_none(text).to_owned(),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { kind, name, fleet: Some(fleet) } => {
                write!(
                    f,
                    "{kind} {name} belongs to the fleet `{fleet}`; it is left alone. Give the provider another id, or name that fleet in the fleet file"
                )
            }
            Self::Foreign { kind, name, fleet: None } => {
                write!(
                    f,
                    "{kind} {name} was not made by this tool; it is left alone. Rename or remove it, or give the provider another id"
                )
            }
            Self::PortTaken { port, wanted_by, holder: Some(holder) } => {
                write!(
                    f,
                    "port {port} of the host, which {wanted_by} needs, is published by the container {holder}. Stop that one, or give the provider another n"
                )
            }
            Self::PortTaken { port, wanted_by, holder: None } => {
                write!(
                    f,
                    "port {port} of the host, which {wanted_by} needs, is in use by another program (see: ss -ltnp 'sport = :{port}'). End that one, or give the provider another n"
                )
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.create, "create"),
            (self.start, "start"),
            (self.replace, "replace"),
            (self.remove, "remove"),
            (self.destroy, "destroy"),
        ];
        let shown: Vec<_> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} to {word}")).collect();
        f.write_str(&shown.join(", "))
    }
}

impl Plan {
    /// The plan as people read it.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let mut out = String::new();
        let name_width = self.steps.iter().map(|step| step.operation.name().len()).max().unwrap_or(0);
        let mut last = None;
        for step in &self.steps {
            if last != Some(&step.provider) {
                let gap = if last.is_some() { "\n" } else { "" };
                line(&mut out, format_args!("{gap}{}", paint.strong(step.provider.as_str())));
                last = Some(&step.provider);
            }
            line(&mut out, format_args!("{}", step.render(paint, name_width)));
        }
        self.render_end(&mut out, paint);
        out
    }

    fn render_end(&self, out: &mut String, paint: Paint) {
        if self.steps.is_empty() {
            line(out, format_args!("{}: {}.", paint.good("Nothing to do"), self.standing()));
        } else {
            let unchanged = if self.unchanged > 0 { format!(", {} unchanged", self.unchanged) } else { String::new() };
            line(out, format_args!("\nPlan: {}{unchanged}.", paint.strong(&self.tally().to_string())));
        }
        out.push_str(&self.render_remarks(paint));
    }

    /// What is kept and what is in the way, without the steps.
    #[must_use]
    pub fn render_remarks(&self, paint: Paint) -> String {
        let mut out = String::new();
        for volume in &self.kept_volumes {
            let note = format!("Kept: volume {volume} holds the data of a provider that is not in the fleet file.");
            line(&mut out, format_args!("{}", paint.faint(&note)));
        }
        for refusal in &self.refusals {
            line(&mut out, format_args!("{} {refusal}.", paint.bad("In the way:")));
        }
        out
    }

    fn standing(&self) -> String {
        match self.unchanged {
            0 => "the fleet is empty".to_owned(),
            1 => "1 object is as the fleet file says".to_owned(),
            n => format!("all {n} objects are as the fleet file says"),
        }
    }
}

fn line(out: &mut String, arguments: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{arguments}");
}

impl Step {
    /// What is done to what, short enough for a line of any terminal.
    #[must_use]
    pub fn title(&self, paint: Paint) -> String {
        let operation = &self.operation;
        format!("  {} {:<9} {}", operation.class().label(paint), operation.kind(), operation.name())
    }

    /// One line, its name padded to `width`.
    #[must_use]
    pub fn render(&self, paint: Paint, width: usize) -> String {
        let causes: Vec<_> = self.causes.iter().map(ToString::to_string).collect();
        let ports = self.operation.started().map(|spec| spec.ports.iter().map(|p| format!("{} → {}", p.host, p.container)));
        let ports: Vec<_> = ports.into_iter().flatten().collect();
        let ports = if ports.is_empty() { String::new() } else { format!("  {}", paint.strong(&ports.join(", "))) };
        format!(
            "  {} {:<9} {:<width$}  {}{ports}",
            self.operation.class().label(paint),
            self.operation.kind(),
            self.operation.name(),
            paint.faint(&causes.join("; ")),
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Paint::PLAIN))
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Plan", 6)?;
        object.serialize_field("fleet", &self.fleet)?;
        object.serialize_field("steps", &self.steps)?;
        object.serialize_field("tally", &self.tally())?;
        object.serialize_field("unchanged", &self.unchanged)?;
        object.serialize_field("kept_volumes", &self.kept_volumes)?;
        object.serialize_field("refusals", &self.refusals)?;
        object.end()
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Step", 6)?;
        object.serialize_field("provider", &self.provider)?;
        object.serialize_field("class", &self.operation.class())?;
        object.serialize_field("kind", &self.operation.kind())?;
        object.serialize_field("name", self.operation.name())?;
        object.serialize_field("causes", &self.causes)?;
        let ports: Vec<_> = self.operation.started().map(|spec| spec.ports.clone()).unwrap_or_default();
        object.serialize_field("ports", &ports)?;
        object.end()
    }
}
