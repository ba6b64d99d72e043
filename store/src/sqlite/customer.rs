//! Rows of customers and commissions.

use heliograph_domain::{Commission, CommissionId, Customer, CustomerId, EmailAddress, GatewayId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, api_token, gateway, outbox, overwrite, user};
use crate::customer::{CustomerErasure, TheirMails};
use crate::error::StoreError;
use crate::outbox::OutboxRow;
use crate::second_factor::SECOND_FACTOR;

pub(crate) fn save(batch: &mut Batch<'_>, customer: &Customer) -> Result<(), StoreError> {
    overwrite::wholly(batch.connection, || {
        batch.connection.execute(
            "INSERT INTO customer (id, name, email) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET name = excluded.name, email = excluded.email",
            params![customer.id.to_string(), customer.name, customer.email.as_ref().map(EmailAddress::as_str)],
        )
    })?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn list(connection: &Connection, only: Option<CustomerId>) -> Result<Vec<Customer>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT id, name, email FROM customer WHERE ?1 IS NULL OR id = ?1 ORDER BY name, id")?;
    let mut rows = query.query([only.map(|id| id.to_string())])?;
    let mut customers = Vec::new();
    while let Some(row) = rows.next()? {
        customers.push(Customer {
            id: CustomerId::parse(&row.get::<_, String>(0)?)?,
            name: row.get(1)?,
            email: row.get::<_, Option<String>>(2)?.map(|email| EmailAddress::parse(&email)).transpose()?,
        });
    }
    Ok(customers)
}

pub(crate) fn commission(batch: &mut Batch<'_>, new: &Commission) -> Result<(), StoreError> {
    if new.window.is_empty() {
        return Err(StoreError::Conflict("a commission must end after it begins".to_owned()));
    }
    if list(batch.connection, Some(new.customer))?.is_empty() {
        return Err(StoreError::NotFound("customer"));
    }
    let number = gateway::number(batch.connection, &new.gateway)?;
    let (from, until) = (new.window.from.as_millis(), new.window.until.map(Timestamp::as_millis));
    let taken: Option<String> = batch
        .connection
        .query_row(
            "SELECT c.name FROM ownership o JOIN customer c ON c.id = o.customer
             WHERE o.gateway = ?1 AND (o.until IS NULL OR o.until > ?2) AND (?3 IS NULL OR o.start < ?3)",
            params![number, from, until],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(owner) = taken {
        return Err(StoreError::Conflict(format!("{owner} owns this gateway in part of that time")));
    }
    batch.connection.execute(
        "INSERT INTO ownership (id, customer, gateway, start, until) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.id.to_string(), new.customer.to_string(), number, from, until],
    )?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn end_commission(batch: &mut Batch<'_>, commission: CommissionId, at: Timestamp) -> Result<(), StoreError> {
    let ended = batch.connection.execute(
        "UPDATE ownership SET until = ?2 WHERE id = ?1 AND start < ?2 AND (until IS NULL OR until > ?2)",
        params![commission.to_string(), at.as_millis()],
    )?;
    batch.config_changed();
    if ended == 1 { Ok(()) } else { Err(StoreError::NotFound("commission")) }
}

pub(crate) fn cancel_commission(batch: &mut Batch<'_>, commission: CommissionId, now: Timestamp) -> Result<(), StoreError> {
    let cancelled = batch
        .connection
        .execute("DELETE FROM ownership WHERE id = ?1 AND start > ?2", params![commission.to_string(), now.as_millis()])?;
    batch.config_changed();
    if cancelled == 1 { Ok(()) } else { Err(StoreError::NotFound("commission")) }
}

pub(crate) fn commissions(
    connection: &Connection,
    customer: Option<CustomerId>,
    gateway: Option<&GatewayId>,
) -> Result<Vec<Commission>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT o.id, o.customer, g.id, o.start, o.until FROM ownership o JOIN gateway g ON g.number = o.gateway
         WHERE (?1 IS NULL OR o.customer = ?1) AND (?2 IS NULL OR g.id = ?2) ORDER BY g.id, o.start",
    )?;
    let mut rows = query.query(params![customer.map(|id| id.to_string()), gateway.map(GatewayId::as_str)])?;
    let mut commissions = Vec::new();
    while let Some(row) = rows.next()? {
        commissions.push(Commission {
            id: CommissionId::parse(&row.get::<_, String>(0)?)?,
            customer: CustomerId::parse(&row.get::<_, String>(1)?)?,
            gateway: GatewayId::parse(&row.get::<_, String>(2)?)?,
            window: super::window(row, 3, 4)?,
        });
    }
    Ok(commissions)
}

/// The mails of a customer.
pub(crate) fn mails(connection: &Connection, customer: CustomerId) -> Result<Vec<OutboxRow>, StoreError> {
    let theirs = TheirMails::of(customer, &list(connection, None)?, &user::list(connection, None, None)?)?;
    outbox::select(connection, |mail| theirs.contains(mail))
}

pub(crate) fn erase(batch: &mut Batch<'_>, customer: CustomerId, now: Timestamp) -> Result<CustomerErasure, StoreError> {
    if list(batch.connection, Some(customer))?.is_empty() {
        return Err(StoreError::NotFound("customer"));
    }
    batch.config_changed();
    overwrite::wholly(batch.connection, || erase_rows(batch.connection, customer, now))
}

fn erase_rows(connection: &Connection, customer: CustomerId, now: Timestamp) -> Result<CustomerErasure, StoreError> {
    let id = customer.to_string();
    let mails = mails(connection, customer)?;
    for mail in &mails {
        outbox::erase(connection, mail)?;
    }
    let second = "DELETE FROM record WHERE kind = ?1 AND id IN (SELECT id FROM user WHERE customer = ?2)";
    connection.execute(second, [SECOND_FACTOR, &id])?;
    api_token::remove_of_customer(connection, customer)?;
    let people = connection.execute("DELETE FROM user WHERE customer = ?1", [&id])?;
    let planned =
        connection.execute("DELETE FROM ownership WHERE customer = ?1 AND start >= ?2", params![id, now.as_millis()])?;
    let running = connection.execute(
        "UPDATE ownership SET until = ?2 WHERE customer = ?1 AND (until IS NULL OR until > ?2)",
        params![id, now.as_millis()],
    )?;
    connection.execute("UPDATE customer SET name = 'erased', email = NULL WHERE id = ?1", [&id])?;
    Ok(CustomerErasure { people, mails: mails.len(), commissions_ended: planned + running, left_in_log: true })
}
