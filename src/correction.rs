//! `heliograph correction`: changes over readings that stay as they are.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use heliograph_domain::{
    Correction, CorrectionId, CorrectionKind, GatewayId, MetricName, SensorId, SeriesKey, TimeWindow, Timestamp, Unit, Zone,
    time_ordered_uuid,
};
use heliograph_store::{CorrectionNew, ProviderStore};

use crate::settings::SettingsError;
use crate::{output, readings, role};

/// Correct what reports make of readings, and take it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a correction of one series; prints its id. Readings stay as they are;
    /// rollups, reports and mails follow.
    Create(Box<Create>),
    /// Take a correction back. It stays on record.
    Revert(Revert),
    /// List corrections, also those that were taken back.
    List(List),
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The gateway.
    #[arg(long, value_name = "ID")]
    gateway: GatewayId,
    /// The sensor.
    #[arg(long, value_name = "ID")]
    sensor: SensorId,
    /// The metric.
    #[arg(long, value_name = "NAME")]
    metric: MetricName,
    /// The unit, where the metric comes in several.
    #[arg(long, value_name = "UNIT", value_parser = Unit::parse)]
    unit: Option<Unit>,
    /// From this time on: 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Up to this time, which is not included [default: no end].
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
    #[command(flatten)]
    what: What,
    /// Why.
    #[arg(long)]
    reason: String,
}

/// What it does.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Leave the readings out.
    #[arg(long)]
    exclude: bool,
    /// Multiply what the series says; of a counter, what it rises.
    #[arg(long, value_name = "FACTOR", allow_hyphen_values = true)]
    scale: Option<f64>,
    /// Move the readings in time: 1h, -30m.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    shift: Option<jiff::SignedDuration>,
    /// Put one value in their place.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<f64>,
    /// A meter was swapped at --from: last value of the old, first of the new.
    #[arg(long, num_args = 2, value_names = ["LAST", "FIRST"], allow_hyphen_values = true)]
    swap: Option<Vec<f64>>,
}

#[derive(Debug, clap::Args)]
struct Revert {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The correction.
    #[arg(long, value_name = "ID")]
    correction: CorrectionId,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    place: role::StoreArgs,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Create(args) => create(*args).await,
        Action::Revert(args) => {
            let store = args.place.open()?;
            store.correction_revert(args.correction).await?;
            store.close().await;
            Ok(ExitCode::SUCCESS)
        }
        Action::List(args) => list(args).await,
    }
}

impl What {
    fn kind(&self) -> Result<CorrectionKind, SettingsError> {
        let millis = |shift: &jiff::SignedDuration| i64::try_from(shift.as_millis()).unwrap_or(i64::MAX);
        match (self.exclude, self.scale, &self.shift, self.value, self.swap.as_deref()) {
            (true, ..) => Ok(CorrectionKind::Exclude),
            (_, Some(factor), ..) => Ok(CorrectionKind::Scale { factor }),
            (_, _, Some(shift), ..) => Ok(CorrectionKind::Shift { millis: millis(shift) }),
            (_, _, _, Some(value), _) => Ok(CorrectionKind::Manual { value }),
            (_, _, _, _, Some([last_old, first_new])) => {
                Ok(CorrectionKind::MeterSwap { last_old: *last_old, first_new: *first_new })
            }
            _ => Err(SettingsError::one("one of --exclude, --scale, --shift, --value and --swap is needed")),
        }
    }
}

async fn create(args: Create) -> anyhow::Result<ExitCode> {
    let kind = args.what.kind()?;
    let from = readings::time("--from", &args.from, &args.zone)?;
    let until = args.to.as_deref().map(|to| readings::time("--to", to, &args.zone)).transpose()?;
    let store = args.place.open()?;
    let series = find_series(&store, &args).await?;
    let id = CorrectionId::new(time_ordered_uuid((role::clock())(), &rand::random()));
    let window = TimeWindow { from, until };
    store.correction_create(CorrectionNew { id, series, window, kind, reason: args.reason }).await?;
    output::ended(writeln!(std::io::stdout(), "{id}"))?;
    let sealed = store.sealed_until().await?;
    // The store takes those alone that take nothing away from there.
    if from < sealed {
        let note = "readings before it are deleted, so reports of the time before stay as they are";
        writeln!(std::io::stderr(), "note: the correction acts from {sealed} on: {note}")?;
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The series that is meant; where there is none such, says what there is.
async fn find_series(store: &ProviderStore, args: &Create) -> anyhow::Result<SeriesKey> {
    readings::check_names(store, &args.gateway, Some(&args.sensor)).await?;
    let sensors = store.sensor_list(&args.gateway).await?;
    let all = || sensors.iter().filter(|sensor| sensor.id == args.sensor).flat_map(|sensor| &sensor.series);
    let fits = |unit: &Unit| args.unit.as_ref().is_none_or(|wanted| wanted == unit);
    let units: Vec<&Unit> =
        all().filter(|series| series.metric == args.metric && fits(&series.unit)).map(|series| &series.unit).collect();
    match units[..] {
        [unit] => Ok(SeriesKey {
            gateway: args.gateway.clone(),
            sensor: args.sensor.clone(),
            metric: args.metric.clone(),
            unit: unit.clone(),
        }),
        [] => {
            let known: Vec<String> = all().map(|series| format!("{} in {}", series.metric, series.unit)).take(20).collect();
            bail!("sensor {} has no such series; it has: {}", args.sensor, known.join(", "))
        }
        _ => bail!("{} comes in several units: choose one with --unit", args.metric),
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    output::listed(&store.correction_list().await?, args.json, describe)?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn describe(correction: &Correction) -> String {
    let Correction { id, series, window, kind, reason, by, at, reverted } = correction;
    let what = match kind {
        CorrectionKind::Exclude => "exclude".to_owned(),
        CorrectionKind::Scale { factor } => format!("scale by {factor}"),
        CorrectionKind::Shift { millis } => format!("shift by {} s", *millis as f64 / 1000.0),
        CorrectionKind::Manual { value } => format!("value {value} {}", series.unit),
        CorrectionKind::MeterSwap { last_old, first_new } => format!("meter swap, {last_old} to {first_new} {}", series.unit),
    };
    let from = if window.from == Timestamp::MIN { "the beginning".to_owned() } else { window.from.to_string() };
    let until = window.until.map_or_else(|| "on".to_owned(), |until| format!("to {until}"));
    let taken_back = reverted.as_ref().map_or_else(String::new, |back| format!(", taken back by {} at {}", back.by, back.at));
    format!(
        "{id}  {} {} {}  {what}  from {from} {until}  by {by} at {at}{taken_back}: {reason}",
        series.gateway, series.sensor, series.metric
    )
}
