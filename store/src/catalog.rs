//! What people set up, as a value: everything that is small, of a provider, in
//! memory, with the rules that it keeps.
//!
//! A backend that keeps it loads the whole, asks a rule which [`Change`]s a wish
//! comes to, and writes those all or none. A rule reads the catalog and changes
//! nothing, so that it can be asked again where somebody else was faster.

mod alert;
mod api_token;
pub(crate) mod archive;
pub(crate) mod credential;
pub(crate) mod customer;
mod device_clock;
pub(crate) mod gateway;
pub(crate) mod logo;
mod mapping;
pub(crate) mod point;
mod record;
mod second_factor;
mod target;
pub(crate) mod user;

use std::collections::BTreeMap;

use heliograph_domain::{
    Commission, CommissionId, CredentialId, Customer, CustomerId, GatewayId, Location, LocationId, ProviderSettings, Timestamp,
    UserId,
};

use crate::audit::{AuditEvent, AuditHead, AuditRow};
use crate::error::StoreError;
use crate::gateway::Placement;
pub(crate) use credential::Credential;
pub(crate) use gateway::Gateway;
pub(crate) use record::Row;
pub(crate) use user::Person;

/// The kind of the record that stands while an archive is being restored.
const RESTORING: &str = "restoring";

/// The body of that record.
fn held_by(holder: &str) -> String {
    serde_json::json!({ "holder": holder }).to_string()
}

/// The month of an instant, UTC, as partitions are called by: `2026-06`.
pub(crate) fn month_of(time: Timestamp) -> String {
    time.to_jiff().strftime("%Y-%m").to_string()
}

/// Everything that is set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) locations: BTreeMap<LocationId, Location>,
    pub(crate) gateways: BTreeMap<GatewayId, Gateway>,
    /// By gateway and beginning.
    pub(crate) placements: BTreeMap<(GatewayId, Timestamp), Placement>,
    pub(crate) credentials: BTreeMap<CredentialId, Credential>,
    pub(crate) customers: BTreeMap<CustomerId, Customer>,
    pub(crate) commissions: BTreeMap<CommissionId, Commission>,
    pub(crate) people: BTreeMap<UserId, Person>,
    pub(crate) settings: Option<ProviderSettings>,
    /// Things that are kept as their JSON, by kind and id.
    pub(crate) bodies: BTreeMap<(String, String), String>,
    /// The newest entries of the audit trail, by number: the head, and those that
    /// may not stand in the trail yet.
    pub(crate) trail: BTreeMap<u64, AuditRow>,
    /// The months of the trail (`2026-11`) and the number that each begins with.
    pub(crate) trail_months: BTreeMap<String, u64>,
    /// The head whose entry, with all before it, is known to stand in the trail.
    pub(crate) trail_copied: Option<AuditHead>,
}

/// One thing of the catalog.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Location(Location),
    Gateway(Gateway),
    Placement(Placement),
    Credential(Credential),
    Customer(Customer),
    Commission(Commission),
    Person(Person),
    Settings(ProviderSettings),
    Body { kind: String, id: String, text: String },
    Trail(AuditRow),
    TrailMonth { month: String, first: u64 },
    TrailCopied(AuditHead),
}

/// What a rule decides.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Add, or replace what has the same id.
    Put(Record),
    /// Remove what has the same id.
    Remove(Record),
}

/// What a rule answers.
pub(crate) type Decision = Result<Vec<Change>, StoreError>;

