//! Serves a panel with believable data, to look at while working on its pages:
//!
//! ```text
//! cargo run -p heliograph-admin-web --example preview -- 127.0.0.1:8090
//! ```
//!
//! It prints the address, and one-time links for people of each role.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::f64::consts::PI;
use std::sync::Arc;

use heliograph_admin_web::users::{self, Rights};
use heliograph_admin_web::{PanelSettings, run};
use heliograph_domain::{
    Assignment, Colour, Commission, CommissionId, CredentialId, Customer, CustomerId, EmailAddress, GatewayId, GatewayState,
    KeyDigest, Kind, Location, LocationId, MetricName, OutboxId, Position, ProviderId, ProviderSettings, Quantity, QuarantineId,
    RefusalCode, SensorId, SensorRole, TimeWindow, Timestamp, Unit, UserRole, Zone,
};
use heliograph_store::{
    CredentialNew, DocumentWrite, GatewayCommissioning, OutboxKey, OutboxNew, ProviderStore, QuarantineNew, SensorSeen,
    SensorUpdate, SeriesSeen, Store, StoreUrl, Value, WriteStamp,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const QUARTER_MS: i64 = 900_000;
const DAYS: i64 = 75;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8090".to_owned());
    let folder = tempfile::tempdir()?;
    let store = Store::open(StoreUrl::sqlite(folder.path()))?.provider(&ProviderId::parse("sunrise")?)?;
    // Always the same afternoon, so that pictures can be compared.
    let now = Timestamp::parse_rfc3339("2026-06-18T13:07:00Z")?;
    seed(&store, now).await?;

    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("panel http://{address}/");
    let haro = Assignment::new(now.plus_millis(30 * 86_400_000), vec![LocationId::new(uuid(1, 0))], now)?;
    for (email, name, rights) in [
        ("mara@sunrise.example", "Mara Lindqvist", Rights::of(UserRole::Owner)),
        ("viktor@sunrise.example", "Viktor Adeyemi", Rights::of(UserRole::Viewer)),
        ("ines@fitters.example", "Ines Okafor", Rights::of_installer(haro)),
        ("ana@cooperative.example", "Ana Ferreira", Rights::of_customer(customer_id(1))),
    ] {
        let role = rights.role;
        let added = users::add_user(&store, EmailAddress::parse(email)?, name.to_owned(), rights, None, now).await?;
        if let Some(token) = added.one_time_link_token {
            println!("{} http://{address}/welcome/{}", role.as_str(), token.reveal());
        }
    }
    run(listener, store, PanelSettings::default(), Arc::new(move || now), CancellationToken::new()).await?;
    Ok(())
}

fn uuid(kind: u128, number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | kind << 32 | number)
}

fn customer_id(number: u128) -> CustomerId {
    CustomerId::new(uuid(2, number))
}

struct Plant {
    id: &'static str,
    label: &'static str,
    location: usize,
    kw: [f64; 2],
    /// Minutes since the last push.
    silent_for: i64,
}

const PLANTS: [Plant; 7] = [
    Plant { id: "gw-0101", label: "Bodega north roof", location: 0, kw: [12.0, 12.0], silent_for: 7 },
    Plant { id: "gw-0102", label: "Bodega south roof", location: 0, kw: [15.0, 10.0], silent_for: 7 },
    Plant { id: "gw-0103", label: "", location: 0, kw: [8.0, 0.0], silent_for: 95 },
    Plant { id: "gw-0201", label: "Warehouse A", location: 1, kw: [30.0, 30.0], silent_for: 7 },
    Plant { id: "gw-0202", label: "Warehouse B", location: 1, kw: [30.0, 0.0], silent_for: 60 * 27 },
    Plant { id: "gw-0301", label: "Ridge Farm, barn", location: 2, kw: [20.0, 20.0], silent_for: 7 },
    Plant { id: "gw-0302", label: "Ridge Farm, dairy", location: 2, kw: [10.0, 0.0], silent_for: 7 },
];

