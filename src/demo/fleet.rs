//! The demo's providers: their sites, gateways and sensors, as tables.

use std::collections::HashMap;

use anyhow::Context as _;
use heliograph_domain::{
    ArrayId, Colour, CredentialId, Currency, GatewayId, GatewayKey, InstalledArray, KeyDigest, Location, LocationId, Position,
    ProviderId, ProviderSettings, SensorId, Tariff, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{CredentialNew, GatewayCommissioning, ProviderStore};
use uuid::Uuid;

use super::site::Site;

/// A provider of the demo.
pub(super) struct ProviderPlan {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) ingest_port: u16,
    pub(super) panel_port: u16,
    colour: &'static str,
    currency: &'static str,
    pub(super) customer: &'static str,
    pub(super) locations: &'static [LocationPlan],
}

/// A site of the demo.
pub(super) struct LocationPlan {
    pub(super) name: &'static str,
    pub(super) zone: &'static str,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    /// How cloudy it tends to be, 0 to 1.
    pub(super) clouds: f64,
    /// What the site consumes on average, W.
    pub(super) load_w: f64,
    pub(super) gateways: &'static [GatewayPlan],
}

/// A gateway of the demo.
#[derive(Clone, Copy)]
pub(super) struct GatewayPlan {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    /// Peak power of the inverters behind it, kW.
    pub(super) inverters_kwp: &'static [f64],
    /// Whether the site's grid meter is behind it.
    pub(super) meter: bool,
    /// Whether the site's weather station is behind it.
    pub(super) weather: bool,
    pub(super) story: Story,
}

/// What goes wrong with a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// Nothing.
    Fine,
    /// Its first inverter trips at high power, and more often every day.
    FailingInverter,
    /// It went silent days ago.
    Silent,
    /// It was offline for three days.
    Gap,
    /// It writes SenML instead of the native dialect.
    SenMl,
}

const fn gateway(id: &'static str, label: &'static str, inverters_kwp: &'static [f64]) -> GatewayPlan {
    GatewayPlan { id, label, inverters_kwp, meter: false, weather: false, story: Story::Fine }
}

const fn story(plan: GatewayPlan, story: Story) -> GatewayPlan {
    GatewayPlan { story, ..plan }
}

const fn main_gateway(id: &'static str, label: &'static str, inverters_kwp: &'static [f64]) -> GatewayPlan {
    GatewayPlan { id, label, inverters_kwp, meter: true, weather: true, story: Story::Fine }
}

/// The demo's providers.
pub(super) const PROVIDERS: &[ProviderPlan] = &[
    ProviderPlan {
        id: "sunrise",
        name: "Sunrise Energy",
        ingest_port: 6001,
        panel_port: 8081,
        colour: "#c2410c",
        currency: "EUR",
        customer: "Anna Castell",
        locations: &[
            LocationPlan {
                name: "Cortijo La Loma, Jaén",
                zone: "Europe/Madrid",
                latitude: 37.77,
                longitude: -3.79,
                clouds: 0.25,
                load_w: 3_200.0,
                gateways: &[
                    main_gateway("gw-0001", "Press house", &[12.0, 12.0]),
                    story(gateway("gw-0002", "Barn south", &[10.0, 10.0]), Story::FailingInverter),
                    gateway("gw-0003", "Barn north", &[8.0]),
                    gateway("gw-0004", "Carport", &[6.0]),
                ],
            },
            LocationPlan {
                name: "Hofgut Ebersberg",
                zone: "Europe/Berlin",
                latitude: 48.08,
                longitude: 11.97,
                clouds: 0.5,
                load_w: 2_100.0,
                gateways: &[
                    main_gateway("gw-0005", "Main house", &[9.8]),
                    gateway("gw-0006", "Stable", &[15.0, 15.0]),
                    story(gateway("gw-0007", "Workshop", &[7.5]), Story::Silent),
                    story(gateway("gw-0008", "Greenhouse", &[5.0]), Story::SenMl),
                ],
            },
            LocationPlan {
                name: "Ria Formosa, Faro",
                zone: "Europe/Lisbon",
                latitude: 37.02,
                longitude: -7.94,
                clouds: 0.2,
                load_w: 1_500.0,
                gateways: &[
                    main_gateway("gw-0009", "Salt works", &[20.0]),
                    story(gateway("gw-0010", "Pump station", &[4.0]), Story::Gap),
                    gateway("gw-0011", "Guest house", &[6.5]),
                    gateway("gw-0012", "Boat shed", &[3.3]),
                ],
            },
        ],
    },
    ProviderPlan {
        id: "meridian",
        name: "Meridian Power",
        ingest_port: 6002,
        panel_port: 8082,
        colour: "#1d4ed8",
        currency: "USD",
        customer: "Ravi Menon",
        locations: &[
            LocationPlan {
                name: "Tumakuru Mill",
                zone: "Asia/Kolkata",
                latitude: 13.34,
                longitude: 77.1,
                clouds: 0.3,
                load_w: 5_000.0,
                gateways: &[
                    main_gateway("gw-1001", "Spinning hall", &[25.0, 25.0]),
                    gateway("gw-1002", "Dye house", &[18.0]),
                    story(gateway("gw-1003", "Warehouse", &[30.0]), Story::FailingInverter),
                    gateway("gw-1004", "Canteen", &[5.0]),
                ],
            },
            LocationPlan {
                name: "Valle de Elqui",
                zone: "America/Santiago",
                latitude: -30.03,
                longitude: -70.7,
                clouds: 0.1,
                load_w: 2_600.0,
                gateways: &[
                    main_gateway("gw-1005", "Winery", &[16.0]),
                    gateway("gw-1006", "Cellar", &[9.0]),
                    story(gateway("gw-1007", "Irrigation", &[11.0]), Story::Gap),
                    story(gateway("gw-1008", "Observatory", &[7.0]), Story::Silent),
                ],
            },
            LocationPlan {
                name: "Barossa Depot",
                zone: "Australia/Adelaide",
                latitude: -34.53,
                longitude: 138.95,
                clouds: 0.3,
                load_w: 4_100.0,
                gateways: &[
                    main_gateway("gw-1009", "Cold store", &[22.0, 22.0]),
                    gateway("gw-1010", "Offices", &[10.0]),
                    story(gateway("gw-1011", "Bus port", &[14.0]), Story::SenMl),
                    gateway("gw-1012", "Gatehouse", &[2.5]),
                ],
            },
        ],
    },
];

