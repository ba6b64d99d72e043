//! What is set up, as rows of an archive and back. What a backend keeps beside the
//! catalog (series, readings, rollups, mails, quarantine, the trail) is not here.

use std::fmt::Display;
use std::vec::IntoIter;

use heliograph_domain::{
    Commission, CommissionId, CredentialId, Customer, CustomerId, EmailAddress, GatewayId, GatewayState, KeyDigest, Location,
    LocationId, Position, TimeWindow, Timestamp, UserId, UserRole, Zone,
};

use super::{Catalog, Credential, Gateway, Person, Record};
use crate::alert::{ALERT, MAINTENANCE};
use crate::api_token::API_TOKEN;
use crate::archive::tables::{Cell, Table};
use crate::credential::{CERTIFICATE, KEY_END};
use crate::device_clock::CLOCK_CORRECTION;
use crate::error::StoreError;
use crate::gateway::{GatewayRecord, Placement};
use crate::logo::{LOGO, LOGO_PIECE};
use crate::second_factor::SECOND_FACTOR;
use crate::target::YIELD_TARGETS;
use crate::user::{ASSIGNMENT, UserRecord};

/// Kinds of bodies that archives hold; others belong to one backend.
const BODIES: [&str; 16] = [
    ALERT,
    API_TOKEN,
    "array",
    ASSIGNMENT,
    "binding",
    CERTIFICATE,
    CLOCK_CORRECTION,
    "correction",
    KEY_END,
    LOGO,
    LOGO_PIECE,
    MAINTENANCE,
    "mapping",
    "point",
    SECOND_FACTOR,
    YIELD_TARGETS,
];
/// The kind of the records that name gateways whose local days and months are to
/// be summed up anew.
pub(crate) const RESPAN: &str = "respan";

/// The cells of a row, taken one after the other.
pub(crate) struct Cells {
    table: &'static str,
    cells: IntoIter<Cell>,
}

impl Cells {
    pub(crate) fn of(table: &Table, row: Vec<Cell>) -> Self {
        Self { table: table.name, cells: row.into_iter() }
    }

    pub(crate) fn bad(&self, problem: impl Display) -> StoreError {
        StoreError::Archive(format!("a row of {} does not fit: {problem}", self.table))
    }

    fn some<T>(&self, cell: Option<T>) -> Result<T, StoreError> {
        cell.ok_or_else(|| self.bad("a value is missing"))
    }

    pub(crate) fn text_or_none(&mut self) -> Result<Option<String>, StoreError> {
        match self.cells.next() {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Text(text)) => Ok(Some(text)),
            _ => Err(self.bad("it has another value than a text")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        let text = self.text_or_none()?;
        self.some(text)
    }

    pub(crate) fn int_or_none(&mut self) -> Result<Option<i64>, StoreError> {
        match self.cells.next() {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Int(number)) => Ok(Some(number)),
            _ => Err(self.bad("it has another value than a whole number")),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        let number = self.int_or_none()?;
        self.some(number)
    }

    pub(crate) fn small<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        let number = self.int()?;
        T::try_from(number).map_err(|_| self.bad(format_args!("{number} is out of bounds")))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        let millis = self.int()?;
        self.time_of(millis)
    }

    pub(crate) fn time_or_none(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let millis = self.int_or_none()?;
        millis.map(|millis| self.time_of(millis)).transpose()
    }

    fn time_of(&self, millis: i64) -> Result<Timestamp, StoreError> {
        Timestamp::from_millis(millis).map_err(|error| self.bad(error))
    }

