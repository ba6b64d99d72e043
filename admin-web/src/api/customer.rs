//! Customers and what they own.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use heliograph_domain::{self as domain, CustomerId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{ByReader, ByStaff};
use super::paging::{Page, Part, cut};
use super::problem::ApiRefusal;
use super::request::{Asked, Body};
use super::wire::{Utc, parse_instant, utc};
use crate::customer::{CommissionState, CustomerForm, add_commission, fetch, ownable, owned_window, stop_commission};
use crate::form::Problems;
use crate::panel::Panel;
use crate::token;

/// Somebody who owns gateways for some time.
#[derive(Serialize, ToSchema)]
pub(super) struct Customer {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// What it is called.
    name: String,
    /// Where summaries go.
    email: Option<String>,
}

impl From<domain::Customer> for Customer {
    fn from(customer: domain::Customer) -> Self {
        let email = customer.email.map(|email| email.to_string());
        Self { id: customer.id.to_string(), name: customer.name, email }
    }
}

/// What is said of a customer to make or change it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerInput {
    /// What it is called: 1 to 80 characters on one line.
    #[schema(example = "Ana’s bakery")]
    name: String,
    /// Where summaries go, if anywhere.
    email: Option<String>,
}

impl CustomerInput {
    fn parse(self, id: CustomerId) -> Result<domain::Customer, ApiRefusal> {
        let form = CustomerForm { name: self.name, email: self.email.unwrap_or_default() };
        form.parse(id).map_err(|problems| ApiRefusal::fields(&problems, &[]))
    }
}

/// List the customers
#[utoipa::path(
    get,
    path = "/api/v1/customers",
    operation_id = "listCustomers",
    tag = "Customers",
    params(Part),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Customer>))
)]
pub(super) async fn list(
    State(panel): State<Panel>,
    _: ByReader,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Customer>>, ApiRefusal> {
    let all = panel.store().customer_list().await?;
    cut("customers", &part, all, |customer| customer.id, Customer::from).map(Json)
}

/// Add a customer
#[utoipa::path(
    post,
    path = "/api/v1/customers",
    operation_id = "createCustomer",
    tag = "Customers",
    request_body = CustomerInput,
    security(("token" = ["write"])),
    responses((status = 201, description = "It is there; Location says where.", body = Customer))
)]
pub(super) async fn create(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Body(input): Body<CustomerInput>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Customer>), ApiRefusal> {
    let id = CustomerId::new(token::fresh_uuid(panel.now()));
    let customer = input.parse(id)?;
    caller.actor.store(&panel).customer_save(customer.clone()).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, customer = %id, "customer added");
    let place = [(header::LOCATION, format!("/api/v1/customers/{id}"))];
    Ok((StatusCode::CREATED, place, Json(customer.into())))
}

/// Read a customer
#[utoipa::path(
    get,
    path = "/api/v1/customers/{customer}",
    operation_id = "showCustomer",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer’s id.")),
    security(("token" = ["read"])),
    responses((status = 200, description = "The customer.", body = Customer))
)]
pub(super) async fn show(
    State(panel): State<Panel>,
    _: ByReader,
    Path(customer): Path<String>,
) -> Result<Json<Customer>, ApiRefusal> {
    Ok(Json(fetch(&panel, &customer).await?.into()))
}

/// Change a customer
///
/// All of it: what is left out is taken away.
#[utoipa::path(
    put,
    path = "/api/v1/customers/{customer}",
    operation_id = "replaceCustomer",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer’s id.")),
    request_body = CustomerInput,
    security(("token" = ["write"])),
    responses((status = 200, description = "The customer as it is now.", body = Customer))
)]
pub(super) async fn replace(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(customer): Path<String>,
    Body(input): Body<CustomerInput>,
) -> Result<Json<Customer>, ApiRefusal> {
    let existing = fetch(&panel, &customer).await?;
    let customer = input.parse(existing.id)?;
    caller.actor.store(&panel).customer_save(customer.clone()).await?;
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, customer = %customer.id, "customer changed");
    Ok(Json(customer.into()))
}

