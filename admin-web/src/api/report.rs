//! Reports: which period they are of, and what they look like. What they say is made where
//! the files of the panel are made, so that page, files and API say the same.

use std::borrow::Cow;

use serde::Deserialize;
use utoipa::openapi::schema::{Array, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::period::PeriodQuery;

/// Which period of a report, in the location's own calendar.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportPeriod {
    /// `day` (where nothing is said), `week`, `month`, `year` or `range`.
    period: Option<String>,
    /// A day of the period, such as `2026-06-18`; today where nothing is said.
    date: Option<String>,
    /// The first day of a range.
    from: Option<String>,
    /// The last day of a range.
    to: Option<String>,
}

impl ReportPeriod {
    pub(super) fn query(self) -> PeriodQuery {
        PeriodQuery::of(self.period, self.date, self.from, self.to)
    }
}

/// What a report looks like. It has no other type: it is written by whoever makes files.
pub(super) enum Report {}

impl ToSchema for Report {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Report")
    }
}

impl PartialSchema for Report {
    fn schema() -> RefOr<Schema> {
        let object = |text: &str| ObjectBuilder::new().schema_type(Type::Object).description(Some(text));
        let text = |text: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(text));
        let rows = |text: &str| {
            let mut rows = Array::new(ObjectBuilder::new().schema_type(Type::Object));
            rows.description = Some(text.to_owned());
            RefOr::T(Schema::Array(rows))
        };
        let whole = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "A report: what it is of, its figures, and tables whose rows are objects. Energies are in Wh, powers in W; \
                 what is not known is null. docs/exports.md of the platform names every member.",
            ))
            .property("zone", text("The time zone whose calendar it follows."))
            .property("period", text("`day`, `week`, `month`, `year` or `range`."))
            .property("first_day", text("The first local day."))
            .property("last_day", text("The last local day."))
            .property("made", text("When it was made, RFC 3339."))
            .property("figures", object("The sums: `produced_wh`, `produced_source`, `peak_w`, `covered` (0 to 1), …"))
            .property("bars", rows("The chart: `start_utc`, `produced_wh`, `power_w`, `covered`, …"))
            .property("hours", rows("Of a gateway’s month its hours."))
            .property("sensors", rows("Of a gateway its sensors."))
            .property("latest_values", rows("Of a gateway the latest readings."))
            .property("gateways", rows("Of a location its gateways."))
            .property("gaps", rows("Where data is missing: `from`, `until`, `duration_min`."));
        RefOr::T(Schema::Object(whole.build()))
    }
}