    pub(crate) fn real_or_none(&mut self) -> Result<Option<f64>, StoreError> {
        match self.cells.next() {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Real(number)) => Ok(Some(number)),
            _ => Err(self.bad("it has another value than a number")),
        }
    }

    pub(crate) fn real(&mut self) -> Result<f64, StoreError> {
        let number = self.real_or_none()?;
        self.some(number)
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.cells.next() {
            Some(Cell::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.bad("it has no bytes")),
        }
    }

    pub(crate) fn digest(&mut self) -> Result<[u8; 32], StoreError> {
        self.bytes()?.try_into().map_err(|_| self.bad("a digest has not 32 bytes"))
    }

    pub(crate) fn values(&mut self) -> Result<Vec<(u32, f64)>, StoreError> {
        match self.cells.next() {
            Some(Cell::Values(values)) => Ok(values),
            _ => Err(self.bad("it has no values")),
        }
    }

    pub(crate) fn parse<T, E: Display>(&mut self, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, StoreError> {
        let text = self.text()?;
        parse(&text).map_err(|error| self.bad(error))
    }

    pub(crate) fn parse_or_none<T, E: Display>(&mut self, parse: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, StoreError> {
        let text = self.text_or_none()?;
        text.map(|text| parse(&text).map_err(|error| self.bad(error))).transpose()
    }

    fn window(&mut self) -> Result<TimeWindow, StoreError> {
        Ok(TimeWindow { from: self.time()?, until: self.time_or_none()? })
    }
}

/// A cell of what may be missing.
pub(crate) fn or_null<T>(value: Option<T>, cell: impl Fn(T) -> Cell) -> Cell {
    value.map_or(Cell::Null, cell)
}

pub(crate) fn text(text: impl Display) -> Cell {
    Cell::Text(text.to_string())
}

pub(crate) fn time(time: Timestamp) -> Cell {
    Cell::Int(time.as_millis())
}

pub(crate) fn flag(flag: bool) -> Cell {
    Cell::Int(flag.into())
}

impl Catalog {
    /// The rows of a table that holds nothing but what is set up; `None` of others.
    pub(crate) fn archived(&self, table: &str) -> Option<Vec<Vec<Cell>>> {
        Some(match table {
            "settings" => self.settings.iter().filter_map(settings).collect(),
            "locations" => self.locations.values().map(location).collect(),
            "placements" => self.placements.values().map(placement).collect(),
            "credentials" => self.credentials.values().map(credential).collect(),
            "customers" => self.customers.values().map(customer).collect(),
            "commissions" => self.commissions.values().map(commission).collect(),
            "users" => self.people.values().map(|person| user(&person.record)).collect(),
            _ => return None,
        })
    }

    /// Points, arrays, corrections, mappings and the like; with a record of each gateway that
    /// is to be summed up anew.
    pub(crate) fn archived_records<'a>(&'a self, respan: impl Iterator<Item = &'a GatewayId>) -> Vec<Vec<Cell>> {
        let bodies = self.bodies.iter().filter(|((kind, _), _)| BODIES.contains(&kind.as_str()));
        let bodies = bodies.map(|((kind, id), body)| vec![text(kind), text(id), text(body)]);
        bodies.chain(respan.map(|id| vec![text(RESPAN), text(id), text("{}")])).collect()
    }

    /// What a row of an archive says that is set up; rows that it refers to are in
    /// the catalog already.
    pub(crate) fn unarchived(&self, table: &Table, row: Vec<Cell>) -> Result<Record, StoreError> {
        let mut cells = Cells::of(table, row);
        let record = match table.name {
            "settings" => read_settings(&mut cells)?,
            "locations" => read_location(&mut cells)?,
            "gateways" => read_gateway(&mut cells)?,
            "placements" => {
                let gateway = self.read_known_gateway(&mut cells)?;
                let window = cells.window()?;
                Record::Placement(Placement { gateway, location: self.read_known_location(&mut cells)?, window })
            }
            "credentials" => Record::Credential(Credential {
                id: cells.parse(CredentialId::parse)?,
                gateway: self.read_known_gateway(&mut cells)?,
                digest: KeyDigest(cells.digest()?),
                created: cells.time()?,
                revoked: cells.time_or_none()?,
            }),
            "customers" => Record::Customer(Customer {
                id: cells.parse(CustomerId::parse)?,
                name: cells.text()?,
                email: cells.parse_or_none(EmailAddress::parse)?,
            }),
            "commissions" => {
                let id = cells.parse(CommissionId::parse)?;
                let customer = cells.parse(CustomerId::parse)?;
                self.require_customer(customer, &cells)?;
                let gateway = self.read_known_gateway(&mut cells)?;
                Record::Commission(Commission { id, customer, gateway, window: cells.window()? })
            }
            "users" => self.read_user(&mut cells)?,
            "records" => {
                let (kind, id) = (cells.text()?, cells.text()?);
                if !BODIES.contains(&kind.as_str()) {
                    return Err(cells.bad(format_args!("{kind} is not known")));
                }
                Record::Body { kind, id, text: cells.text()? }
            }
            _ => return Err(cells.bad("nothing is set up by it")),
        };
        Ok(record)
    }

    pub(crate) fn read_known_gateway(&self, cells: &mut Cells) -> Result<GatewayId, StoreError> {
        let id = cells.parse(GatewayId::parse)?;
        if self.gateways.contains_key(&id) { Ok(id) } else { Err(cells.bad("its gateway is not there")) }
    }

    fn read_known_location(&self, cells: &mut Cells) -> Result<LocationId, StoreError> {
        let id = cells.parse(LocationId::parse)?;
        if self.locations.contains_key(&id) { Ok(id) } else { Err(cells.bad("its location is not there")) }
    }

    fn require_customer(&self, id: CustomerId, cells: &Cells) -> Result<(), StoreError> {
        if self.customers.contains_key(&id) { Ok(()) } else { Err(cells.bad("its customer is not there")) }
    }

    fn read_user(&self, cells: &mut Cells) -> Result<Record, StoreError> {
        let record = UserRecord {
            id: cells.parse(UserId::parse)?,
            email: cells.parse(EmailAddress::parse)?,
            name: cells.text()?,
            role: cells.parse(UserRole::parse)?,
            customer: cells.parse_or_none(CustomerId::parse)?,
            assignment: None,
            password_hash: cells.text_or_none()?,
            created: cells.time()?,
        };
        record.customer.map_or(Ok(()), |customer| self.require_customer(customer, cells))?;
        Ok(Record::Person(Person { record, sessions: 0, links: 0 }))
    }
}

