//! People who sign in, for the owner: who they are, and their ways in.

mod rights;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Customer, CustomerId, EmailAddress, Location, Secret, Timestamp, UserId, Zone};
use heliograph_store::{LetterKind, StoreError, UserRecord, UserUpdate};
use serde::Deserialize;

use crate::access::{Actor, Owner};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, local_text, parse_name, sentence};
use crate::letters;
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell};
use crate::users::{self, AddUserError, Rights, last_day};

use rights::{PlaceChoice, RightsForm};

/// Somebody in a list.
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) role: &'static str,
    pub(crate) customer: Option<(CustomerId, String)>,
    pub(crate) has_password: bool,
    pub(crate) has_second_step: bool,
    pub(crate) is_me: bool,
    pub(crate) added: String,
    /// Where an installer works.
    pub(crate) places: String,
    /// The last day of an installer.
    pub(crate) until: String,
    /// Whether that is over.
    pub(crate) has_ended: bool,
}

impl Person {
    pub(crate) fn of(user: &UserRecord, has_second_step: bool, customers: &[Customer], shell: &Shell, actor: &Actor) -> Self {
        let customer = user.customer.and_then(|id| customers.iter().find(|customer| customer.id == id));
        Self {
            id: user.id,
            name: user.name.clone(),
            email: user.email.to_string(),
            role: user.role.as_str(),
            customer: customer.map(|customer| (customer.id, customer.name.clone())),
            has_password: user.password_hash.is_some(),
            has_second_step,
            is_me: user.id == actor.user.id,
            added: local_text(user.created, &shell.settings.zone),
            places: String::new(),
            until: String::new(),
            has_ended: false,
        }
    }

    /// With where they work and up to when, where they are installers.
    fn at_work(self, user: &UserRecord, locations: &[Location], shell: &Shell, now: Timestamp) -> Self {
        let Some(assignment) = &user.assignment else { return self };
        let here = locations.iter().filter(|location| assignment.locations().contains(&location.id));
        let names: Vec<&str> = here.map(|location| location.name.as_str()).collect();
        let until = last_day(assignment, &shell.settings.zone).strftime("%-d %b %Y").to_string();
        Self { places: some_of(&names), until, has_ended: !user.may_enter(now), ..self }
    }
}

/// The first few names, and how many more there are.
fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let some = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{some} and {} more", names.len() - SHOWN) } else { some }
}

#[derive(Template, WebTemplate)]
#[template(path = "people.html")]
struct PeoplePage {
    shell: Shell,
    people: Vec<Person>,
}

/// `GET /people`
pub(crate) async fn list(State(panel): State<Panel>, Owner(actor): Owner, Query(done): Query<Done>) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::People).await?.saying(&done);
    let customers = panel.store().customer_list().await?;
    let (users, guarded) = (panel.store().user_list().await?, panel.store().second_factor_users().await?);
    let (locations, now) = (panel.store().location_list().await?, panel.now());
    let person = |user: &UserRecord| {
        Person::of(user, guarded.contains(&user.id), &customers, &shell, &actor).at_work(user, &locations, &shell, now)
    };
    let people = users.iter().map(person).collect();
    Ok(PeoplePage { shell, people }.into_response())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PersonForm {
    name: String,
    email: String,
    #[serde(flatten)]
    rights: RightsForm,
    /// Which button it was sent by.
    way: String,
}

struct NewPerson {
    name: String,
    email: EmailAddress,
    rights: Rights,
}

