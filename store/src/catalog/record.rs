//! Records as rows: a kind, an id and named texts that people can read.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use heliograph_domain::{
    Commission, CommissionId, CredentialId, Customer, CustomerId, EmailAddress, GatewayId, GatewayState, KeyDigest, Location,
    LocationId, Position, TimeWindow, Timestamp, UserId, UserRole, Zone,
};

use super::{Credential, Gateway, Person, Record};
use crate::audit::{AuditHash, AuditHead, AuditRow};
use crate::error::StoreError;
use crate::gateway::Placement;
use crate::user::UserRecord;

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) fields: BTreeMap<String, String>,
    /// JSON, of what is kept as such.
    pub(crate) body: Option<String>,
}

const LOCATION: &str = "location";
const GATEWAY: &str = "gateway";
const PLACEMENT: &str = "placement";
const CREDENTIAL: &str = "credential";
const CUSTOMER: &str = "customer";
const COMMISSION: &str = "commission";
const USER: &str = "user";
const SETTINGS: &str = "settings";
const TRAIL: &str = "audit";
const TRAIL_MONTH: &str = "audit-month";
const TRAIL_COPIED: &str = "audit-copied";

impl Row {
    fn new(kind: &str, id: impl Display) -> Self {
        Self { kind: kind.to_owned(), id: id.to_string(), ..Self::default() }
    }

    fn with(mut self, name: &str, value: impl Display) -> Self {
        self.fields.insert(name.to_owned(), value.to_string());
        self
    }

    fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn with_window(self, window: TimeWindow) -> Self {
        self.with("from", window.from).with_some("until", window.until)
    }

    fn damaged(&self, problem: impl Display) -> StoreError {
        StoreError::Damaged(format!("{} {:?} {problem}", self.kind, self.id))
    }

    fn text(&self, name: &str) -> Result<&str, StoreError> {
        self.fields.get(name).map(String::as_str).ok_or_else(|| self.damaged(format_args!("has no {name}")))
    }

    fn read<T, E: Display>(&self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, StoreError> {
        parse(self.text(name)?).map_err(|error| self.damaged(format_args!("{name}: {error}")))
    }

    fn read_some<T, E: Display>(&self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, StoreError> {
        if self.fields.contains_key(name) { self.read(name, parse).map(Some) } else { Ok(None) }
    }

    fn number<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, StoreError> {
        self.read(name, str::parse)
    }

    fn window(&self) -> Result<TimeWindow, StoreError> {
        let from = self.read("from", Timestamp::parse_rfc3339)?;
        Ok(TimeWindow { from, until: self.read_some("until", Timestamp::parse_rfc3339)? })
    }

    fn digest(&self, name: &str) -> Result<[u8; 32], StoreError> {
        self.read(name, from_hex)
    }

    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, StoreError> {
        let body = self.body.as_deref().ok_or_else(|| self.damaged("has no body"))?;
        serde_json::from_str(body).map_err(|error| self.damaged(error))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Result<[u8; 32], &'static str> {
    let bad = "is not 64 hexadecimal digits";
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(bad);
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| bad)?;
    }
    Ok(bytes)
}

impl Record {
    /// As a row.
    pub(crate) fn to_row(&self) -> Row {
        match self {
            Self::Location(location) => location_row(location),
            Self::Gateway(gateway) => gateway_row(gateway),
            Self::Placement(place) => Row::new(PLACEMENT, format_args!("{} {}", place.gateway, place.window.from))
                .with("gateway", &place.gateway)
                .with("location", place.location)
                .with_window(place.window),
            Self::Credential(key) => Row::new(CREDENTIAL, key.id)
                .with("gateway", &key.gateway)
                .with("digest", hex(&key.digest.0))
                .with("created", key.created)
                .with_some("revoked", key.revoked),
            Self::Customer(customer) => {
                Row::new(CUSTOMER, customer.id).with("name", &customer.name).with_some("email", customer.email.as_ref())
            }
            Self::Commission(commission) => Row::new(COMMISSION, commission.id)
                .with("customer", commission.customer)
                .with("gateway", &commission.gateway)
                .with_window(commission.window),
            Self::Person(person) => person_row(person),
            Self::Settings(settings) => Row { body: serde_json::to_string(settings).ok(), ..Row::new(SETTINGS, "provider") },
            Self::Body { kind, id, text } => Row { body: Some(text.clone()), ..Row::new(kind, id) },
            Self::Trail(row) => trail_row(row),
            Self::TrailMonth { month, first } => Row::new(TRAIL_MONTH, month).with("first", first),
            Self::TrailCopied(head) => Row::new(TRAIL_COPIED, "head").with("head", head),
        }
    }

