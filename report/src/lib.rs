//! Figures, completeness and charts: what panel and mails both say.
//!
//! Reports are asked for with a [`Scope`], the reader, and the time that it is.
//! Everything is computed from the quarter-hour rollups that a
//! [`ProviderStore`](heliograph_store::ProviderStore) gives for what the reader
//! may see. Of these a ledger is made, one cell a quarter of an hour, and every
//! figure is a sum over some of its cells: so the bars of a chart add up to the
//! figure above it, and panel, mails and files say the same.
//!
//! Production is the sum of a site's production meters where any has data, else
//! that of its inverters. Where a location has points, these stand for its sensors
//! of their role, so that a replaced gateway or meter keeps the history. Consumption is production + import − export +
//! discharge − charge where there is a grid meter, else what load meters say.

mod alert;
pub mod chart;
mod correction;
mod customer;
mod energy;
mod error;
mod expect;
pub mod export;
mod fleet;
mod flow;
pub mod format;
mod gateway;
mod installed;
mod ledger;
mod live;
mod location;
mod money;
mod neighbours;
mod performance;
mod points;
mod scope;
mod site;
mod sky;
pub mod sun;
mod target;
mod year_before;

pub use alert::{AlertFacts, AlertFindings, AlertNames, AlertTurn, AlertWords, alert_span, alert_turn};
pub use correction::{CorrectedDay, CorrectionPreview, DayFigure, correction_preview};
pub use customer::{CustomerSummary, customer_summary};
pub use energy::{BucketFigures, BucketState, Completeness, Energy, EnergySource, Figures, Peak};
pub use error::ReportError;
pub use fleet::{FleetFigures, FleetOverview, FleetTotals, GatewayLine, HeldBack, LocationLine, Need, fleet_overview};
pub use flow::Direction;
pub use gateway::{GatewayReport, gateway_report};
pub use live::GatewayLive;
pub use location::{GatewayFigures, LocationReport, location_report};
pub use neighbours::{InverterYield, inverter_yields};
pub use performance::{Performance, PerformanceKind};
pub use scope::Scope;
pub use site::{LatestValue, LocationRef, SensorFigures};
pub use target::{ExpectedOfAll, ExpectedYield};
pub use year_before::YearBefore;