impl PersonForm {
    fn parse(&self, locations: &[Location], zone: &Zone, now: Timestamp) -> Result<NewPerson, Problems> {
        let mut problems = Problems::default();
        let name = parse_person_name(&self.name, &mut problems);
        let email = problems.note("email", EmailAddress::parse(&self.email));
        let rights = self.rights.parse(locations, zone, now, &mut problems);
        match (name, email, rights) {
            (Some(name), Some(email), Some(rights)) => Ok(NewPerson { name, email, rights }),
            _ => Err(problems),
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "person-new.html")]
struct NewPersonPage {
    shell: Shell,
    form: PersonForm,
    customers: Vec<Customer>,
    places: Vec<PlaceChoice>,
    can_send: bool,
    problems: Problems,
}

/// `GET /people/new`
pub(crate) async fn new(State(panel): State<Panel>, Owner(actor): Owner) -> Result<Response, Refusal> {
    let form = PersonForm { rights: RightsForm::fresh(), ..PersonForm::default() };
    new_page(&panel, &actor, form, Problems::default(), StatusCode::OK).await
}

async fn new_page(
    panel: &Panel,
    actor: &Actor,
    form: PersonForm,
    problems: Problems,
    status: StatusCode,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::People).await?;
    let customers = panel.store().customer_list().await?;
    let places = form.rights.choices(&panel.store().location_list().await?);
    Ok((status, NewPersonPage { shell, form, customers, places, can_send: letters::can_send_links(panel), problems })
        .into_response())
}

