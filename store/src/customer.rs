//! Customers and their commissions.

use std::collections::BTreeSet;

use heliograph_domain::{Commission, CommissionId, Customer, CustomerId, EmailAddress, GatewayId, Timestamp, UserId};
use serde_json::json;

use crate::catalog::{Change, Record};
use crate::error::StoreError;
use crate::letter::Letter;
use crate::outbox::{OutboxRow, erased_recipient};
use crate::sqlite;
use crate::store::{Backend, ProviderStore};
use crate::user::UserRecord;

/// What was erased of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerErasure {
    /// People who signed in for it.
    pub people: usize,
    /// Mails to it and to them, and about it.
    pub mails: usize,
    /// Commissions that ran or were planned.
    pub commissions_ended: usize,
    /// Whether a file's log may still hold what was erased, because somebody read the
    /// file all the time: erasing once more takes it out, or the last one who closes
    /// the file.
    pub left_in_log: bool,
}

/// Which mails are a customer's, or a person's.
#[derive(Debug)]
pub(crate) struct TheirMails {
    customer: Option<CustomerId>,
    people: BTreeSet<UserId>,
    /// What it and its people have for an address, and nobody else.
    addresses: BTreeSet<EmailAddress>,
}

impl TheirMails {
    /// Those about somebody's way in.
    pub(crate) fn of_person(user: UserId) -> Self {
        Self { customer: None, people: BTreeSet::from([user]), addresses: BTreeSet::new() }
    }

    /// Those of one of all customers, with all people.
    pub(crate) fn of(id: CustomerId, customers: &[Customer], people: &[UserRecord]) -> Result<Self, StoreError> {
        let customer = customers.iter().find(|customer| customer.id == id).ok_or(StoreError::NotFound("customer"))?;
        let (own, others): (Vec<_>, Vec<_>) = people.iter().partition(|person| person.customer == Some(id));
        let theirs = own.iter().map(|person| person.id).collect();
        let mut addresses: BTreeSet<EmailAddress> = own.into_iter().map(|person| person.email.clone()).collect();
        addresses.extend(customer.email.clone());
        for person in others {
            addresses.remove(&person.email);
        }
        for email in customers.iter().filter(|other| other.id != id).filter_map(|other| other.email.as_ref()) {
            addresses.remove(email);
        }
        Ok(Self { customer: Some(id), people: theirs, addresses })
    }

    /// Whether a mail is one of them: it is about the customer or its people, wherever it
    /// went, for it names them and may have gone to an address of earlier; or it went to
    /// an address of theirs alone. One that is erased already is nobody's.
    pub(crate) fn contains(&self, mail: &OutboxRow) -> bool {
        let erased = || erased_recipient(mail.id).is_ok_and(|nobody| mail.key.recipient == nobody);
        let is_about = self.customer.is_some_and(|customer| mail.key.is_about(customer))
            || Letter::is_about(&mail.key, |user| self.people.contains(&user));
        (is_about && !erased()) || self.addresses.contains(&mail.key.recipient)
    }
}

impl ProviderStore {
    /// Erases what is personal of a customer: its name and address, its people with
    /// their sessions and links, recipients, subjects and bodies of mails to them and
    /// of reports about it, whatever address these went to. Its commissions end, those
    /// that were planned are taken back; that it was there and owned what when stays,
    /// under its id. So do readings, rollups, the audit trail, and the names of gateways
    /// and locations. Any other mail to an address that somebody else has too is theirs.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn customer_erase(&self, customer: CustomerId, now: Timestamp) -> Result<CustomerErasure, StoreError> {
        let event = self.event("customer.erase", format_args!("customer:{customer}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => {
                let erased = db.change(event, move |batch| sqlite::customer::erase(batch, customer, now)).await?;
                Ok(CustomerErasure { left_in_log: !db.empty_log().await?, ..erased })
            }
            Backend::Cassandra(db) => db.customer_erase(event, customer, now).await,
        }
    }

    /// Makes a customer or replaces the one of the same id.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn customer_save(&self, customer: Customer) -> Result<(), StoreError> {
        let event =
            self.event("customer.save", format_args!("customer:{}", customer.id), json!({ "mailed": customer.email.is_some() }));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::customer::save(batch, &customer)).await,
            Backend::Cassandra(db) => db.change(event, move |_| Ok(vec![Change::Put(Record::Customer(customer.clone()))])).await,
        }
    }

    /// One customer.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn customer_fetch(&self, customer: CustomerId) -> Result<Customer, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let found = db.read(move |connection| sqlite::customer::list(connection, Some(customer))).await?;
                found.into_iter().next().ok_or(StoreError::NotFound("customer"))
            }
            Backend::Cassandra(db) => {
                db.catalog().await?.customers.get(&customer).cloned().ok_or(StoreError::NotFound("customer"))
            }
        }
    }

    /// All customers, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn customer_list(&self) -> Result<Vec<Customer>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(|connection| sqlite::customer::list(connection, None)).await,
            Backend::Cassandra(db) => Ok(db.catalog().await?.customers_by_name()),
        }
    }

    /// Gives a customer a gateway for a window.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where either is missing; [`StoreError::Conflict`]
    /// where the window is empty or somebody owns the gateway in part of it.
    pub async fn commission_create(&self, commission: Commission) -> Result<(), StoreError> {
        let window = commission.window;
        let detail = json!({ "customer": commission.customer, "gateway": commission.gateway, "from": window.from.to_string(), "until": window.until.map(|end| end.to_string()) });
        let event = self.event("commission.create", format_args!("commission:{}", commission.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::customer::commission(batch, &commission)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.commission_create(&commission)).await,
        }
    }

    /// Ends a commission at an instant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none that runs then.
    pub async fn commission_end(&self, commission: CommissionId, at: Timestamp) -> Result<(), StoreError> {
        let event = self.event("commission.end", format_args!("commission:{commission}"), json!({ "until": at.to_string() }));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::customer::end_commission(batch, commission, at)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.commission_end(commission, at)).await,
        }
    }

    /// Takes a commission back that has not begun.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none that begins after `now`.
    pub async fn commission_cancel(&self, commission: CommissionId, now: Timestamp) -> Result<(), StoreError> {
        let event = self.event("commission.cancel", format_args!("commission:{commission}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => {
                db.change(event, move |batch| sqlite::customer::cancel_commission(batch, commission, now)).await
            }
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.commission_cancel(commission, now)).await,
        }
    }

    /// All commissions, by gateway and time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn commission_list(&self) -> Result<Vec<Commission>, StoreError> {
        self.commissions(None, None).await
    }

    /// The commissions of a customer, by gateway and time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn commission_list_by_customer(&self, customer: CustomerId) -> Result<Vec<Commission>, StoreError> {
        self.commissions(Some(customer), None).await
    }

    /// The commissions of a gateway, by time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn commission_list_by_gateway(&self, gateway: &GatewayId) -> Result<Vec<Commission>, StoreError> {
        self.commissions(None, Some(gateway.clone())).await
    }

    async fn commissions(&self, customer: Option<CustomerId>, gateway: Option<GatewayId>) -> Result<Vec<Commission>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                db.read(move |connection| sqlite::customer::commissions(connection, customer, gateway.as_ref())).await
            }
            Backend::Cassandra(db) => Ok(db.catalog().await?.commissions_of(customer, gateway.as_ref())),
        }
    }
}
