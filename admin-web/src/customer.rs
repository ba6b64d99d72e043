//! Customers: who they are, who signs in for them, what they own and for how
//! long.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{
    Commission, CommissionId, Customer, CustomerId, EmailAddress, GatewayId, GatewayState, Location, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{GatewayRecord, StoreError};
use serde::Deserialize;

use crate::access::{Actor, Owner, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, local_text, parse_local, parse_name, parse_optional_local};
use crate::panel::Panel;
use crate::people::{self, Person, Way, add_problems};
use crate::shell::{Done, Section, Shell, encode};
use crate::users::Rights;
use crate::{letters, token};

struct CustomerRow {
    path: String,
    name: String,
    email: String,
    gateways: usize,
    people: usize,
}

#[derive(Template, WebTemplate)]
#[template(path = "customers.html")]
struct CustomersPage {
    shell: Shell,
    rows: Vec<CustomerRow>,
}

/// `GET /customers`
pub(crate) async fn list(State(panel): State<Panel>, Reader(actor): Reader) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Customers).await?;
    let now = panel.now();
    let commissions = panel.store().commission_list().await?;
    let users = panel.store().user_list().await?;
    let row = |customer: Customer| CustomerRow {
        path: format!("/customers/{}", customer.id),
        gateways: commissions.iter().filter(|c| c.customer == customer.id && c.window.contains(now)).count(),
        people: users.iter().filter(|user| user.customer == Some(customer.id)).count(),
        email: customer.email.map(|email| email.to_string()).unwrap_or_default(),
        name: customer.name,
    };
    let rows = panel.store().customer_list().await?.into_iter().map(row).collect();
    Ok(CustomersPage { shell, rows }.into_response())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CustomerForm {
    pub(crate) name: String,
    pub(crate) email: String,
}

impl CustomerForm {
    pub(crate) fn parse(&self, id: CustomerId) -> Result<Customer, Problems> {
        let mut problems = Problems::default();
        let name = problems.note("name", parse_name(&self.name).map_err(|problem| format!("the name {problem}")));
        let email = match self.email.trim() {
            "" => Some(None),
            text => problems.note("email", EmailAddress::parse(text)).map(Some),
        };
        match (name, email) {
            (Some(name), Some(email)) => Ok(Customer { id, name, email }),
            _ => Err(problems),
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "customer-new.html")]
struct NewCustomerPage {
    shell: Shell,
    form: CustomerForm,
    problems: Problems,
}

/// `GET /customers/new`
pub(crate) async fn new(State(panel): State<Panel>, Staff(actor): Staff) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Customers).await?;
    Ok(NewCustomerPage { shell, form: CustomerForm::default(), problems: Problems::default() }.into_response())
}

/// `POST /customers/new`
pub(crate) async fn create(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<CustomerForm>,
) -> Result<Response, Refusal> {
    let id = CustomerId::new(token::fresh_uuid(panel.now()));
    match form.parse(id) {
        Ok(customer) => {
            actor.store(&panel).customer_save(customer).await?;
            tracing::info!(user = %actor.user.id, customer = %id, "customer added");
            Ok(Redirect::to(&format!("/customers/{id}")).into_response())
        }
        Err(problems) => {
            let shell = Shell::of(&panel, &actor, Section::Customers).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, NewCustomerPage { shell, form, problems }).into_response())
        }
    }
}

struct CommissionRow {
    id: CommissionId,
    gateway: String,
    gateway_path: String,
    from: String,
    until: String,
    state: CommissionState,
}

#[derive(PartialEq, Eq, Clone, Copy)]
pub(crate) enum CommissionState {
    Planned,
    Current,
    Ended,
}

impl CommissionState {
    pub(crate) fn of(window: TimeWindow, now: Timestamp) -> Self {
        match window {
            window if window.contains(now) => Self::Current,
            window if window.from > now => Self::Planned,
            _ => Self::Ended,
        }
    }
}

struct Choice {
    value: String,
    label: String,
}

/// What was typed into one of the page's forms.
#[derive(Default)]
struct Typed {
    customer: Option<CustomerForm>,
    commission: CommissionForm,
    invitation: InvitationForm,
}

#[derive(Template, WebTemplate)]
#[template(path = "customer.html")]
struct CustomerPage {
    shell: Shell,
    path: String,
    name: String,
    form: CustomerForm,
    commissions: Vec<CommissionRow>,
    choices: Vec<Choice>,
    commission: CommissionForm,
    people: Vec<Person>,
    invitation: InvitationForm,
    can_send: bool,
    problems: Problems,
}

/// `GET /customers/{customer}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(customer): Path<String>,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let customer = fetch(&panel, &customer).await?;
    let page = page(&panel, &actor, customer, Typed::default(), Problems::default()).await?;
    Ok(CustomerPage { shell: page.shell.saying(&done), ..page }.into_response())
}

pub(crate) async fn fetch(panel: &Panel, customer: &str) -> Result<Customer, Refusal> {
    let customer: CustomerId = read_id(customer)?;
    Ok(panel.store().customer_fetch(customer).await?)
}

