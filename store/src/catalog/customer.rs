//! Customers and what they own: the rules.

use heliograph_domain::{Commission, CommissionId, Customer, CustomerId, GatewayId, TimeWindow, Timestamp};

use super::{Catalog, Change, Decision, Record};
use crate::customer::TheirMails;
use crate::error::StoreError;

impl Catalog {
    /// The customers, by name.
    pub(crate) fn customers_by_name(&self) -> Vec<Customer> {
        let mut customers: Vec<_> = self.customers.values().cloned().collect();
        customers.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        customers
    }

    pub(crate) fn commission_create(&self, new: &Commission) -> Decision {
        if new.window.is_empty() {
            return Err(StoreError::Conflict("a commission must end after it begins".to_owned()));
        }
        if !self.customers.contains_key(&new.customer) {
            return Err(StoreError::NotFound("customer"));
        }
        self.gateway(&new.gateway)?;
        if self.commissions.contains_key(&new.id) {
            return Err(StoreError::Conflict("a commission of this id is there already".to_owned()));
        }
        let meets = |other: &&Commission| other.gateway == new.gateway && other.window.intersect(&new.window).is_some();
        if let Some(taken) = self.commissions.values().find(meets) {
            let owner = self.customers.get(&taken.customer).map_or("somebody", |customer| customer.name.as_str());
            return Err(StoreError::Conflict(format!("{owner} owns this gateway in part of that time")));
        }
        Ok(vec![Change::Put(Record::Commission(new.clone()))])
    }

    pub(crate) fn commission_end(&self, id: CommissionId, at: Timestamp) -> Decision {
        let runs =
            |commission: &&Commission| commission.window.from < at && commission.window.until.is_none_or(|until| until > at);
        let commission = self.commissions.get(&id).filter(runs).ok_or(StoreError::NotFound("commission"))?;
        let window = TimeWindow { until: Some(at), ..commission.window };
        Ok(vec![Change::Put(Record::Commission(Commission { window, ..commission.clone() }))])
    }

    pub(crate) fn commission_cancel(&self, id: CommissionId, now: Timestamp) -> Decision {
        let planned = |commission: &&Commission| commission.window.from > now;
        let commission = self.commissions.get(&id).filter(planned).ok_or(StoreError::NotFound("commission"))?;
        Ok(vec![Change::Remove(Record::Commission(commission.clone()))])
    }

    /// Which mails are a customer's.
    pub(crate) fn mails_of_customer(&self, id: CustomerId) -> Result<TheirMails, StoreError> {
        TheirMails::of(id, &self.customers_by_name(), &self.people_by_email()?)
    }

    /// Takes out what is personal of a customer; its commissions end.
    pub(crate) fn customer_erase(&self, id: CustomerId, now: Timestamp) -> Decision {
        let customer = self.customers.get(&id).ok_or(StoreError::NotFound("customer"))?;
        let nameless = Customer { name: "erased".to_owned(), email: None, ..customer.clone() };
        let mut changes = vec![Change::Put(Record::Customer(nameless))];
        let people = self.people.values().filter(|person| person.record.customer == Some(id));
        for person in people {
            changes.push(Change::Remove(Record::Person(person.clone())));
            changes.extend(self.second_factor_gone(person.record.id));
            changes.extend(self.api_tokens_gone(person.record.id));
        }
        for commission in self.commissions.values().filter(|commission| commission.customer == id) {
            let window = TimeWindow { until: Some(now), ..commission.window };
            if commission.window.from >= now {
                changes.push(Change::Remove(Record::Commission(commission.clone())));
            } else if commission.window.until.is_none_or(|until| until > now) {
                changes.push(Change::Put(Record::Commission(Commission { window, ..commission.clone() })));
            }
        }
        Ok(changes)
    }

    /// Commissions by gateway and time.
    pub(crate) fn commissions_of(&self, customer: Option<CustomerId>, gateway: Option<&GatewayId>) -> Vec<Commission> {
        let wanted = |commission: &&Commission| {
            customer.is_none_or(|id| commission.customer == id) && gateway.is_none_or(|id| commission.gateway == *id)
        };
        let mut found: Vec<_> = self.commissions.values().filter(wanted).cloned().collect();
        found.sort_by(|a, b| (&a.gateway, a.window.from).cmp(&(&b.gateway, b.window.from)));
        found
    }
}
