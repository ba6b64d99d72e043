//! People who sign in: the rules.

use heliograph_domain::{CustomerId, EmailAddress, UserId, UserRole};

use super::{Catalog, Change, Decision, Record};
use crate::error::StoreError;
use crate::user::{UserRecord, UserUpdate, no_owner, role_fits};

/// Somebody who signs in. Sessions and links say at which count they were made,
/// and are worth nothing at a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
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

    /// Everybody, by address.
    pub(crate) fn people_by_email(&self) -> Vec<UserRecord> {
        let mut people: Vec<_> = self.people.values().map(|person| person.record.clone()).collect();
        people.sort_by(|a, b| a.email.as_str().cmp(b.email.as_str()));
        people
    }

    pub(crate) fn user_create(&self, user: &UserRecord) -> Decision {
        self.check_role(user.role, user.customer)?;
        if self.person_by_email(&user.email).is_some() {
            return Err(StoreError::Conflict(format!("somebody signs in with {} already", user.email)));
        }
        if self.people.contains_key(&user.id) {
            return Err(StoreError::Conflict("somebody has this id already".to_owned()));
        }
        Ok(vec![Change::Put(Record::Person(Person { record: user.clone(), sessions: 0, links: 0 }))])
    }

    fn check_role(&self, role: UserRole, customer: Option<CustomerId>) -> Result<(), StoreError> {
        role_fits(role, customer)?;
        match customer {
            Some(customer) if !self.customers.contains_key(&customer) => Err(StoreError::NotFound("customer")),
            _ => Ok(()),
        }
    }

    pub(crate) fn user_update(&self, id: UserId, update: &UserUpdate) -> Decision {
        self.check_role(update.role, update.customer)?;
        let mut person = self.person(id)?.clone();
        let mut others = self.people.values().filter(|other| other.record.id != id);
        let steps_down = person.record.role == UserRole::Owner && update.role != UserRole::Owner;
        if steps_down && !others.any(|other| other.record.role == UserRole::Owner) {
            return Err(no_owner());
        }
        let UserUpdate { name, role, customer } = update.clone();
        person.record = UserRecord { name, role, customer, ..person.record };
        Ok(vec![Change::Put(Record::Person(person))])
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
        let mut changes = vec![Change::Remove(Record::Person(self.person(id)?.clone()))];
        changes.extend(self.second_factor_gone(id));
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
