//! People who sign in: the rules.

use heliograph_domain::{Assignment, CustomerId, EmailAddress, UserId, UserRole};

use super::point::put;
use super::{Catalog, Change, Decision, Record};
use crate::error::StoreError;
use crate::user::{ASSIGNMENT, UserRecord, UserUpdate, no_owner, role_fits};

/// Somebody who signs in. Sessions and links say at which count they were made,
/// and are worth nothing at a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// As its row says it: where an installer works is a record of its own.
    pub(crate) record: UserRecord,
    /// How often all sessions were ended.
    pub(crate) sessions: i64,
    /// How often all links were ended.
    pub(crate) links: i64,
}

impl Catalog {
    pub(crate) fn person(&self, id: UserId) -> Result<&Person, StoreError> {
        self.people.get(&id).ok_or(StoreError::NotFound("user"))
    }

    pub(crate) fn person_by_email(&self, email: &EmailAddress) -> Option<&Person> {
        self.people.values().find(|person| person.record.email == *email)
    }

    /// Somebody with where they work.
    pub(crate) fn user(&self, person: &Person) -> Result<UserRecord, StoreError> {
        let key = (ASSIGNMENT.to_owned(), person.record.id.to_string());
        let assignment = match self.bodies.get(&key).filter(|_| person.record.may_be_assigned()) {
            Some(text) => {
                Some(serde_json::from_str(text).map_err(|error| StoreError::Damaged(format!("{ASSIGNMENT}: {error}")))?)
            }
            None => None,
        };
        Ok(person.record.clone().assigned(assignment))
    }

    /// Everybody, by address.
    pub(crate) fn people_by_email(&self) -> Result<Vec<UserRecord>, StoreError> {
        let mut people = self.people.values().map(|person| self.user(person)).collect::<Result<Vec<_>, _>>()?;
        people.sort_by(|a, b| a.email.as_str().cmp(b.email.as_str()));
        Ok(people)
    }

    /// Keeps where somebody works, or that they work nowhere.
    fn assign(&self, user: UserId, assignment: Option<&Assignment>) -> Result<Option<Change>, StoreError> {
        match assignment {
            Some(assignment) => put(ASSIGNMENT, &user.to_string(), assignment).map(Some),
            None => Ok(self.take(ASSIGNMENT, &user.to_string(), "assignment").ok()),
        }
    }

    pub(crate) fn user_create(&self, user: &UserRecord) -> Decision {
        self.check_role(user.role, user.customer, user.assignment.as_ref())?;
        if self.person_by_email(&user.email).is_some() {
            return Err(StoreError::Conflict(format!("somebody signs in with {} already", user.email)));
        }
        if self.people.contains_key(&user.id) {
            return Err(StoreError::Conflict("somebody has this id already".to_owned()));
        }
        let person = Person { record: user.clone().unassigned(), sessions: 0, links: 0 };
        let mut changes = vec![Change::Put(Record::Person(person))];
        changes.extend(self.assign(user.id, user.assignment.as_ref())?);
        Ok(changes)
    }

    fn check_role(
        &self,
        role: UserRole,
        customer: Option<CustomerId>,
        assignment: Option<&Assignment>,
    ) -> Result<(), StoreError> {
        role_fits(role, customer, assignment)?;
        if assignment.is_some_and(|given| given.locations().iter().any(|place| !self.locations.contains_key(place))) {
            return Err(StoreError::NotFound("location"));
        }
        match customer {
            Some(customer) if !self.customers.contains_key(&customer) => Err(StoreError::NotFound("customer")),
            _ => Ok(()),
        }
    }

    pub(crate) fn user_update(&self, id: UserId, update: &UserUpdate) -> Decision {
        self.check_role(update.role, update.customer, update.assignment.as_ref())?;
        let mut person = self.person(id)?.clone();
        let mut others = self.people.values().filter(|other| other.record.id != id);
        let steps_down = person.record.role == UserRole::Owner && update.role != UserRole::Owner;
        if steps_down && !others.any(|other| other.record.role == UserRole::Owner) {
            return Err(no_owner());
        }
        let UserUpdate { name, role, customer, assignment } = update.clone();
        let assigned = self.assign(id, assignment.as_ref())?;
        person.record = UserRecord { name, role, customer, ..person.record }.unassigned();
        Ok(std::iter::once(Change::Put(Record::Person(person))).chain(assigned).collect())
    }

    pub(crate) fn user_set_password(&self, id: UserId, hash: &str) -> Decision {
        let mut person = self.person(id)?.clone();
        person.record.password_hash = Some(hash.to_owned());
        person.sessions += 1;
        person.links += 1;
        let mut changes = vec![Change::Put(Record::Person(person))];
        changes.extend(self.api_tokens_gone(id));
        Ok(changes)
    }

    pub(crate) fn user_delete(&self, id: UserId) -> Decision {
        let is_owner = |person: &Person| person.record.role == UserRole::Owner;
        if is_owner(self.person(id)?) && !self.people.values().any(|other| other.record.id != id && is_owner(other)) {
            return Err(no_owner());
        }
        let mut changes = vec![Change::Remove(Record::Person(self.person(id)?.clone()))];
        changes.extend(self.second_factor_gone(id));
        changes.extend(self.assign(id, None)?);
        changes.extend(self.api_tokens_gone(id));
        Ok(changes)
    }

    /// Ends all sessions of somebody, if there is such a person.
    pub(crate) fn sessions_end(&self, id: UserId) -> Vec<Change> {
        let ended = self.people.get(&id).map(|person| Person { sessions: person.sessions + 1, ..person.clone() });
        ended.map(|person| Change::Put(Record::Person(person))).into_iter().collect()
    }

    /// Ends all sessions and API tokens of somebody, if there is such a person.
    pub(crate) fn signed_out(&self, id: UserId) -> Vec<Change> {
        let mut changes = self.sessions_end(id);
        changes.extend(self.api_tokens_gone(id));
        changes
    }
}