async fn seed(store: &ProviderStore, now: Timestamp) -> Result<(), Failure> {
    let settings = ProviderSettings {
        name: "Sunrise Energy".to_owned(),
        colour: Colour::parse("#0f6b57")?,
        zone: Zone::parse("Europe/Madrid")?,
        tariff_per_kwh: "0.092".parse()?,
        ..ProviderSettings::default()
    };
    store.settings_save(settings).await?;
    let mut locations = Vec::new();
    for (number, (name, zone, latitude, longitude, kwp)) in [
        ("Haro winery", "Europe/Madrid", 42.57, -2.85, 57.0),
        ("Alcobendas logistics", "Europe/Madrid", 40.54, -3.64, 90.0),
        ("Ridge Farm", "Europe/London", 51.75, -1.26, 50.0),
    ]
    .into_iter()
    .enumerate()
    {
        let location = Location {
            id: LocationId::new(uuid(1, number as u128)),
            name: name.to_owned(),
            zone: Zone::parse(zone)?,
            position: Some(Position::new(latitude, longitude)?),
            installed_kwp: Some(kwp),
        };
        store.location_save(location.clone()).await?;
        locations.push(location);
    }
    for (number, plant) in PLANTS.iter().enumerate() {
        let location = locations.get(plant.location).ok_or("a plant has a location")?;
        seed_plant(store, plant, number as u128, location, now).await?;
    }
    for (id, minutes) in [("gw-9001", 4), ("SMA-0155-77120", 42)] {
        store.gateway_knock(&GatewayId::parse(id)?, "203.0.113.24:51544", now.plus_millis(-minutes * 60_000)).await?;
    }
    seed_customers(store, now).await?;
    seed_refused(store, now).await?;
    seed_mails(store, now).await?;
    while store.rollup_settle().await? > 0 {}
    Ok(())
}

async fn seed_plant(
    store: &ProviderStore,
    plant: &Plant,
    number: u128,
    location: &Location,
    now: Timestamp,
) -> Result<(), Failure> {
    let gateway = GatewayId::parse(plant.id)?;
    let begin = now.plus_millis(-DAYS * 86_400_000);
    let credential = CredentialNew { id: CredentialId::new(uuid(3, number)), digest: KeyDigest([7; 32]) };
    let label = Some(plant.label.to_owned()).filter(|label| !label.is_empty());
    let new = GatewayCommissioning { gateway: gateway.clone(), label, location: location.id, from: begin, credential, at: begin };
    store.gateway_commission(new).await?;
    let mut totals = [0.0; 4];
    for day in 0..=DAYS {
        let from = begin.plus_millis(day * 86_400_000);
        let until = from.plus_millis(86_400_000).min(now.plus_millis(-plant.silent_for * 60_000));
        // One gateway has lost two days, another an afternoon of this week.
        let lost = (plant.id == "gw-0102" && (60..62).contains(&day)) || (plant.id == "gw-0301" && day == DAYS - 3);
        if from < until && !lost {
            store.document_write(document(plant, &gateway, location, from, until, &mut totals)?).await?;
        }
    }
    for (index, kw) in plant.kw.iter().enumerate().filter(|(_, kw)| **kw > 0.0) {
        let update = SensorUpdate { label: None, role: SensorRole::Inverter, rated_w: Some(kw * 1000.0) };
        store.sensor_update(&gateway, &SensorId::parse(&format!("inverter-{}", index + 1))?, update).await?;
    }
    debug_assert_eq!(store.gateway_fetch(&gateway).await?.state, GatewayState::Commissioned);
    Ok(())
}