impl Catalog {
    /// Carries a change out.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(record) => self.put(record),
            Change::Remove(record) => self.remove(record),
        }
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::Location(location) => drop(self.locations.insert(location.id, location)),
            Record::Gateway(gateway) => drop(self.gateways.insert(gateway.id.clone(), gateway)),
            Record::Placement(placement) => drop(self.placements.insert(gateway::place_key(&placement), placement)),
            Record::Credential(credential) => drop(self.credentials.insert(credential.id, credential)),
            Record::Customer(customer) => drop(self.customers.insert(customer.id, customer)),
            Record::Commission(commission) => drop(self.commissions.insert(commission.id, commission)),
            Record::Person(person) => drop(self.people.insert(person.record.id, person)),
            Record::Settings(settings) => self.settings = Some(settings),
            Record::Body { kind, id, text } => drop(self.bodies.insert((kind, id), text)),
            Record::Trail(row) => drop(self.trail.insert(row.seq, row)),
            Record::TrailMonth { month, first } => drop(self.trail_months.insert(month, first)),
            Record::TrailCopied(head) => self.trail_copied = Some(head),
        }
    }

    fn remove(&mut self, record: Record) {
        match record {
            Record::Location(location) => drop(self.locations.remove(&location.id)),
            Record::Gateway(gateway) => drop(self.gateways.remove(&gateway.id)),
            Record::Placement(placement) => drop(self.placements.remove(&gateway::place_key(&placement))),
            Record::Credential(credential) => drop(self.credentials.remove(&credential.id)),
            Record::Customer(customer) => drop(self.customers.remove(&customer.id)),
            Record::Commission(commission) => drop(self.commissions.remove(&commission.id)),
            Record::Person(person) => drop(self.people.remove(&person.record.id)),
            Record::Settings(_) => self.settings = None,
            Record::Body { kind, id, .. } => drop(self.bodies.remove(&(kind, id))),
            Record::Trail(row) => drop(self.trail.remove(&row.seq)),
            Record::TrailMonth { month, .. } => drop(self.trail_months.remove(&month)),
            Record::TrailCopied(_) => self.trail_copied = None,
        }
    }

    /// The locations, by name.
    pub(crate) fn locations_by_name(&self) -> Vec<Location> {
        let mut locations: Vec<_> = self.locations.values().cloned().collect();
        locations.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        locations
    }

    /// Saves settings where none were saved.
    pub(crate) fn seed(&self, settings: &ProviderSettings) -> Vec<Change> {
        if self.settings.is_some() { Vec::new() } else { vec![Change::Put(Record::Settings(settings.clone()))] }
    }

    /// The head of the audit trail.
    pub(crate) fn trail_head(&self) -> Option<AuditHead> {
        self.trail.range(..=AuditHead::FURTHEST).next_back().map(|(_, row)| row.head())
    }

    /// The number of an entry that somebody put here behind all that there can be.
    pub(crate) fn trail_stray(&self) -> Option<u64> {
        self.trail.keys().next_back().copied().filter(|seq| *seq > AuditHead::FURTHEST)
    }

    /// The head, where nothing says yet that all of the trail here has been copied to
    /// where it stays.
    pub(crate) fn trail_to_copy(&self) -> Option<AuditHead> {
        // An archive's trail is there before it is here.
        self.trail_head().filter(|head| self.trail_copied != Some(*head) && !self.is_being_restored())
    }

    /// Gives an event its place in the audit trail. Months never go back, so that
    /// they are in the order of the numbers.
    pub(crate) fn follow(&self, event: AuditEvent) -> Vec<Change> {
        let row = self.trail_head().unwrap_or(AuditHead::NONE).follow(event);
        self.trail_month(&row).into_iter().chain([Change::Put(Record::Trail(row))]).collect()
    }

    /// The month of the trail that an entry begins, if it does.
    pub(crate) fn trail_month(&self, row: &AuditRow) -> Option<Change> {
        let month = month_of(row.at);
        let opened = self.trail_months.keys().next_back().is_none_or(|newest| *newest < month);
        opened.then(|| Change::Put(Record::TrailMonth { month, first: row.seq }))
    }

    /// Whether an archive is being restored, or that was broken off: until it is
    /// done, nothing of this is so.
    pub(crate) fn is_being_restored(&self) -> bool {
        self.bodies.contains_key(&(RESTORING.to_owned(), String::new()))
    }

    /// Whether it is this process that restores an archive.
    pub(crate) fn is_restored_by(&self, holder: &str) -> bool {
        self.bodies.get(&(RESTORING.to_owned(), String::new())).is_some_and(|of| *of == held_by(holder))
    }

    /// What stands in the catalog while an archive is being restored, and by whom.
    pub(crate) fn restoring(holder: &str) -> Record {
        Record::Body { kind: RESTORING.to_owned(), id: String::new(), text: held_by(holder) }
    }

    /// Whether a record is that of a restore that is under way.
    pub(crate) fn is_restoring(record: &Record) -> bool {
        matches!(record, Record::Body { kind, .. } if kind == RESTORING)
    }

    /// Everything, as records.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        records.extend(self.locations.values().cloned().map(Record::Location));
        records.extend(self.gateways.values().cloned().map(Record::Gateway));
        records.extend(self.placements.values().cloned().map(Record::Placement));
        records.extend(self.credentials.values().cloned().map(Record::Credential));
        records.extend(self.customers.values().cloned().map(Record::Customer));
        records.extend(self.commissions.values().cloned().map(Record::Commission));
        records.extend(self.people.values().cloned().map(Record::Person));
        records.extend(self.settings.iter().cloned().map(Record::Settings));
        let body = |((kind, id), text): (&(String, String), &String)| Record::Body {
            kind: kind.clone(),
            id: id.clone(),
            text: text.clone(),
        };
        records.extend(self.bodies.iter().map(body));
        // An entry is copied to the month that it belongs to: months come first.
        let month = |(month, first): (&String, &u64)| Record::TrailMonth { month: month.clone(), first: *first };
        records.extend(self.trail_months.iter().map(month));
        records.extend(self.trail.values().cloned().map(Record::Trail));
        records.extend(self.trail_copied.map(Record::TrailCopied));
        records
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::Timestamp;

    use super::*;

    #[test]
    fn what_somebody_puts_behind_all_numbers_is_no_head() {
        let event = AuditEvent {
            at: Timestamp::clamped(0),
            actor: "operator".to_owned(),
            action: "gateway.retire".to_owned(),
            object: "gateway:gw-1".to_owned(),
            detail: "{}".to_owned(),
        };
        let (row, mut catalog) = (AuditHead::NONE.follow(event.clone()), Catalog::default());
        catalog.apply(Change::Put(Record::Trail(row.clone())));
        assert_eq!(catalog.trail_stray(), None);
        for seq in [AuditHead::FURTHEST + 1, u64::MAX] {
            catalog.apply(Change::Put(Record::Trail(AuditRow { seq, ..row.clone() })));
            assert_eq!((catalog.trail_head(), catalog.trail_stray()), (Some(row.head()), Some(seq)));
        }
        assert!(catalog.follow(event).iter().any(|change| matches!(change, Change::Put(Record::Trail(next)) if next.seq == 2)));
    }
}