async fn refused(
    panel: &Panel,
    actor: &Actor,
    customer: Customer,
    typed: Typed,
    problems: Problems,
) -> Result<Response, Refusal> {
    let page = page(panel, actor, customer, typed, problems).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    customer: Customer,
    typed: Typed,
    problems: Problems,
) -> Result<CustomerPage, Refusal> {
    let shell = Shell::of(panel, actor, Section::Customers).await?;
    let now = panel.now();
    let gateways = panel.store().gateway_list().await?;
    let locations = panel.store().location_list().await?;
    let commissions = panel.store().commission_list_by_customer(customer.id).await?;
    let row = |commission: &Commission| {
        let gateway = gateways.iter().find(|gateway| gateway.id == commission.gateway);
        let zone = gateway.and_then(|gateway| zone_at(gateway, &locations)).unwrap_or(&shell.settings.zone);
        CommissionRow {
            id: commission.id,
            gateway: gateway.map_or_else(|| commission.gateway.to_string(), |gateway| gateway.name().to_owned()),
            gateway_path: format!("/gateways/{}", encode(commission.gateway.as_str())),
            from: local_text(commission.window.from, zone),
            until: commission.window.until.map(|until| local_text(until, zone)).unwrap_or_default(),
            state: CommissionState::of(commission.window, now),
        }
    };
    let users = panel.store().user_list().await?;
    let (this, guarded) = ([customer.clone()], panel.store().second_factor_users().await?);
    let people = users.iter().filter(|user| user.customer == Some(customer.id));
    Ok(CustomerPage {
        path: format!("/customers/{}", customer.id),
        commissions: commissions.iter().map(row).collect(),
        choices: gateways
            .iter()
            .filter(|gateway| gateway.state == GatewayState::Commissioned)
            .map(|g| choice(g, &locations))
            .collect(),
        people: people.map(|user| Person::of(user, guarded.contains(&user.id), &this, &shell, actor)).collect(),
        form: typed.customer.unwrap_or_else(|| CustomerForm {
            name: customer.name.clone(),
            email: customer.email.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        name: customer.name,
        commission: typed.commission,
        invitation: typed.invitation,
        can_send: letters::can_send_links(panel),
        problems,
        shell,
    })
}

fn zone_at<'a>(gateway: &GatewayRecord, locations: &'a [Location]) -> Option<&'a Zone> {
    locations.iter().find(|location| Some(location.id) == gateway.location).map(|location| &location.zone)
}

fn choice(gateway: &GatewayRecord, locations: &[Location]) -> Choice {
    let location = locations.iter().find(|location| Some(location.id) == gateway.location);
    let place = location.map(|location| format!(" · {} ({})", location.name, location.zone)).unwrap_or_default();
    Choice { value: gateway.id.to_string(), label: format!("{}{place}", gateway.name()) }
}

/// `POST /customers/{customer}/edit`
pub(crate) async fn save(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(customer): Path<String>,
    Form(form): Form<CustomerForm>,
) -> Result<Response, Refusal> {
    let existing = fetch(&panel, &customer).await?;
    match form.parse(existing.id) {
        Ok(customer) => {
            actor.store(&panel).customer_save(customer).await?;
            tracing::info!(user = %actor.user.id, customer = %existing.id, "customer changed");
            Ok(back(existing.id, "saved"))
        }
        Err(problems) => refused(&panel, &actor, existing, Typed { customer: Some(form), ..Typed::default() }, problems).await,
    }
}

fn back(customer: CustomerId, done: &str) -> Response {
    Redirect::to(&format!("/customers/{customer}?done={done}")).into_response()
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CommissionForm {
    gateway: String,
    from: String,
    until: String,
}

impl CommissionForm {
    fn parse(
        &self,
        gateways: &[GatewayRecord],
        locations: &[Location],
        otherwise: &Zone,
    ) -> Result<(GatewayId, TimeWindow), Problems> {
        let mut problems = Problems::default();
        let Some(gateway) = ownable(gateways, &self.gateway, &mut problems) else { return Err(problems) };
        let zone = zone_at(gateway, locations).unwrap_or(otherwise);
        let from = problems.note("from", parse_local(&self.from, zone).map_err(|problem| format!("the beginning {problem}")));
        let until = parse_optional_local(&self.until, zone).map_err(|problem| format!("the end {problem}"));
        let until = problems.note("until", until);
        let window = owned_window(from, until, &mut problems).ok_or(problems)?;
        Ok((gateway.id.clone(), window))
    }
}

/// A gateway that somebody can own.
pub(crate) fn ownable<'a>(gateways: &'a [GatewayRecord], id: &str, problems: &mut Problems) -> Option<&'a GatewayRecord> {
    let gateway = gateways.iter().find(|gateway| gateway.id.as_str() == id);
    let gateway = gateway.filter(|gateway| gateway.state == GatewayState::Commissioned);
    problems.note("gateway", gateway.ok_or("choose a gateway"))
}

/// For how long, where both ends could be read.
pub(crate) fn owned_window(
    from: Option<Timestamp>,
    until: Option<Option<Timestamp>>,
    problems: &mut Problems,
) -> Option<TimeWindow> {
    let (from, until) = (from?, until?);
    if until.is_some_and(|until| until <= from) {
        problems.add("until", "It must end after it begins.");
        return None;
    }
    Some(TimeWindow { from, until })
}