/// `POST /people/new`: sends the one-time link, or answers with it, shown here and
/// never again.
pub(crate) async fn create(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    headers: HeaderMap,
    Form(form): Form<PersonForm>,
) -> Result<Response, Refusal> {
    let (locations, zone) = (panel.store().location_list().await?, panel.store().settings_fetch().await?.zone);
    let new = match form.parse(&locations, &zone, panel.now()) {
        Ok(new) => new,
        Err(problems) => return new_page(&panel, &actor, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    let way = Way::of(&panel, &form.way);
    match add(&panel, &actor, way, new.email.clone(), new.name.clone(), new.rights).await {
        Ok(added) => added.answer(&panel, &actor, &headers, Section::People, "/people").await,
        Err(error) => {
            let problems = add_problems(error)?;
            new_page(&panel, &actor, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await
        }
    }
}

/// How somebody who was added gets the link by which they choose a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By mail.
    Mail,
    /// The page shows it to whoever has added them.
    Shown,
}

impl Way {
    /// What a form's button says.
    pub(crate) fn of(panel: &Panel, button: &str) -> Self {
        if button == "mail" && letters::can_send_links(panel) { Self::Mail } else { Self::Shown }
    }
}

/// Somebody who was added.
pub(crate) struct Added {
    name: String,
    /// The link's token, where it is shown.
    token: Option<Secret>,
}

/// Adds somebody, and sends them a link or has one shown.
pub(crate) async fn add(
    panel: &Panel,
    actor: &Actor,
    way: Way,
    email: EmailAddress,
    name: String,
    rights: Rights,
) -> Result<Added, AddUserError> {
    let (store, now, role) = (actor.store(panel), panel.now(), rights.role);
    let (id, token) = match way {
        Way::Shown => {
            let added = users::add_user(&store, email, name.clone(), rights, None, now).await?;
            (added.id, added.one_time_link_token)
        }
        Way::Mail => {
            let user = users::add_without_way_in(&store, email, name.clone(), rights, now).await?;
            letters::order(panel, &store, &user, LetterKind::Invitation).await.map_err(AddUserError::Store)?;
            (user.id, None)
        }
    };
    tracing::info!(user = %actor.user.id, added = %id, role = role.as_str(), "user added");
    Ok(Added { name, token })
}

impl Added {
    /// Shows the link once, or says that it was sent.
    pub(crate) async fn answer(
        self,
        panel: &Panel,
        actor: &Actor,
        headers: &HeaderMap,
        section: Section,
        back: &str,
    ) -> Result<Response, Refusal> {
        match self.token {
            Some(token) => link_page(panel, Shell::of(panel, actor, section).await?, headers, &self.name, &token, back),
            None => Ok(Redirect::to(&format!("{back}?done=invited")).into_response()),
        }
    }
}

/// What of a refused addition belongs at a field; the rest is our failure.
pub(crate) fn add_problems(error: AddUserError) -> Result<Problems, Refusal> {
    let mut problems = Problems::default();
    match error {
        AddUserError::Name(problem) => problems.add("name", format!("The name {problem}.")),
        AddUserError::Taken(_) => problems.add("email", "Somebody signs in with this address already."),
        AddUserError::NoCustomer | AddUserError::CustomerAndRole => problems.add("customer", "There is no such customer."),
        AddUserError::NoLocation | AddUserError::AssignmentAndRole => problems.add("places", "There is no such location."),
        AddUserError::Store(error) => return Err(error.into()),
        AddUserError::Hash(error) => return Err(error.into()),
        AddUserError::Password(problem) => problems.add("password", problem.to_string()),
    }
    Ok(problems)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct EditForm {
    name: String,
    #[serde(flatten)]
    rights: RightsForm,
}

#[derive(Template, WebTemplate)]
#[template(path = "person-edit.html")]
struct EditPage {
    shell: Shell,
    form: EditForm,
    /// Nobody changes their own role, so that an owner remains who knows it.
    person: Person,
    path: String,
    customers: Vec<Customer>,
    places: Vec<PlaceChoice>,
    can_send: bool,
    problems: Problems,
}

/// `GET /people/{user}/edit`
pub(crate) async fn edit(State(panel): State<Panel>, Owner(actor): Owner, Path(user): Path<String>) -> Result<Response, Refusal> {
    let user = panel.store().user_fetch(read_id(&user)?).await?;
    let zone = panel.store().settings_fetch().await?.zone;
    let form = EditForm { name: user.name.clone(), rights: RightsForm::of(&user, &zone) };
    edit_page(&panel, &actor, &user, form, Problems::default(), StatusCode::OK).await
}

async fn edit_page(
    panel: &Panel,
    actor: &Actor,
    user: &UserRecord,
    form: EditForm,
    problems: Problems,
    status: StatusCode,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::People).await?;
    let customers = panel.store().customer_list().await?;
    let has_second_step = panel.store().second_factor_fetch(user.id).await?.is_some();
    let locations = panel.store().location_list().await?;
    let person = Person::of(user, has_second_step, &customers, &shell, actor).at_work(user, &locations, &shell, panel.now());
    let (path, places) = (format!("/people/{}/edit", user.id), form.rights.choices(&locations));
    Ok((status, EditPage { shell, form, person, path, customers, places, can_send: letters::can_send_links(panel), problems })
        .into_response())
}

/// `POST /people/{user}/edit`: counts from their next request on.
pub(crate) async fn save(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(user): Path<String>,
    Form(form): Form<EditForm>,
) -> Result<Response, Refusal> {
    let user = panel.store().user_fetch(read_id(&user)?).await?;
    let mut problems = Problems::default();
    let name = parse_person_name(&form.name, &mut problems);
    let rights = match user.id == actor.user.id {
        true => Some(Rights::held_by(&user)),
        false => {
            let (locations, zone) = (panel.store().location_list().await?, panel.store().settings_fetch().await?.zone);
            let now = RightsForm::of(&user, &zone);
            if form.rights.seen != now.seen {
                problems.add("role", "Somebody has changed what this person may do since this page was shown. Look again.");
                let form = EditForm { name: form.name, rights: now };
                return edit_page(&panel, &actor, &user, form, problems, StatusCode::CONFLICT).await;
            }
            // What was not changed stays to the instant, also where it is over.
            match form.rights == now {
                true => Some(Rights::held_by(&user)),
                false => form.rights.parse(&locations, &zone, panel.now(), &mut problems),
            }
        }
    };
    let (Some(name), Some(Rights { role, customer, assignment })) = (name, rights) else {
        return edit_page(&panel, &actor, &user, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    match actor.store(&panel).user_update(user.id, UserUpdate { name, role, customer, assignment }).await {
        Ok(()) => {}
        Err(StoreError::NotFound("customer")) => {
            problems.add("customer", "There is no such customer.");
            return edit_page(&panel, &actor, &user, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await;
        }
        // Of two owners who make each other something else at once, one remains.
        Err(StoreError::Conflict(problem)) => {
            problems.add("role", sentence(&problem));
            return edit_page(&panel, &actor, &user, form, problems, StatusCode::UNPROCESSABLE_ENTITY).await;
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, changed = %user.id, role = role.as_str(), "user changed");
    Ok(Redirect::to("/people?done=saved").into_response())
}

fn parse_person_name(name: &str, problems: &mut Problems) -> Option<String> {
    problems.note("name", parse_name(name).map_err(|problem| format!("the name {problem}")))
}

#[derive(Template, WebTemplate)]
#[template(path = "link.html")]
struct LinkPage {
    shell: Shell,
    name: String,
    link: String,
    back: String,
}

/// The page that shows a one-time link once.
pub(crate) fn link_page(
    panel: &Panel,
    shell: Shell,
    headers: &HeaderMap,
    name: &str,
    token: &Secret,
    back: &str,
) -> Result<Response, Refusal> {
    let link = address_of(panel, headers, &format!("/welcome/{}", token.reveal()));
    Ok(LinkPage { shell, name: name.to_owned(), link, back: back.to_owned() }.into_response())
}

/// The whole address of a path. Where no public one is set, the one that this browser
/// uses will do.
pub(crate) fn address_of(panel: &Panel, headers: &HeaderMap, path: &str) -> String {
    let link = panel.link(path);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) if link.starts_with('/') => format!("http://{host}{link}"),
        _ => link,
    }
}

/// `POST /people/{user}/link`: a new one-time link for somebody who has lost
/// the password or the first link.
pub(crate) async fn link(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let user = panel.store().user_fetch(read_id(&user)?).await?;
    let token = users::link_user(&actor.store(&panel), user.id, panel.now()).await?;
    tracing::info!(user = %actor.user.id, linked = %user.id, "one-time link made");
    let shell = Shell::of(&panel, &actor, Section::People).await?;
    link_page(&panel, shell, &headers, &user.name, &token, "/people")
}

/// `POST /people/{user}/invite`: the same by mail.
pub(crate) async fn invite(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(user): Path<String>,
) -> Result<Response, Refusal> {
    let user = panel.store().user_fetch(read_id(&user)?).await?;
    if !letters::can_send_links(&panel) {
        return Err(Refusal::Conflict(
            "This panel sends no links by mail: no mail server is set, or not where the panel is.".to_owned(),
        ));
    }
    letters::order(&panel, &actor.store(&panel), &user, LetterKind::Invitation).await?;
    tracing::info!(user = %actor.user.id, invited = %user.id, "one-time link sent");
    Ok(Redirect::to("/people?done=invited").into_response())
}

/// `POST /people/{user}/sign-out`: for somebody who has lost a phone or left one open.
/// Their API tokens end as well: they may have lain there.
pub(crate) async fn sign_out(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(user): Path<String>,
) -> Result<Response, Refusal> {
    let user = panel.store().user_fetch(read_id(&user)?).await?;
    actor.store(&panel).user_sign_out(user.id).await?;
    tracing::info!(user = %actor.user.id, signed_out = %user.id, "somebody signed out everywhere");
    Ok(Redirect::to("/people?done=signed-out-of").into_response())
}

/// `POST /people/{user}/remove`: never oneself, so that an owner remains.
pub(crate) async fn remove(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(user): Path<String>,
) -> Result<Response, Refusal> {
    let user: UserId = read_id(&user)?;
    if user == actor.user.id {
        return Err(Refusal::Conflict("You cannot remove yourself. Another owner can.".to_owned()));
    }
    actor.store(&panel).user_delete(user).await?;
    tracing::info!(user = %actor.user.id, removed = %user, "user removed");
    Ok(Redirect::to("/people?done=removed").into_response())
}
