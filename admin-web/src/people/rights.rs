//! What somebody may do, in the forms about people: a role, and whose data or which
//! locations go with it.

use std::collections::BTreeMap;

use heliograph_domain::{Assignment, CustomerId, Location, LocationId, Timestamp, UserRole, Zone};
use heliograph_store::UserRecord;
use jiff::civil::Date;
use serde::Deserialize;

use crate::form::Problems;
use crate::settings::version_of;
use crate::users::{Rights, end_of_day, last_day};

/// Before each field that says whether an installer works at a location.
const PLACE_FIELD: &str = "place-";

/// The part of a form that says it.
#[derive(Deserialize, Default, PartialEq)]
#[serde(default)]
pub(crate) struct RightsForm {
    pub(super) role: String,
    pub(super) customer: String,
    /// The last day of an installer.
    pub(super) until: String,
    /// Which rights were shown: these are not laid over what somebody else has changed.
    pub(super) seen: String,
    /// Which locations are ticked: which fields there are, depends on the locations.
    #[serde(flatten)]
    places: BTreeMap<String, String>,
}

/// A location to be ticked.
pub(super) struct PlaceChoice {
    pub(super) field: String,
    pub(super) name: String,
    pub(super) is_chosen: bool,
}

fn field_of(location: LocationId) -> String {
    format!("{PLACE_FIELD}{location}")
}

impl RightsForm {
    /// Of somebody who is new.
    pub(super) fn fresh() -> Self {
        Self { role: UserRole::Operator.as_str().to_owned(), ..Self::default() }
    }

    pub(super) fn of(user: &UserRecord, zone: &Zone) -> Self {
        let locations = user.assignment.as_ref().map_or(&[][..], Assignment::locations);
        Self {
            role: user.role.as_str().to_owned(),
            customer: user.customer.map(|customer| customer.to_string()).unwrap_or_default(),
            until: user.assignment.as_ref().map(|given| last_day(given, zone).to_string()).unwrap_or_default(),
            places: locations.iter().map(|location| (field_of(*location), "yes".to_owned())).collect(),
            seen: version_of(&(user.role, user.customer, &user.assignment)),
        }
    }

    /// All locations, with those that are ticked.
    pub(super) fn choices(&self, locations: &[Location]) -> Vec<PlaceChoice> {
        let choice = |location: &Location| {
            let field = field_of(location.id);
            PlaceChoice { name: location.name.clone(), is_chosen: self.places.contains_key(&field), field }
        };
        locations.iter().map(choice).collect()
    }

    pub(super) fn parse(&self, locations: &[Location], zone: &Zone, now: Timestamp, problems: &mut Problems) -> Option<Rights> {
        match problems.note("role", UserRole::parse(&self.role).map_err(|_| "choose a role"))? {
            UserRole::Customer => {
                let customer = CustomerId::parse(&self.customer).map_err(|_| "choose whose gateways they see");
                problems.note("customer", customer).map(Rights::of_customer)
            }
            UserRole::Installer => self.parse_assignment(locations, zone, now, problems).map(Rights::of_installer),
            role => Some(Rights::of(role)),
        }
    }

    fn parse_assignment(
        &self,
        locations: &[Location],
        zone: &Zone,
        now: Timestamp,
        problems: &mut Problems,
    ) -> Option<Assignment> {
        let day = self.until.trim().parse::<Date>().ok().and_then(|day| end_of_day(day, zone));
        let until = problems.note("until", day.ok_or("choose the last day"))?;
        let chosen = locations.iter().filter(|location| self.places.contains_key(&field_of(location.id)));
        match Assignment::new(until, chosen.map(|location| location.id).collect(), now) {
            Ok(assignment) => Some(assignment),
            Err(problem) => problems.note(if problem.is_of_end() { "until" } else { "places" }, Err(problem)),
        }
    }
}