    /// From a row.
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(match row.kind.as_str() {
            LOCATION => Self::Location(read_location(row)?),
            GATEWAY => Self::Gateway(read_gateway(row)?),
            PLACEMENT => Self::Placement(Placement {
                gateway: row.read("gateway", GatewayId::parse)?,
                location: row.read("location", LocationId::parse)?,
                window: row.window()?,
            }),
            CREDENTIAL => Self::Credential(Credential {
                id: CredentialId::parse(&row.id)?,
                gateway: row.read("gateway", GatewayId::parse)?,
                digest: KeyDigest(row.digest("digest")?),
                created: row.read("created", Timestamp::parse_rfc3339)?,
                revoked: row.read_some("revoked", Timestamp::parse_rfc3339)?,
            }),
            CUSTOMER => Self::Customer(Customer {
                id: CustomerId::parse(&row.id)?,
                name: row.text("name")?.to_owned(),
                email: row.read_some("email", EmailAddress::parse)?,
            }),
            COMMISSION => Self::Commission(Commission {
                id: CommissionId::parse(&row.id)?,
                customer: row.read("customer", CustomerId::parse)?,
                gateway: row.read("gateway", GatewayId::parse)?,
                window: row.window()?,
            }),
            USER => Self::Person(read_person(row)?),
            SETTINGS => Self::Settings(row.json()?),
            TRAIL => Self::Trail(read_trail(row)?),
            TRAIL_MONTH => Self::TrailMonth { month: row.id.clone(), first: row.number("first")? },
            TRAIL_COPIED => Self::TrailCopied(row.read("head", AuditHead::parse)?),
            // Of a newer release, perhaps: kept as it is.
            _ => Self::Body { kind: row.kind.clone(), id: row.id.clone(), text: row.body.clone().unwrap_or_default() },
        })
    }
}

fn location_row(location: &Location) -> Row {
    Row::new(LOCATION, location.id)
        .with("name", &location.name)
        .with("zone", location.zone.name())
        .with_some("latitude", location.position.map(|position| position.latitude()))
        .with_some("longitude", location.position.map(|position| position.longitude()))
        .with_some("installed_kwp", location.installed_kwp)
}

fn read_location(row: &Row) -> Result<Location, StoreError> {
    let position = match (row.read_some("latitude", str::parse::<f64>)?, row.read_some("longitude", str::parse::<f64>)?) {
        (Some(latitude), Some(longitude)) => Some(Position::new(latitude, longitude)?),
        _ => None,
    };
    Ok(Location {
        id: LocationId::parse(&row.id)?,
        name: row.text("name")?.to_owned(),
        zone: row.read("zone", Zone::parse)?,
        position,
        installed_kwp: row.read_some("installed_kwp", str::parse::<f64>)?,
    })
}

fn gateway_row(gateway: &Gateway) -> Row {
    Row::new(GATEWAY, &gateway.id)
        .with_some("label", gateway.label.as_ref())
        .with("state", gateway.state.as_str())
        .with("first_seen", gateway.first_seen)
        .with_some("knocked", gateway.knocked.as_ref().map(|(at, _)| at))
        .with_some("knocked_from", gateway.knocked.as_ref().map(|(_, from)| from))
        .with("stored", gateway.stored)
}

fn read_gateway(row: &Row) -> Result<Gateway, StoreError> {
    let knocked = row.read_some("knocked", Timestamp::parse_rfc3339)?;
    let from = row.fields.get("knocked_from").cloned().unwrap_or_default();
    Ok(Gateway {
        id: GatewayId::parse(&row.id)?,
        label: row.fields.get("label").cloned(),
        state: row.read("state", GatewayState::parse)?,
        first_seen: row.read("first_seen", Timestamp::parse_rfc3339)?,
        knocked: knocked.map(|at| (at, from)),
        stored: row.read("stored", str::parse)?,
    })
}

fn person_row(person: &Person) -> Row {
    let Person { record, sessions, links } = person;
    Row::new(USER, record.id)
        .with("email", &record.email)
        .with("name", &record.name)
        .with("role", record.role.as_str())
        .with_some("customer", record.customer)
        .with_some("password_hash", record.password_hash.as_ref())
        .with("created", record.created)
        .with("sessions", sessions)
        .with("links", links)
}