/// Gives a customer a gateway for some time; where somebody else has it in part of that
/// time, answers who.
pub(crate) async fn add_commission(
    panel: &Panel,
    actor: &Actor,
    customer: CustomerId,
    gateway: GatewayId,
    window: TimeWindow,
) -> Result<Result<Commission, String>, Refusal> {
    let id = CommissionId::new(token::fresh_uuid(panel.now()));
    let new = Commission { id, customer, gateway, window };
    match actor.store(panel).commission_create(new.clone()).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => return Ok(Err(overlap(panel, &new.gateway, window).await?)),
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, %customer, gateway = %new.gateway, commission = %id, "gateway commissioned to customer");
    Ok(Ok(new))
}

/// `POST /customers/{customer}/commissions`
pub(crate) async fn commission(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(customer): Path<String>,
    Form(form): Form<CommissionForm>,
) -> Result<Response, Refusal> {
    let customer = fetch(&panel, &customer).await?;
    let gateways = panel.store().gateway_list().await?;
    let locations = panel.store().location_list().await?;
    let settings = panel.store().settings_fetch().await?;
    let (gateway, window) = match form.parse(&gateways, &locations, &settings.zone) {
        Ok(parsed) => parsed,
        Err(problems) => {
            return refused(&panel, &actor, customer, Typed { commission: form, ..Typed::default() }, problems).await;
        }
    };
    if let Err(taken) = add_commission(&panel, &actor, customer.id, gateway, window).await? {
        let mut problems = Problems::default();
        problems.add("gateway", taken);
        return refused(&panel, &actor, customer, Typed { commission: form, ..Typed::default() }, problems).await;
    }
    Ok(back(customer.id, "commissioned"))
}

/// Who owns the gateway in part of a window.
async fn overlap(panel: &Panel, gateway: &GatewayId, window: TimeWindow) -> Result<String, Refusal> {
    let commissions = panel.store().commission_list_by_gateway(gateway).await?;
    let taken = commissions.iter().find(|commission| commission.window.intersect(&window).is_some());
    let owner = match taken {
        Some(commission) => panel.store().customer_fetch(commission.customer).await?.name,
        None => "Somebody".to_owned(),
    };
    Ok(format!("{owner} owns this gateway in part of that time."))
}

/// `POST /customers/{customer}/commissions/{commission}/end`: now; one that has
/// not begun is taken back.
pub(crate) async fn end_commission(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path((customer, commission)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let customer = fetch(&panel, &customer).await?;
    let done = stop_commission(&panel, &actor, customer.id, &commission).await?;
    Ok(back(customer.id, done))
}

/// Ends a commission of a customer, or takes it back: answers what was done.
pub(crate) async fn stop_commission(
    panel: &Panel,
    actor: &Actor,
    customer: CustomerId,
    commission: &str,
) -> Result<&'static str, Refusal> {
    let commission: CommissionId = read_id(commission)?;
    let owned = panel.store().commission_list_by_customer(customer).await?;
    let found = owned.iter().find(|owned| owned.id == commission).ok_or(Refusal::NotFound)?;
    let now = panel.now();
    let done = match CommissionState::of(found.window, now) {
        CommissionState::Planned => {
            actor.store(panel).commission_cancel(commission, now).await?;
            "cancelled"
        }
        CommissionState::Current => {
            actor.store(panel).commission_end(commission, now).await?;
            "ended"
        }
        CommissionState::Ended => return Err(Refusal::Conflict("This commission has ended already.".to_owned())),
    };
    tracing::info!(user = %actor.user.id, %customer, %commission, done, "commission ended");
    Ok(done)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct InvitationForm {
    person: String,
    address: String,
    /// Which button it was sent by.
    way: String,
}

/// `POST /customers/{customer}/people`: sends the one-time link, or answers with it,
/// shown here and never again.
pub(crate) async fn invite(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(customer): Path<String>,
    headers: HeaderMap,
    Form(form): Form<InvitationForm>,
) -> Result<Response, Refusal> {
    let customer = fetch(&panel, &customer).await?;
    let mut problems = Problems::default();
    let name = problems.note("person", parse_name(&form.person).map_err(|problem| format!("the name {problem}")));
    let email = problems.note("address", EmailAddress::parse(&form.address));
    let (Some(name), Some(email)) = (name, email) else {
        return refused(&panel, &actor, customer, Typed { invitation: form, ..Typed::default() }, problems).await;
    };
    let (way, rights) = (Way::of(&panel, &form.way), Rights::of_customer(customer.id));
    match people::add(&panel, &actor, way, email, name, rights).await {
        Ok(added) => {
            let path = format!("/customers/{}", customer.id);
            added.answer(&panel, &actor, &headers, Section::Customers, &path).await
        }
        Err(error) => {
            let refusal = add_problems(error)?;
            problems.add("address", refusal.of("email"));
            refused(&panel, &actor, customer, Typed { invitation: form, ..Typed::default() }, problems).await
        }
    }
}
