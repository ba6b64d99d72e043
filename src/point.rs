//! `heliograph point`: what reports follow when hardware changes.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::{
    Binding, GatewayId, LocationId, Point, PointId, SensorId, SensorRole, TimeWindow, Zone, time_ordered_uuid,
};
use heliograph_store::ProviderStore;

use crate::{output, readings, role};

/// Say which sensors stand for which place of a site, and when.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a point to a location; prints its id.
    Add(Add),
    /// List points with what stands for them.
    List(role::StoreArgs),
    /// Let a sensor stand for a point; the one that did so ends there.
    Bind(Bind),
    /// End what stands for a point.
    End(End),
    /// Take a binding back, as if it had never been.
    Unbind(Unbind),
    /// Take a point away with its bindings. Readings stay.
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Add {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The location, by id or name.
    #[arg(long, value_name = "LOCATION")]
    location: String,
    /// What people call the point.
    #[arg(long)]
    name: String,
    /// inverter, production, grid, load, battery or weather.
    #[arg(long = "role", value_name = "ROLE", value_parser = SensorRole::parse)]
    sensor_role: SensorRole,
}

#[derive(Debug, clap::Args)]
struct Bind {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The point.
    #[arg(long, value_name = "ID")]
    point: PointId,
    /// The gateway of the sensor.
    #[arg(long, value_name = "ID")]
    gateway: GatewayId,
    /// The sensor.
    #[arg(long, value_name = "ID")]
    sensor: SensorId,
    /// From this time on: 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Up to this time, which is not included.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
struct End {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The point.
    #[arg(long, value_name = "ID")]
    point: PointId,
    /// When.
    #[arg(long, value_name = "TIME")]
    at: String,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
struct Unbind {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The point.
    #[arg(long, value_name = "ID")]
    point: PointId,
    /// When the binding begins.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Zone of times that are given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
}

#[derive(Debug, clap::Args)]
struct Remove {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The point.
    #[arg(long, value_name = "ID")]
    point: PointId,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(args).await,
        Action::List(place) => list(place).await,
        Action::Bind(args) => bind(args).await,
        Action::End(args) => {
            let at = readings::time("--at", &args.at, &args.zone)?;
            let store = args.place.open()?;
            store.binding_end(args.point, at).await?;
            done(&store).await
        }
        Action::Unbind(args) => {
            let from = readings::time("--from", &args.from, &args.zone)?;
            let store = args.place.open()?;
            store.binding_remove(args.point, from).await?;
            done(&store).await
        }
        Action::Remove(args) => {
            let store = args.place.open()?;
            store.point_remove(args.point).await?;
            done(&store).await
        }
    }
}

async fn done(store: &ProviderStore) -> anyhow::Result<ExitCode> {
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn add(args: Add) -> anyhow::Result<ExitCode> {
    let store = args.place.open()?;
    let location = find_location(&store, &args.location).await?;
    let id = PointId::new(time_ordered_uuid((role::clock())(), &rand::random()));
    store.point_save(Point { id, location, name: args.name, role: args.sensor_role }).await?;
    output::ended(writeln!(std::io::stdout(), "{id}"))?;
    done(&store).await
}

/// A location by its id, or by its name where only one is called so.
pub(crate) async fn find_location(store: &ProviderStore, text: &str) -> anyhow::Result<LocationId> {
    let locations = store.location_list().await.context("list locations")?;
    let called = || locations.iter().filter(|location| location.id.to_string() == text || location.name == text);
    match (called().next(), called().count()) {
        (Some(location), 1) => Ok(location.id),
        (None, _) => {
            let known: Vec<&str> = locations.iter().map(|location| location.name.as_str()).take(20).collect();
            bail!("provider {} has no location {text:?}; it has: {}", store.provider(), known.join(", "))
        }
        _ => bail!("several locations are called {text:?}: name one by its id"),
    }
}

async fn bind(args: Bind) -> anyhow::Result<ExitCode> {
    let from = readings::time("--from", &args.from, &args.zone)?;
    let until = args.to.as_deref().map(|to| readings::time("--to", to, &args.zone)).transpose()?;
    let store = args.place.open()?;
    let mut bindings = store.binding_list().await?.into_iter();
    let running = |binding: &Binding| binding.point == args.point && binding.window.until.is_none() && binding.window.from < from;
    let window = TimeWindow { from, until };
    let binding = Binding { point: args.point, gateway: args.gateway, sensor: args.sensor, window };
    if let Some(before) = bindings.find(running) {
        store.binding_end(args.point, from).await?;
        if let Err(error) = store.binding_create(binding).await {
            // As it was: a new binding begins where the old one would have gone on.
            store.binding_remove(args.point, before.window.from).await?;
            store.binding_create(before).await.context("bind the sensor again that stood for the point")?;
            return Err(error.into());
        }
    } else {
        store.binding_create(binding).await?;
    }
    done(&store).await
}

async fn list(place: role::StoreArgs) -> anyhow::Result<ExitCode> {
    let store = place.open()?;
    let (points, bindings, locations) = (store.point_list().await?, store.binding_list().await?, store.location_list().await?);
    let mut lines = Vec::new();
    for point in points {
        let location = locations.iter().find(|location| location.id == point.location).map_or("?", |location| &location.name);
        lines.push(format!("{}  {:<10} {}, {location}", point.id, point.role, point.name));
        for binding in bindings.iter().filter(|binding| binding.point == point.id) {
            let until = binding.window.until.map_or_else(|| "on".to_owned(), |until| format!("to {until}"));
            lines.push(format!("    {} {}  from {} {until}", binding.gateway, binding.sensor, binding.window.from));
        }
    }
    output::lines(lines)?;
    done(&store).await
}