fn read_person(row: &Row) -> Result<Person, StoreError> {
    let record = UserRecord {
        id: UserId::parse(&row.id)?,
        email: row.read("email", EmailAddress::parse)?,
        name: row.text("name")?.to_owned(),
        role: row.read("role", UserRole::parse)?,
        customer: row.read_some("customer", CustomerId::parse)?,
        assignment: None,
        password_hash: row.fields.get("password_hash").cloned(),
        created: row.read("created", Timestamp::parse_rfc3339)?,
    };
    Ok(Person { record, sessions: row.number("sessions")?, links: row.number("links")? })
}

fn trail_row(entry: &AuditRow) -> Row {
    Row::new(TRAIL, format_args!("{:020}", entry.seq))
        .with("seq", entry.seq)
        .with("at", entry.at)
        .with("actor", &entry.actor)
        .with("action", &entry.action)
        .with("object", &entry.object)
        .with("detail", &entry.detail)
        .with("hash", entry.hash)
}

fn read_trail(row: &Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        seq: row.number("seq")?,
        at: row.read("at", Timestamp::parse_rfc3339)?,
        actor: row.text("actor")?.to_owned(),
        action: row.text("action")?.to_owned(),
        object: row.text("object")?.to_owned(),
        detail: row.text("detail")?.to_owned(),
        hash: AuditHash(row.digest("hash")?),
    })
}

#[cfg(test)]
mod tests {
    use heliograph_domain::ProviderSettings;
    use uuid::Uuid;

    use super::super::{Catalog, Change};
    use super::*;
    use crate::audit::AuditEvent;

    fn samples() -> Vec<Record> {
        let at = Timestamp::clamped(1_750_000_000_123);
        let gateway = GatewayId::parse("Dach 'Süd' / 7").unwrap();
        let (location, customer) = (LocationId::new(Uuid::from_u128(1)), CustomerId::new(Uuid::from_u128(2)));
        let window = TimeWindow { from: at, until: None };
        let event = AuditEvent {
            at,
            actor: "operator".to_owned(),
            action: "gateway.retire".to_owned(),
            object: "gateway:x".to_owned(),
            detail: "{}".to_owned(),
        };
        vec![
            Record::Location(Location {
                id: location,
                name: "Ost".to_owned(),
                zone: Zone::parse("Europe/Berlin").unwrap(),
                position: Some(Position::new(48.1, -11.25).unwrap()),
                installed_kwp: Some(9.87),
            }),
            Record::Gateway(Gateway {
                id: gateway.clone(),
                label: Some(String::new()),
                state: GatewayState::Waiting,
                first_seen: at,
                knocked: Some((at, "[::1]:7".to_owned())),
                stored: false,
            }),
            Record::Placement(Placement { gateway: gateway.clone(), location, window }),
            Record::Credential(Credential {
                id: CredentialId::new(Uuid::from_u128(3)),
                gateway: gateway.clone(),
                digest: KeyDigest([0xa7; 32]),
                created: at,
                revoked: Some(at.plus_millis(1)),
            }),
            Record::Customer(Customer { id: customer, name: "Ann".to_owned(), email: None }),
            Record::Commission(Commission { id: CommissionId::new(Uuid::from_u128(4)), customer, gateway, window }),
            Record::Person(Person {
                record: UserRecord {
                    id: UserId::new(Uuid::from_u128(5)),
                    email: EmailAddress::parse("ann@example.org").unwrap(),
                    name: "Ann".to_owned(),
                    role: UserRole::Customer,
                    customer: Some(customer),
                    assignment: None,
                    password_hash: Some("$argon2id$x".to_owned()),
                    created: at,
                },
                sessions: 3,
                links: 1,
            }),
            Record::Settings(ProviderSettings { name: "Sunrise".to_owned(), ..ProviderSettings::default() }),
            Record::Trail(AuditHead::NONE.follow(event)),
            Record::TrailCopied(AuditHead { seq: 7, hash: AuditHash([0xa7; 32]) }),
        ]
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let mut catalog = Catalog::default();
        for record in samples() {
            let again = Record::from_row(&record.to_row()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{record:?}"));
            catalog.apply(Change::Put(record));
        }
        assert_eq!(catalog.records().len(), samples().len());
        for record in samples() {
            catalog.apply(Change::Remove(record));
        }
        assert!(catalog.records().is_empty());
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named() {
        let mut row = samples()[0].to_row();
        row.fields.insert("zone".to_owned(), "Mars/Olympus".to_owned());
        let error = Record::from_row(&row).unwrap_err().to_string();
        assert!(error.contains("location") && error.contains("zone"), "{error}");
    }
}
