//! A simulated site: what its inverters, meter and weather station would show.

use heliograph_domain::{GatewayId, Position, SensorId, SensorRole, Timestamp, Zone};
use heliograph_store::{ProviderStore, SensorUpdate, StoreError};

use super::fleet::{self, GatewayPlan, LocationPlan, Story};
use super::history::SENML_METRIC;
use super::weather::Weather;

const DAY_MS: i64 = 86_400_000;
/// How long ago the silent gateway went silent.
const SILENT_FOR_MS: i64 = 9 * DAY_MS;
/// When the gateway with a gap was offline, before now.
const GAP_MS: (i64, i64) = (41 * DAY_MS, 38 * DAY_MS);
/// How long the failing inverter has been failing.
const FAILING_FOR_MS: i64 = 26 * DAY_MS;

/// A site whose counters run on.
pub(super) struct Site {
    pub(super) plan: &'static LocationPlan,
    weather: Weather,
    zone: Zone,
    started: Timestamp,
    time: Timestamp,
    gateways: Vec<SiteGateway>,
    power_before_w: f64,
    imported_wh: f64,
    exported_wh: f64,
}

struct SiteGateway {
    plan: &'static GatewayPlan,
    id: GatewayId,
    inverters: Vec<Inverter>,
}

struct Inverter {
    id: SensorId,
    kwp: f64,
    power_w: f64,
    energy_wh: f64,
}

/// What a gateway has to say at one instant.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) gateway: GatewayId,
    pub(super) story: Story,
    pub(super) time: Timestamp,
    pub(super) sensors: Vec<SensorReport>,
}

/// What one sensor shows.
#[derive(Debug, Clone)]
pub(super) struct SensorReport {
    pub(super) id: SensorId,
    pub(super) role: &'static str,
    pub(super) values: Vec<(&'static str, &'static str, f64)>,
}

