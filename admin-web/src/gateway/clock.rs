//! The clock of a gateway: how wrong it is, and what is added to its times.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use heliograph_domain::{ClockCorrection, ClockShape, ClockShift, ClockState, Zone};
use heliograph_store::GatewayClock;

use super::manage::{Entered, back, fetch, refused};
use crate::access::Staff;
use crate::error::Refusal;
use crate::form::{Problems, local_text};
use crate::panel::Panel;

/// What the page says of it.
pub(super) struct ClockFields {
    /// What is seen, in words.
    pub(super) state: String,
    /// How to mark it: `good`, `warn` or `plain`.
    pub(super) mark: &'static str,
    /// What is added now; empty where nothing is.
    pub(super) shift: String,
    /// Since when.
    pub(super) since: String,
    /// What would set it right, where that is something else.
    pub(super) suggested: String,
    pub(super) caveats: Vec<&'static str>,
}

impl ClockFields {
    /// What the mark says.
    pub(super) fn mark_text(&self) -> &'static str {
        match (self.mark, self.shift.is_empty()) {
            ("good", true) => "Right",
            ("good", false) => "Corrected",
            ("warn", _) => "Wrong",
            _ => "Not known",
        }
    }

    pub(super) fn of(clock: &GatewayClock, zone: &Zone) -> Self {
        let (state, last) = (clock.samples.judge(zone), clock.corrections.last());
        let shift = last.map(|last| last.shift).unwrap_or_default();
        let fields = Self {
            state: state.to_string(),
            mark: "plain",
            shift: if shift.is_none() { String::new() } else { shift.to_string() },
            since: last.map(|last| local_text(last.from, zone)).unwrap_or_default(),
            suggested: String::new(),
            caveats: Vec::new(),
        };
        let ClockState::Known(estimate) = state else { return fields };
        let right = estimate.correction();
        let is_right = clock.uncorrected(zone).is_none();
        Self {
            state: format!("{}, by {} times, the last of {}", estimate.size(), estimate.samples, local_text(estimate.at, zone)),
            mark: if is_right { "good" } else { "warn" },
            suggested: if is_right { String::new() } else { right.to_string() },
            caveats: if estimate.shape == ClockShape::Right { Vec::new() } else { estimate.caveats(zone) },
            ..fields
        }
    }
}

/// `POST /gateways/{gateway}/clock`: what is added to the times of what arrives from
/// now on.
pub(crate) async fn correct_clock(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(gateway): Path<String>,
    Form(entered): Form<Entered>,
) -> Result<Response, Refusal> {
    let gateway = fetch(&panel, &gateway).await?;
    let mut problems = Problems::default();
    let Some(shift) = problems.note("shift", ClockShift::parse(&entered.shift)) else {
        return refused(&panel, &actor, gateway, entered, problems).await;
    };
    actor.store(&panel).gateway_clock_correct(&gateway.id, ClockCorrection { from: panel.now(), shift }).await?;
    tracing::info!(user = %actor.user.id, gateway = %gateway.id, %shift, "clock corrected");
    Ok(back(&gateway.id, "saved"))
}