impl ProviderPlan {
    pub(super) fn provider(&self) -> anyhow::Result<ProviderId> {
        ProviderId::parse(self.id).context("read the demo's provider")
    }
}

/// A location in the store, its site to simulate, and today's keys.
pub(super) struct DemoLocation {
    pub(super) site: Site,
    pub(super) keys: HashMap<GatewayId, GatewayKey>,
}

/// Puts a provider's sites and gateways into its store, or takes up those that
/// an earlier demo has left there; every start has keys of its own.
pub(super) async fn set_up(
    store: &ProviderStore,
    plan: &'static ProviderPlan,
    now: Timestamp,
) -> anyhow::Result<Vec<DemoLocation>> {
    store
        .settings_seed(ProviderSettings {
            name: plan.name.to_owned(),
            colour: Colour::parse(plan.colour)?,
            currency: Currency::parse(plan.currency)?,
            zone: Zone::parse(plan.locations.first().map_or("UTC", |location| location.zone))?,
            import_tariff: Tariff::parse("0.29\n0.21 22:00-06:00\n0.34 days mon-fri 18:00-21:00")?,
            ..ProviderSettings::default()
        })
        .await?;
    // Its history was never pushed: it counts as taken in, or nobody would look at it.
    store.intake_seed(super::history::begin(now), now).await?;
    let known = store.location_list().await?;
    let mut locations = Vec::new();
    for location_plan in plan.locations {
        let location = match known.iter().find(|location| location.name == location_plan.name) {
            Some(location) => location.clone(),
            None => add_location(store, location_plan, now).await?,
        };
        let mut keys = HashMap::new();
        for gateway in location_plan.gateways {
            keys.insert(GatewayId::parse(gateway.id)?, give_key(store, gateway, location.id, now).await?);
        }
        locations.push(DemoLocation { site: Site::resume(store, location_plan, now).await?, keys });
    }
    Ok(locations)
}

async fn add_location(store: &ProviderStore, plan: &LocationPlan, now: Timestamp) -> anyhow::Result<Location> {
    let location = Location {
        id: LocationId::new(Uuid::now_v7()),
        name: plan.name.to_owned(),
        zone: Zone::parse(plan.zone)?,
        position: Some(Position::new(plan.latitude, plan.longitude)?),
        installed_kwp: Some(plan.gateways.iter().flat_map(|gateway| gateway.inverters_kwp).sum()),
    };
    store.location_save(location.clone()).await?;
    let towards_the_equator = if plan.latitude < 0.0 { 0.0 } else { 180.0 };
    if let Some(kwp) = location.installed_kwp {
        let array = InstalledArray {
            id: ArrayId::new(Uuid::now_v7()),
            location: location.id,
            kwp,
            tilt: 25.0,
            azimuth: towards_the_equator,
            window: TimeWindow { from: super::history::begin(now), until: None },
        };
        store.array_save(array).await?;
        store.target_save(super::planning::expected(plan, location.id, kwp)?).await?;
    }
    Ok(location)
}

async fn give_key(store: &ProviderStore, plan: &GatewayPlan, location: LocationId, now: Timestamp) -> anyhow::Result<GatewayKey> {
    let key = GatewayKey::from_random(&rand::random());
    let credential = CredentialNew { id: CredentialId::new(Uuid::now_v7()), digest: KeyDigest::of(key.reveal()) };
    let gateway = GatewayId::parse(plan.id)?;
    if store.gateway_fetch(&gateway).await.is_ok() {
        for old in store.credential_list(&gateway).await?.into_iter().filter(|old| old.revoked.is_none()) {
            store.credential_revoke(&gateway, old.id, now).await?;
        }
        store.credential_add(&gateway, credential, now).await?;
    } else {
        let from = super::history::begin(now);
        let label = Some(plan.label.to_owned());
        store.gateway_commission(GatewayCommissioning { gateway, label, location, from, credential, at: now }).await?;
    }
    Ok(key)
}

/// What a gateway calls its n-th inverter, counted from 0.
pub(super) fn inverter_id(n: usize) -> anyhow::Result<SensorId> {
    Ok(SensorId::parse(&format!("inverter-{}", n + 1))?)
}