/// A gateway that a customer owns for some time.
#[derive(Serialize, ToSchema)]
pub(super) struct Commission {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// The gateway.
    gateway: String,
    /// From this instant on.
    from: Utc,
    /// Before this instant; null: for as long as nobody ends it.
    until: Option<Utc>,
    /// `planned`, `current` or `ended`.
    state: &'static str,
}

impl Commission {
    fn of(commission: &domain::Commission, now: Timestamp) -> Self {
        Self {
            id: commission.id.to_string(),
            gateway: commission.gateway.to_string(),
            from: commission.window.from.into(),
            until: utc(commission.window.until),
            state: match CommissionState::of(commission.window, now) {
                CommissionState::Planned => "planned",
                CommissionState::Current => "current",
                CommissionState::Ended => "ended",
            },
        }
    }
}

/// List what a customer owns
///
/// Now, in times to come and in the past.
#[utoipa::path(
    get,
    path = "/api/v1/customers/{customer}/commissions",
    operation_id = "listCommissions",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer’s id."), Part),
    security(("token" = ["read"])),
    responses((status = 200, description = "A part of the list.", body = Page<Commission>))
)]
pub(super) async fn commissions(
    State(panel): State<Panel>,
    _: ByReader,
    Path(customer): Path<String>,
    Asked(part): Asked<Part>,
) -> Result<Json<Page<Commission>>, ApiRefusal> {
    let customer = fetch(&panel, &customer).await?;
    let (all, now) = (panel.store().commission_list_by_customer(customer.id).await?, panel.now());
    cut("commissions", &part, all, |commission| commission.id, |commission| Commission::of(&commission, now)).map(Json)
}

/// What a customer is to own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommissionInput {
    /// The gateway, which is commissioned.
    #[schema(example = "gw-0001")]
    gateway: String,
    /// From this instant on, RFC 3339.
    #[schema(format = DateTime, example = "2026-06-18T00:00:00+02:00")]
    from: String,
    /// Before this instant, RFC 3339; for as long as nobody ends it where nothing is said.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Commission a gateway to a customer
///
/// The customer sees its data of that time, and nothing once that has ended.
#[utoipa::path(
    post,
    path = "/api/v1/customers/{customer}/commissions",
    operation_id = "createCommission",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer’s id.")),
    request_body = CommissionInput,
    security(("token" = ["write"])),
    responses((status = 201, description = "The commission.", body = Commission))
)]
pub(super) async fn commission(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path(customer): Path<String>,
    Body(input): Body<CommissionInput>,
) -> Result<(StatusCode, Json<Commission>), ApiRefusal> {
    let customer = fetch(&panel, &customer).await?;
    let gateways = panel.store().gateway_list().await?;
    let mut problems = Problems::default();
    let gateway = ownable(&gateways, &input.gateway, &mut problems);
    let from = parse_instant("from", &input.from, &mut problems);
    let until = match &input.until {
        None => Some(None),
        Some(text) => parse_instant("until", text, &mut problems).map(Some),
    };
    let window = owned_window(from, until, &mut problems);
    let (Some(gateway), Some(window)) = (gateway, window) else { return Err(ApiRefusal::fields(&problems, &[])) };
    match add_commission(&panel, &caller.actor, customer.id, gateway.id.clone(), window).await? {
        Ok(made) => Ok((StatusCode::CREATED, Json(Commission::of(&made, panel.now())))),
        Err(taken) => Err(ApiRefusal::conflict(taken)),
    }
}

/// End a commission
///
/// Now; one that has not begun is taken back.
#[utoipa::path(
    post,
    path = "/api/v1/customers/{customer}/commissions/{commission}/end",
    operation_id = "endCommission",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer’s id."),
        ("commission" = String, Path, description = "The commission’s id.")
    ),
    security(("token" = ["write"])),
    responses((status = 204, description = "It has ended, or is taken back."))
)]
pub(super) async fn end_commission(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    Path((customer, commission)): Path<(String, String)>,
) -> Result<StatusCode, ApiRefusal> {
    let customer = fetch(&panel, &customer).await?;
    stop_commission(&panel, &caller.actor, customer.id, &commission).await?;
    Ok(StatusCode::NO_CONTENT)
}
