//! A customer's personal data goes.

use std::sync::{Arc, Mutex, PoisonError};

use heliograph_domain::{CustomerId, Timestamp};

use super::Database;
use crate::audit::AuditEvent;
use crate::catalog::{Change, Person, Record};
use crate::customer::CustomerErasure;
use crate::error::StoreError;
use crate::outbox::OutboxRow;

impl Database {
    /// The mails of a customer.
    pub(crate) async fn customer_mails(&self, customer: CustomerId) -> Result<Vec<OutboxRow>, StoreError> {
        let theirs = self.catalog().await?.mails_of_customer(customer)?;
        Ok(self.outbox_of(&theirs).await?.into_iter().map(|(_, mail)| mail).collect())
    }

    /// Erases a customer: its mails and its people's sessions, then what the catalog says
    /// of it, then what of both was put meanwhile. One that is broken off is done by
    /// erasing again.
    pub(crate) async fn customer_erase(
        &self,
        event: AuditEvent,
        customer: CustomerId,
        now: Timestamp,
    ) -> Result<CustomerErasure, StoreError> {
        let catalog = self.catalog().await?;
        let theirs = catalog.mails_of_customer(customer)?;
        let of_customer = |person: &&Person| person.record.customer == Some(customer);
        let people: Vec<_> = catalog.people.values().filter(of_customer).map(|person| person.record.id).collect();
        self.sessions_erase(&people).await?;
        let mut mails = self.outbox_erase(&theirs).await?;
        let decided = Arc::new(Mutex::new(Vec::new()));
        let last = Arc::clone(&decided);
        self.change(event, move |catalog| {
            let changes = catalog.customer_erase(customer, now)?;
            last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&changes);
            Ok(changes)
        })
        .await?;
        mails += self.outbox_erase(&theirs).await?;
        self.sessions_erase(&people).await?;
        let decided = decided.lock().unwrap_or_else(PoisonError::into_inner);
        let people = decided.iter().filter(|change| matches!(change, Change::Remove(Record::Person(_)))).count();
        let of_commission =
            |change: &&Change| matches!(change, Change::Put(Record::Commission(_)) | Change::Remove(Record::Commission(_)));
        Ok(CustomerErasure { people, mails, commissions_ended: decided.iter().filter(of_commission).count(), left_in_log: false })
    }
}