/// A day's quarters of an hour, as one document.
fn document(
    plant: &Plant,
    gateway: &GatewayId,
    location: &Location,
    from: Timestamp,
    until: Timestamp,
    totals: &mut [f64; 4],
) -> Result<DocumentWrite, Failure> {
    let inverters = plant.kw.iter().filter(|kw| **kw > 0.0).count();
    let mut sensors = Vec::new();
    let mut series = Vec::new();
    let mut add = |id: &str, role, metrics: &[(&str, &str, Kind, Quantity)]| -> Result<(), Failure> {
        sensors.push(SensorSeen { id: SensorId::parse(id)?, role: Some(role) });
        for (metric, unit, kind, quantity) in metrics {
            series.push(SeriesSeen {
                sensor: sensors.len() - 1,
                metric: MetricName::parse(metric)?,
                unit: Unit::parse(unit)?,
                kind: Some(*kind),
                quantity: Some(*quantity),
            });
        }
        Ok(())
    };
    let power = ("power", "W", Kind::Gauge, Quantity::AcPower);
    for index in 0..inverters {
        let energy = ("energy", "Wh", Kind::Counter, Quantity::EnergyProduced);
        let inside = ("temperature", "°C", Kind::Gauge, Quantity::TemperatureDevice);
        add(&format!("inverter-{}", index + 1), SensorRole::Inverter, &[power, energy, inside])?;
    }
    let imported = ("energy_import", "Wh", Kind::Counter, Quantity::EnergyImported);
    let exported = ("energy_export", "Wh", Kind::Counter, Quantity::EnergyExported);
    add("meter-1", SensorRole::Grid, &[power, imported, exported])?;
    add("weather", SensorRole::Weather, &[("poa", "W/m²", Kind::Gauge, Quantity::IrradiancePlane)])?;

    let mut values = Vec::new();
    let mut time = Timestamp::clamped(from.as_millis().div_euclid(QUARTER_MS) * QUARTER_MS);
    while time < until {
        let light = light(location, time, plant.id);
        let mut push = |series: usize, value: f64| values.push(Value { series, time, value });
        let mut produced = 0.0;
        for index in 0..inverters {
            let kw = plant.kw.get(index).copied().unwrap_or(0.0);
            let watts = (kw * 1000.0 * light * 0.86).round();
            if let Some(total) = totals.get_mut(index) {
                *total += watts * 0.25;
                push(index * 3 + 1, total.round());
            }
            produced += watts;
            push(index * 3, watts);
            push(index * 3 + 2, (24.0 + 26.0 * light).round());
        }
        let drawn = plant.kw[0] * 180.0 + load(location, time) * plant.kw[0] * 320.0 - produced;
        totals[2] += drawn.max(0.0) * 0.25;
        totals[3] += (-drawn).max(0.0) * 0.25;
        push(inverters * 3, drawn.round());
        push(inverters * 3 + 1, totals[2].round());
        push(inverters * 3 + 2, totals[3].round());
        push(inverters * 3 + 3, (light * 1000.0).round());
        time = time.plus_millis(QUARTER_MS);
    }
    Ok(DocumentWrite {
        gateway: gateway.clone(),
        received: until,
        stamp: WriteStamp::at(until),
        address: "203.0.113.7:40112".to_owned(),
        sensors,
        series,
        values,
        quarantine: None,
    })
}

fn hour(location: &Location, time: Timestamp) -> f64 {
    let local = location.zone.civil(time);
    f64::from(local.hour()) + f64::from(local.minute()) / 60.0
}

/// The share of full power that the sun gives: a bell of the day under clouds
/// that drift.
fn light(location: &Location, time: Timestamp, seed: &str) -> f64 {
    let bell = ((hour(location, time) - 6.2) / 15.4 * PI).sin().max(0.0).powf(1.25);
    let salt = seed.bytes().map(u32::from).sum::<u32>();
    let t = time.as_millis() as f64 / 3_600_000.0;
    let day = (t / 24.0).floor();
    let cloudiness = ((day * 12.9898).sin() * 43_758.547).fract().abs();
    let drift = ((t * 1.7 + f64::from(salt)).sin() * 0.5 + (t * 4.3).sin() * 0.3 + (t * 0.31).cos() * 0.2).abs();
    bell * (1.0 - 0.75 * cloudiness * drift)
}

fn load(location: &Location, time: Timestamp) -> f64 {
    let hour = hour(location, time);
    (-(hour - 8.0).powi(2) / 5.0).exp() + 1.3 * (-(hour - 20.0).powi(2) / 7.0).exp()
}