impl Site {
    /// A site at the beginning of the history, or where an earlier demo left it.
    pub(super) async fn resume(store: &ProviderStore, plan: &'static LocationPlan, now: Timestamp) -> anyhow::Result<Self> {
        let mut site = Self {
            plan,
            weather: Weather::new(Position::new(plan.latitude, plan.longitude)?, plan.clouds),
            zone: Zone::parse(plan.zone)?,
            started: now,
            time: super::history::begin(now),
            gateways: Vec::new(),
            power_before_w: 0.0,
            imported_wh: 0.0,
            exported_wh: 0.0,
        };
        for gateway in plan.gateways {
            let id = GatewayId::parse(gateway.id)?;
            let inverters = gateway
                .inverters_kwp
                .iter()
                .enumerate()
                // Nobody's plant is new: each has run for some years.
                .map(|(n, kwp)| {
                    Ok(Inverter { id: fleet::inverter_id(n)?, kwp: *kwp, power_w: 0.0, energy_wh: kwp * 4.1e6 + 1e5 * n as f64 })
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            site.gateways.push(SiteGateway { plan: gateway, id: id.clone(), inverters });
            site.take_up(store, &id).await?;
        }
        Ok(site)
    }

    /// Sets time and counters to the latest that the store has of a gateway.
    async fn take_up(&mut self, store: &ProviderStore, id: &GatewayId) -> anyhow::Result<()> {
        let sensors = match store.sensor_list(id).await {
            Ok(sensors) => sensors,
            Err(StoreError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for sensor in sensors {
            for series in sensor.series {
                let Some(latest) = series.latest else { continue };
                self.time = self.time.max(latest.at);
                match (series.metric.as_str(), series.unit.as_str()) {
                    ("energy_import", _) => self.imported_wh = latest.value,
                    ("energy_export", _) => self.exported_wh = latest.value,
                    ("energy" | SENML_METRIC, "Wh") => {
                        let inverters = self
                            .gateways
                            .iter_mut()
                            .filter(|gateway| gateway.id == *id)
                            .flat_map(|gateway| &mut gateway.inverters);
                        inverters
                            .filter(|inverter| inverter.id == sensor.id)
                            .for_each(|inverter| inverter.energy_wh = latest.value);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Notes the rated power of the inverters, as soon as the store knows them.
    pub(super) async fn rate(&self, store: &ProviderStore) -> anyhow::Result<()> {
        for gateway in &self.gateways {
            for inverter in &gateway.inverters {
                let update = SensorUpdate { label: None, role: SensorRole::Inverter, rated_w: Some(inverter.kwp * 1000.0) };
                match store.sensor_update(&gateway.id, &inverter.id, update).await {
                    Ok(()) | Err(StoreError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    /// Lets time pass and reads every gateway that talks at that moment.
    pub(super) fn advance(&mut self, to: Timestamp) -> Vec<Report> {
        let hours = to.millis_since(self.time).max(0) as f64 / 3.6e6;
        let weather = self.weather.at(to);
        let mut production_w = 0.0;
        for (g, gateway) in self.gateways.iter_mut().enumerate() {
            for (n, inverter) in gateway.inverters.iter_mut().enumerate() {
                let shade = 0.97 + 0.06 * self.weather.noise(to, 50.0 * 60_000.0, 100 + 10 * g as u64 + n as u64);
                let dc = inverter.kwp * weather.irradiance * shade * (1.0 - 0.004 * (weather.module - 25.0));
                let health = if gateway.plan.story == Story::FailingInverter && n == 0 {
                    health(self.started, to, &self.weather, dc / inverter.kwp)
                } else {
                    1.0
                };
                let power_w = (dc * 0.965).min(inverter.kwp * 920.0) * health;
                inverter.energy_wh += (inverter.power_w + power_w) / 2.0 * hours;
                inverter.power_w = power_w;
                production_w += power_w;
            }
        }
        let net_w = self.load_w(to) - production_w;
        let mean_w = (net_w + self.power_before_w) / 2.0;
        self.imported_wh += mean_w.max(0.0) * hours;
        self.exported_wh += (-mean_w).max(0.0) * hours;
        self.power_before_w = net_w;
        self.time = to;
        self.gateways
            .iter()
            .filter(|gateway| gateway.talks(self.started, to))
            .map(|gateway| self.report(gateway, net_w))
            .collect()
    }

    /// What the site consumes: less at night, peaks at breakfast and dinner.
    fn load_w(&self, time: Timestamp) -> f64 {
        let local = self.zone.civil(time);
        let hour = f64::from(local.hour()) + f64::from(local.minute()) / 60.0;
        let peak = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
        let habit = 0.45 + 0.7 * peak(8.0, 1.8) + 0.35 * peak(13.0, 2.5) + 1.1 * peak(19.5, 2.4);
        self.plan.load_w * habit * (0.75 + 0.5 * self.weather.noise(time, 20.0 * 60_000.0, 7))
    }

    fn report(&self, gateway: &SiteGateway, net_w: f64) -> Report {
        let mut sensors: Vec<SensorReport> = gateway
            .inverters
            .iter()
            .map(|inverter| SensorReport {
                id: inverter.id.clone(),
                role: "inverter",
                values: vec![
                    ("power", "W", round(inverter.power_w, 1.0)),
                    ("energy", "kWh", round(inverter.energy_wh / 1000.0, 1000.0)),
                ],
            })
            .collect();
        if gateway.plan.meter {
            let values = vec![
                ("power", "W", round(net_w, 1.0)),
                ("energy_import", "kWh", round(self.imported_wh / 1000.0, 1000.0)),
                ("energy_export", "kWh", round(self.exported_wh / 1000.0, 1000.0)),
            ];
            sensors.extend(SensorId::parse("grid-meter").map(|id| SensorReport { id, role: "grid", values }));
        }
        if gateway.plan.weather {
            let now = self.weather.at(self.time);
            let values = vec![
                ("irradiance", "W/m2", round(now.irradiance, 1.0)),
                ("ambient_temperature", "Cel", round(now.ambient, 10.0)),
                ("module_temperature", "Cel", round(now.module, 10.0)),
            ];
            sensors.extend(SensorId::parse("weather").map(|id| SensorReport { id, role: "weather", values }));
        }
        Report { gateway: gateway.id.clone(), story: gateway.plan.story, time: self.time, sensors }
    }
}

impl SiteGateway {
    fn talks(&self, started: Timestamp, at: Timestamp) -> bool {
        let before_start = started.millis_since(at);
        match self.plan.story {
            Story::Silent => before_start > SILENT_FOR_MS,
            Story::Gap => !(GAP_MS.1..GAP_MS.0).contains(&before_start),
            _ => true,
        }
    }
}

/// How much a failing inverter still delivers: it trips when it has to work
/// hard, and stays off for longer as the weeks go by.
fn health(started: Timestamp, at: Timestamp, weather: &Weather, load: f64) -> f64 {
    let failing_for = FAILING_FOR_MS - started.millis_since(at);
    if failing_for <= 0 {
        return 1.0;
    }
    let worse = (failing_for as f64 / FAILING_FOR_MS as f64).min(1.0);
    let tripped = load > 700.0 * (1.0 - 0.8 * worse) && weather.noise(at, 80.0 * 60_000.0, 99) < 0.25 + 0.7 * worse;
    if tripped { 0.0 } else { 1.0 - 0.2 * worse }
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