impl Record {
    /// Its row of an archive, where that says all there is to it.
    pub(crate) fn archived(&self) -> Option<Vec<Cell>> {
        Some(match self {
            Self::Location(of) => location(of),
            Self::Placement(of) => placement(of),
            Self::Credential(of) => credential(of),
            Self::Customer(of) => customer(of),
            Self::Commission(of) => commission(of),
            Self::Person(of) => user(&of.record),
            _ => return None,
        })
    }
}

fn settings(settings: &heliograph_domain::ProviderSettings) -> Option<Vec<Cell>> {
    Some(vec![text("provider"), Cell::Text(serde_json::to_string(settings).ok()?)])
}

fn read_settings(cells: &mut Cells) -> Result<Record, StoreError> {
    let (name, body) = (cells.text()?, cells.text()?);
    if name != "provider" {
        return Err(cells.bad(format_args!("{name} is not known")));
    }
    serde_json::from_str(&body).map(Record::Settings).map_err(|error| cells.bad(error))
}

fn location(location: &Location) -> Vec<Cell> {
    let Location { id, name, zone, position, installed_kwp } = location;
    vec![
        text(id),
        text(name),
        text(zone.name()),
        or_null(position.map(|position| position.latitude()), Cell::Real),
        or_null(position.map(|position| position.longitude()), Cell::Real),
        or_null(*installed_kwp, Cell::Real),
    ]
}