async fn seed_customers(store: &ProviderStore, now: Timestamp) -> Result<(), Failure> {
    for (number, name, email) in
        [(1, "Cooperativa Rioja Alta", "contact@cooperative.example"), (2, "Thames Dairy Ltd", "energy@dairy.example")]
    {
        store
            .customer_save(Customer { id: customer_id(number), name: name.to_owned(), email: Some(EmailAddress::parse(email)?) })
            .await?;
    }
    for (number, customer, gateway, from, until) in [
        (1, 1, "gw-0101", -60, None),
        (2, 1, "gw-0102", -20, None),
        (3, 2, "gw-0302", -70, Some(-10)),
        (4, 2, "gw-0301", 12, None),
    ] {
        let day = |days: i64| now.plus_millis(days * 86_400_000);
        let window = TimeWindow { from: day(from), until: until.map(day) };
        let id = CommissionId::new(uuid(4, number));
        store
            .commission_create(Commission { id, customer: customer_id(customer), gateway: GatewayId::parse(gateway)?, window })
            .await?;
    }
    Ok(())
}

async fn seed_refused(store: &ProviderStore, now: Timestamp) -> Result<(), Failure> {
    let document = "<push gateway=\"gw-0103\" key=\"***\" seq=\"88\">\r\n  <sensor id=\"inverter-1\">\r\n    <reading metric=\"power\" \
                    unit=\"W\" time=\"2026-06-18T10:00:00Z\">NaN</reading>\r\n  </sensor>\r\n</push>\r\n";
    for (number, minutes, gateway, code, reason, raw) in [
        (1, 12, Some("gw-0103"), RefusalCode::BadValue, "inverter-1 power: value is not a finite number", document.as_bytes()),
        (
            2,
            190,
            None,
            RefusalCode::Malformed,
            "end tag </sensor> expected at byte 611, found </push>",
            b"<push\0 gateway=\xff>".as_slice(),
        ),
        (
            3,
            1500,
            Some("<b>gw</b>"),
            RefusalCode::UnknownGateway,
            "no such gateway, and unknown ones are refused",
            b"<push/>".as_slice(),
        ),
    ] {
        let entry = QuarantineNew {
            id: QuarantineId::new(uuid(5, number)),
            received: now.plus_millis(-minutes * 60_000),
            gateway: gateway.map(str::to_owned),
            address: "203.0.113.7:40112".to_owned(),
            code,
            reason: reason.to_owned(),
            raw: raw.to_vec(),
            trusted: gateway.is_some(),
        };
        store.quarantine_add(entry).await?;
    }
    Ok(())
}

async fn seed_mails(store: &ProviderStore, now: Timestamp) -> Result<(), Failure> {
    let message = "From: Sunrise <reports@sunrise.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"b\"\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nYour gateways produced 143 kWh on 17 June.\r\n\
        --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<body style=\"font-family:sans-serif;padding:24px\"><h1>143 kWh</h1>\
        <p>on 17 June 2026, from two gateways.</p></body>\r\n--b--\r\n";
    for (number, period, days) in [(1, "2026-06-16", 2), (2, "2026-06-17", 1), (3, "2026-06-18", 0)] {
        let at = now.plus_millis(-days * 86_400_000);
        let mail = OutboxNew {
            id: OutboxId::new(uuid(6, number)),
            key: OutboxKey {
                report: "daily".to_owned(),
                period: period.to_owned(),
                recipient: EmailAddress::parse("contact@cooperative.example")?,
            },
            subject: format!("Your solar day, {period}"),
            message_id: format!("<daily.{period}@sunrise.example>"),
            message: message.as_bytes().to_vec(),
            created: at,
            due: at,
        };
        store.outbox_put(mail).await?;
        if days > 0 {
            store.outbox_sent(OutboxId::new(uuid(6, number)), "250 2.0.0 accepted", at.plus_millis(4_000)).await?;
        }
    }
    Ok(())
}
