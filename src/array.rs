//! `heliograph array`: what modules are installed at a location, and when.

use std::io::Write;
use std::process::ExitCode;

use heliograph_domain::{ArrayId, InstalledArray, TimeWindow, Timestamp, Zone, time_ordered_uuid};

use crate::point::find_location;
use crate::{output, readings, role};

/// Say what modules are installed at a location: its yield is measured by them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add an array; prints its id.
    Add(Add),
    /// List all arrays.
    List(role::StoreArgs),
    /// Take an array away, as if it had never been.
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Add {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The location, by id or name.
    #[arg(long, value_name = "LOCATION")]
    location: String,
    /// Peak power, kW.
    #[arg(long)]
    kwp: f64,
    /// Degrees from the horizontal.
    #[arg(long)]
    tilt: f64,
    /// Degrees from north over east; south is 180.
    #[arg(long)]
    azimuth: f64,
    /// Since when it stands there [default: always].
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
struct Remove {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The array.
    #[arg(long, value_name = "ID")]
    array: ArrayId,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(args).await,
        Action::List(place) => list(place).await,
        Action::Remove(args) => {
            let store = args.place.open()?;
            store.array_remove(args.array).await?;
            store.close().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn add(args: Add) -> anyhow::Result<ExitCode> {
    let from = args.from.as_deref().map(|from| readings::time("--from", from, &args.zone)).transpose()?;
    let until = args.to.as_deref().map(|to| readings::time("--to", to, &args.zone)).transpose()?;
    let store = args.place.open()?;
    let location = find_location(&store, &args.location).await?;
    let id = ArrayId::new(time_ordered_uuid((role::clock())(), &rand::random()));
    let window = TimeWindow { from: from.unwrap_or(Timestamp::MIN), until };
    let array = InstalledArray { id, location, kwp: args.kwp, tilt: args.tilt, azimuth: args.azimuth, window };
    store.array_save(array).await?;
    output::ended(writeln!(std::io::stdout(), "{id}"))?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn list(place: role::StoreArgs) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let (arrays, locations) = (store.array_list().await?, store.location_list().await?);
    output::lines(arrays.iter().map(|array| {
        let location = locations.iter().find(|location| location.id == array.location).map_or("?", |location| &location.name);
        let from = if array.window.from == Timestamp::MIN { "always".to_owned() } else { array.window.from.to_string() };
        let until = array.window.until.map_or_else(|| "on".to_owned(), |until| format!("to {until}"));
        let line = format!("{} kWp, tilt {}, azimuth {}", array.kwp, array.tilt, array.azimuth);
        format!("{}  {line}, {location}  from {from} {until}", array.id)
    }))?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