fn read_location(cells: &mut Cells) -> Result<Record, StoreError> {
    let (id, name, zone) = (cells.parse(LocationId::parse)?, cells.text()?, cells.parse(Zone::parse)?);
    let position = match (cells.real_or_none()?, cells.real_or_none()?) {
        (Some(latitude), Some(longitude)) => Some(Position::new(latitude, longitude).map_err(|error| cells.bad(error))?),
        _ => None,
    };
    Ok(Record::Location(Location { id, name, zone, position, installed_kwp: cells.real_or_none()? }))
}

/// The row of a gateway, with what was last heard of it.
pub(crate) fn gateway(heard: &GatewayRecord) -> Vec<Cell> {
    vec![
        text(&heard.id),
        or_null(heard.label.as_ref(), text),
        text(heard.state.as_str()),
        time(heard.first_seen),
        or_null(heard.last_seen, time),
        or_null(heard.last_seen, |_| text(heard.last_address.as_deref().unwrap_or_default())),
        or_null(heard.last_seen, |_| Cell::Int(i64::try_from(heard.documents).unwrap_or(i64::MAX))),
        or_null(heard.last_seen, |seen| Cell::Int(stamp_of(seen))),
    ]
}

/// The stamp of the last document of a gateway, µs, where only the millisecond is known
/// in which it came: none that it sent is later than the end of that.
pub(crate) fn stamp_of(seen: Timestamp) -> i64 {
    seen.as_millis() * 1000 + 999
}

/// What a backend keeps of a gateway beside the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) seen: Option<Timestamp>,
    pub(crate) address: String,
    pub(crate) documents: i64,
    /// The stamp of its latest document, µs.
    pub(crate) stamp: i64,
}

/// What a row of a gateway says of what was last heard of it.
pub(crate) fn read_heard(table: &Table, row: &[Cell]) -> Result<Heard, StoreError> {
    let mut cells = Cells::of(table, row.iter().skip(4).cloned().collect());
    let heard = Heard {
        seen: cells.time_or_none()?,
        address: cells.text_or_none()?.unwrap_or_default(),
        documents: cells.int_or_none()?.unwrap_or_default(),
        stamp: cells.int_or_none()?.unwrap_or_default(),
    };
    let at_least = heard.seen.map_or(1, |seen| (seen.as_millis() * 1000).max(1));
    Ok(Heard { stamp: heard.stamp.max(at_least), ..heard })
}

fn read_gateway(cells: &mut Cells) -> Result<Record, StoreError> {
    let id = cells.parse(GatewayId::parse)?;
    let (label, state, first_seen) = (cells.text_or_none()?, cells.parse(GatewayState::parse)?, cells.time()?);
    let (seen, address, documents) = (cells.time_or_none()?, cells.text_or_none()?, cells.int_or_none()?);
    let stored = documents.is_some_and(|documents| documents > 0);
    let knocked = seen.filter(|_| !stored).map(|seen| (seen, address.unwrap_or_default()));
    Ok(Record::Gateway(Gateway { id, label, state, first_seen, knocked, stored }))
}

fn placement(placement: &Placement) -> Vec<Cell> {
    let Placement { gateway, location, window } = placement;
    vec![text(gateway), time(window.from), or_null(window.until, time), text(location)]
}

fn credential(key: &Credential) -> Vec<Cell> {
    vec![text(key.id), text(&key.gateway), Cell::Bytes(key.digest.0.to_vec()), time(key.created), or_null(key.revoked, time)]
}

fn customer(customer: &Customer) -> Vec<Cell> {
    vec![text(customer.id), text(&customer.name), or_null(customer.email.as_ref(), text)]
}

fn commission(commission: &Commission) -> Vec<Cell> {
    let Commission { id, customer, gateway, window } = commission;
    vec![text(id), text(customer), text(gateway), time(window.from), or_null(window.until, time)]
}

fn user(user: &UserRecord) -> Vec<Cell> {
    vec![
        text(user.id),
        text(&user.email),
        text(&user.name),
        text(user.role.as_str()),
        or_null(user.customer, text),
        or_null(user.password_hash.as_ref(), text),
        time(user.created),
    ]
}
