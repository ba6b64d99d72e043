//! The API: every operation asked by every kind of token, what it says of itself, and what
//! it refuses.

mod changes;
mod limits;
mod lists;

use std::collections::{BTreeSet, HashSet};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use heliograph_domain::{ApiScope, ApiTokenId, Customer, CustomerId, OutboxId, ProviderId, UserId};
use heliograph_store::{ApiToken, Letter, OutboxKey, OutboxNew, ProviderStore, Store, StoreUrl};
use serde_json::{Value, json};

use crate::world::{
    ANAS, Answer, BENS, BENS_COMMISSION, COMMISSION, HOST, LOCATION, MAIL, UNKNOWN, Who, World, at, digest, id, request, start,
};

const DAY_MS: i64 = 86_400_000;

/// Whose token asks. But for the one that only reads, each is for everything, so that it is
/// the role which bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Nobody,
    Expired,
    OtherProvider,
    ReadOnlyOwner,
    Customer,
    OtherCustomer,
    Viewer,
    Operator,
    Owner,
}

impl By {
    const ALL: [Self; 9] = [
        Self::Nobody,
        Self::Expired,
        Self::OtherProvider,
        Self::ReadOnlyOwner,
        Self::Customer,
        Self::OtherCustomer,
        Self::Viewer,
        Self::Operator,
        Self::Owner,
    ];

    fn token(self) -> String {
        format!("hgt_of-{self:?}")
    }

    /// The number of whoever made it.
    const fn user(self) -> u128 {
        match self {
            Self::Operator => 2,
            Self::Viewer => 3,
            Self::Customer => 4,
            Self::OtherCustomer => 5,
            _ => 1,
        }
    }
}

/// Gives everybody their token.
pub(crate) async fn with_tokens(world: &World) {
    let url = StoreUrl::parse(&format!("sqlite:{}?ack=process-crash", world.folder.path().display())).unwrap();
    let other = Store::open(url).unwrap().provider(&ProviderId::parse("meridian").unwrap()).unwrap();
    for (number, by) in (1..).zip(By::ALL) {
        let store = match by {
            By::Nobody => continue,
            By::OtherProvider => &other,
            _ => &world.store,
        };
        give(store, number, by).await;
    }
    other.close().await;
}

async fn give(store: &ProviderStore, number: u128, by: By) {
    let scopes = if by == By::ReadOnlyOwner { vec![ApiScope::Read] } else { ApiScope::ALL.to_vec() };
    let ends = if by == By::Expired { start() } else { start().plus_millis(90 * DAY_MS) };
    let (id, user) = (ApiTokenId::new(id(9, number)), UserId::new(id(5, by.user())));
    let made = start().plus_millis(-DAY_MS);
    let token = ApiToken::new((id, user), format!("{by:?}"), scopes, digest(&by.token()), (made, ends));
    let password = store.user_fetch(user).await.unwrap().password_hash;
    store.api_token_create(token, password).await.unwrap();
}

async fn world() -> World {
    let world = World::new().await;
    with_tokens(&world).await;
    world
}

fn asked(method: &Method, path: &str, token: &str) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    if token.is_empty() { request } else { request.header(header::AUTHORIZATION, format!("Bearer {token}")) }
}

/// What a token asks, with a body where there is one.
pub(crate) async fn ask_with(world: &World, token: &str, method: &Method, path: &str, body: Option<&Value>) -> Answer {
    let request = asked(method, path, token);
    let request = match body {
        None => request.body(Body::empty()),
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
    };
    world.send(request.unwrap()).await
}

async fn ask(world: &World, by: By, method: &Method, path: &str, body: Option<&Value>) -> Answer {
    let token = if by == By::Nobody { String::new() } else { by.token() };
    ask_with(world, &token, method, path, body).await
}

async fn get(world: &World, by: By, path: &str) -> Value {
    let answer = ask(world, by, &Method::GET, path, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// The body of a refusal without the id of its request.
fn problem(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    let mut problem: Value = serde_json::from_str(&answer.body).unwrap();
    let request = problem.as_object_mut().unwrap().remove("request_id").unwrap();
    assert_eq!(request, answer.header("x-request-id"));
    assert_eq!(problem["status"], answer.status.as_u16());
    problem
}

/// What each of [`By::ALL`] gets; 2 stands for anything done.
type Row = [u16; 9];

const ANYBODY: Row = [401, 401, 401, 2, 2, 2, 2, 2, 2];
const HERS: Row = [401, 401, 401, 2, 2, 404, 2, 2, 2];
const READERS: Row = [401, 401, 401, 2, 404, 404, 2, 2, 2];
const STAFF: Row = [401, 401, 401, 403, 404, 404, 403, 2, 2];
const OWNER: Row = [401, 401, 401, 403, 404, 404, 403, 403, 2];
const NOTHING: Row = [401, 401, 401, 404, 404, 404, 404, 404, 404];
const STAFF_NOTHING: Row = [401, 401, 401, 403, 404, 404, 403, 404, 404];

struct Asked {
    method: Method,
    pattern: &'static str,
    path: String,
    body: Option<Value>,
    expected: Row,
}

fn table() -> Vec<Asked> {
    let mut rows = Vec::new();
    let mut read = |pattern: &'static str, path: &str, expected: Row| {
        rows.push(Asked { method: Method::GET, pattern, path: format!("/api/v1{path}"), body: None, expected });
    };
    read("/provider", "/provider", ANYBODY);
    read("/token", "/token", ANYBODY);
    read("/locations", "/locations", READERS);
    read("/gateways", "/gateways", ANYBODY);
    read("/customers", "/customers", READERS);
    read("/settings", "/settings", READERS);
    read("/quarantine", "/quarantine", READERS);
    read("/mails", "/mails", READERS);
    read("/people", "/people", OWNER);
    read("/audit", "/audit", OWNER);
    for (pattern, more) in [
        ("/gateways/{gateway}", ""),
        ("/gateways/{gateway}/sensors", "/sensors"),
        ("/gateways/{gateway}/latest", "/latest"),
        ("/gateways/{gateway}/report", "/report?period=month"),
        ("/gateways/{gateway}/readings", "/readings?from=2026-06-18T00:00:00Z"),
    ] {
        read(pattern, &format!("/gateways/gw-1{more}"), HERS);
        read(pattern, &format!("/gateways/gw-9{more}"), NOTHING);
        read(pattern, &format!("/gateways/gw-3{more}"), READERS);
    }
    for (pattern, known, more, row) in [
        ("/locations/{location}", LOCATION, "", READERS),
        ("/locations/{location}/report", LOCATION, "/report", READERS),
        ("/locations/{location}/expected-yield", LOCATION, "/expected-yield", READERS),
        ("/customers/{customer}", ANAS, "", READERS),
        ("/customers/{customer}/commissions", ANAS, "/commissions", READERS),
    ] {
        let base = pattern.split('{').next().unwrap();
        read(pattern, &format!("{base}{known}{more}"), row);
        read(pattern, &format!("{base}{UNKNOWN}{more}"), NOTHING);
        read(pattern, &format!("{base}none{more}"), NOTHING);
    }
    let mut act = |method: Method, pattern: &'static str, path: &str, body: Option<Value>, expected: Row| {
        rows.push(Asked { method, pattern, path: format!("/api/v1{path}"), body, expected });
    };
    let (post, put) = (Method::POST, Method::PUT);
    let location = Some(json!({ "name": "New", "zone": "UTC", "latitude_deg": 42.5, "longitude_deg": -2.8 }));
    act(post.clone(), "/locations", "/locations", location.clone(), STAFF);
    act(put.clone(), "/locations/{location}", &format!("/locations/{LOCATION}"), location.clone(), STAFF);
    act(put.clone(), "/locations/{location}", &format!("/locations/{UNKNOWN}"), location, STAFF_NOTHING);
    let (yields, months) = ("/locations/{location}/expected-yield", Some(json!({ "kwh_by_month": vec![3_000.0; 12] })));
    act(put.clone(), yields, &format!("/locations/{LOCATION}/expected-yield"), months.clone(), STAFF);
    act(put.clone(), yields, &format!("/locations/{UNKNOWN}/expected-yield"), months, STAFF_NOTHING);
    let new = Some(json!({ "gateway": "gw-3", "location": LOCATION, "label": "Roof" }));
    act(post.clone(), "/gateways", "/gateways", new, STAFF);
    let label = Some(json!({ "label": "Roof" }));
    act(Method::PATCH, "/gateways/{gateway}", "/gateways/gw-1", label.clone(), STAFF);
    act(Method::PATCH, "/gateways/{gateway}", "/gateways/gw-9", label, STAFF_NOTHING);
    let to = Some(json!({ "location": LOCATION }));
    act(post.clone(), "/gateways/{gateway}/move", "/gateways/gw-1/move", to.clone(), STAFF);
    act(post.clone(), "/gateways/{gateway}/move", "/gateways/gw-9/move", to, STAFF_NOTHING);
    act(post.clone(), "/gateways/{gateway}/retire", "/gateways/gw-1/retire", None, STAFF);
    act(post.clone(), "/gateways/{gateway}/retire", "/gateways/gw-9/retire", None, STAFF_NOTHING);
    let customer = Some(json!({ "name": "New", "email": "new@example.com" }));
    act(post.clone(), "/customers", "/customers", customer.clone(), STAFF);
    act(put.clone(), "/customers/{customer}", &format!("/customers/{ANAS}"), customer.clone(), STAFF);
    act(put.clone(), "/customers/{customer}", &format!("/customers/{UNKNOWN}"), customer, STAFF_NOTHING);
    let window = Some(json!({ "gateway": "gw-1", "from": "2026-06-01T00:00:00Z", "until": "2026-06-02T00:00:00Z" }));
    let commissions = "/customers/{customer}/commissions";
    act(post.clone(), commissions, &format!("/customers/{BENS}/commissions"), window.clone(), STAFF);
    act(post.clone(), commissions, &format!("/customers/{UNKNOWN}/commissions"), window, STAFF_NOTHING);
    let end = "/customers/{customer}/commissions/{commission}/end";
    act(post.clone(), end, &format!("/customers/{ANAS}/commissions/{COMMISSION}/end"), None, STAFF);
    act(post.clone(), end, &format!("/customers/{ANAS}/commissions/{BENS_COMMISSION}/end"), None, STAFF_NOTHING);
    act(post, end, &format!("/customers/{ANAS}/commissions/{UNKNOWN}/end"), None, STAFF_NOTHING);
    act(put, "/settings", "/settings", Some(settings("Sunrise")), [401, 401, 401, 403, 404, 404, 403, 428, 428]);
    rows
}

fn settings(name: &str) -> Value {
    json!({
        "name": name, "colour": "#112233", "zone": "Europe/Madrid", "currency": "EUR", "tariff_per_kwh": "0.1",
        "co2_kg_per_kwh": "0.2", "unknown_gateways": "refused", "max_ahead_hours": 24, "retention_days": null
    })
}

async fn description(world: &World) -> Value {
    let answer = ask(world, By::Nobody, &Method::GET, "/api/v1/openapi.json", None).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    serde_json::from_str(&answer.body).unwrap()
}

/// Every operation of the description.
fn operations(description: &Value) -> Vec<(Method, String, Value)> {
    let of_path = |(path, item): (&String, &Value)| {
        let verbs = item.as_object().unwrap().clone().into_iter();
        let path = path.clone();
        verbs.map(move |(verb, operation)| (verb.to_uppercase().parse().unwrap(), path.clone(), operation)).collect::<Vec<_>>()
    };
    description["paths"].as_object().unwrap().iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_operation_stands_in_the_table() {
    let world = world().await;
    let described = operations(&description(&world).await);
    let described: HashSet<(Method, String)> = described.into_iter().map(|(method, path, _)| (method, path)).collect();
    let covered: HashSet<(Method, String)> =
        table().into_iter().map(|row| (row.method, format!("/api/v1{}", row.pattern))).collect();
    let missing: Vec<_> = described.difference(&covered).collect();
    assert!(missing.is_empty(), "who may use these? add them to the table: {missing:?}");
    let gone: Vec<_> = covered.difference(&described).collect();
    assert!(gone.is_empty(), "these are not described: {gone:?}");
}

#[tokio::test]
async fn every_token_gets_what_is_its_own_and_nothing_else() {
    let made = World::new().await;
    with_tokens(&made).await;
    let past = made.into_past().await;
    let mut wrong = Vec::new();
    for row in table() {
        let mut shared = None;
        for (by, expected) in By::ALL.into_iter().zip(row.expected) {
            // What changes something is asked in a world of its own.
            let fresh = (row.method != Method::GET || shared.is_none()).then(|| World::after(past.path()));
            if let Some(World { store, .. }) = fresh.and_then(|fresh| shared.replace(fresh)) {
                store.close().await;
            }
            let world = shared.as_ref().unwrap();
            let answer = ask(world, by, &row.method, &row.path, row.body.as_ref()).await;
            let got = if answer.status.is_success() { 2 } else { answer.status.as_u16() };
            if got != expected {
                wrong.push(format!("{} {} by {by:?}: {got}, expected {expected}: {}", row.method, row.path, answer.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_is_somebody_elses_looks_like_what_is_not_there() {
    let world = world().await;
    let nowhere = problem(&ask(&world, By::Customer, &Method::GET, "/api/v1/no/such/thing", None).await);
    assert_eq!(nowhere["type"], format!("http://{HOST}/api/v1/#not-found"));
    let guesses = || (0..5).map(|_| uuid::Uuid::new_v4().to_string());
    let mut tried = 0;
    for (method, pattern, operation) in operations(&description(&world).await) {
        let (before, after) = match pattern.split_once('{') {
            Some((before, rest)) => (before.to_owned(), rest.split_once('}').unwrap().1.replace("{commission}", COMMISSION)),
            None => continue,
        };
        let theirs = ["gw-2".to_owned(), LOCATION.to_owned(), BENS.to_owned(), ANAS.to_owned(), "%2e%2e%2f".to_owned()];
        for id in theirs.into_iter().chain(guesses()) {
            let more = if operation["operationId"] == "listReadings" { "?from=2026-06-18T00:00:00Z" } else { "" };
            let path = format!("{before}{id}{after}{more}");
            let answer = ask(&world, By::Customer, &method, &path, Some(&json!({}))).await;
            assert_eq!(problem(&answer), nowhere, "{method} {path}");
            tried += 1;
        }
        // A token has a hundred requests at once.
        world.pass(1);
    }
    assert!(tried >= 150, "{tried} were tried");
    // Those of the provider's own people, too.
    for row in table().into_iter().filter(|row| row.expected == NOTHING || row.expected == STAFF_NOTHING) {
        let answer = ask(&world, By::Operator, &row.method, &row.path, row.body.as_ref()).await;
        assert_eq!(problem(&answer), nowhere, "{} {}", row.method, row.path);
    }
    let gateways = get(&world, By::Customer, "/api/v1/gateways").await;
    let ids: Vec<&Value> = gateways["items"].as_array().unwrap().iter().map(|gateway| &gateway["id"]).collect();
    assert_eq!((ids, &gateways["items"][0]["location"]), (vec![&json!("gw-1")], &Value::Null));
}

#[tokio::test]
async fn the_description_is_whole_and_of_every_route() {
    let world = world().await;
    let description = description(&world).await;
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!((&description["info"]["title"], &description["info"]["version"]), (&json!("Heliograph API"), &json!("1.0.0")));
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let tags: HashSet<&Value> = description["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    // So that it is held up by none of those that have no token.
    get(&world, By::Owner, "/api/v1/token").await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&description) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(tag)), "{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')) && responses.contains_key("default"), "{method} {path}");
        let scopes = operation["security"][0]["token"].as_array().unwrap();
        assert!(scopes.iter().all(|scope| ApiScope::parse(scope.as_str().unwrap()).is_ok()) && scopes.len() == 1, "{path}");
        let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let said = parameters.iter().filter(|parameter| parameter["in"] == "path");
        assert_eq!(said.map(|parameter| parameter["name"].as_str().unwrap()).collect::<BTreeSet<_>>(), named, "{path}");
        assert!(parameters.iter().all(|parameter| !parameter["description"].as_str().unwrap_or_default().is_empty()), "{path}");
        // It is served, and no other verb is.
        let asked = path.replace(['{', '}'], "x");
        let answer = ask(&world, By::Nobody, &method, &asked, None).await;
        assert!([StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status), "{method} {path}");
        let answer = ask(&world, By::Owner, &Method::DELETE, &asked, None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(answer.header("allow").contains(method.as_str()), "{path}");
        problem(&answer);
    }
    let mut references = Vec::new();
    gather(&description, &mut references);
    assert!(references.len() > 40);
    for reference in references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference}");
    }
    let gateway = schemas["Gateway"]["required"].as_array().unwrap();
    let told = get(&world, By::Owner, "/api/v1/gateways/gw-3").await;
    assert_eq!(gateway.len(), told.as_object().unwrap().len(), "an answer has all of its members, null or not");
    assert!(gateway.iter().all(|member| told.get(member.as_str().unwrap()).is_some()));
    for (name, schema) in schemas {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        assert!(required.iter().all(|member| schema["properties"].get(member.as_str().unwrap()).is_some()), "{name}");
    }
}

fn gather<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| gather(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, references)),
        _ => {}
    }
}

#[tokio::test]
async fn a_report_says_what_the_file_of_its_page_says() {
    let world = world().await;
    for (who, by, page, api) in [
        (Who::Owner, By::Owner, "/gateways/gw-1/report.json?period=month", "/gateways/gw-1/report?period=month"),
        (Who::Customer, By::Customer, "/gateways/gw-1/report.json?period=month", "/gateways/gw-1/report?period=month"),
        (
            Who::Viewer,
            By::Viewer,
            "/gateways/gw-2/report.json?period=range&from=2026-06-03&to=2026-06-05",
            "/gateways/gw-2/report?period=range&from=2026-06-03&to=2026-06-05",
        ),
    ] {
        let (page, api) = (world.get(who, page).await, ask(&world, by, &Method::GET, &format!("/api/v1{api}"), None).await);
        assert_eq!((api.status, api.header("content-type")), (StatusCode::OK, "application/json"));
        assert!(!page.body.is_empty() && api.body == page.body);
        assert_eq!(api.header("content-disposition"), "", "it is no file");
    }
    let (page, api) = (format!("/locations/{LOCATION}/report.json"), format!("/api/v1/locations/{LOCATION}/report"));
    assert_eq!(world.get(Who::Owner, &page).await.body, ask(&world, By::Owner, &Method::GET, &api, None).await.body);
    let report: Value = get(&world, By::Owner, "/api/v1/gateways/gw-1/report?date=2026-06-17").await;
    assert_eq!(report["figures"]["produced_wh"], 96_000.0);
    let members = description(&world).await["components"]["schemas"]["Report"]["properties"].as_object().unwrap().clone();
    let month = get(&world, By::Owner, "/api/v1/gateways/gw-1/report?period=month").await;
    let of_location = get(&world, By::Owner, &api).await;
    for member in members.keys() {
        assert!(month.get(member).is_some() || of_location.get(member).is_some(), "{member} is described and not told");
    }
}

#[tokio::test]
async fn the_page_tells_every_operation_object_and_error() {
    let world = world().await;
    let page = world.get(Who::Customer, "/api/v1/").await;
    let description = description(&world).await;
    for (method, path, operation) in operations(&description) {
        assert!(page.body.contains(&format!("id=\"{}\"", operation["operationId"].as_str().unwrap())), "{method} {path}");
    }
    let mut references = Vec::new();
    gather(&description, &mut references);
    for reference in references {
        let name = reference.rsplit('/').next().unwrap();
        if description["components"]["schemas"][name].get("properties").is_none() {
            continue;
        }
        assert!(page.body.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    for link in page.body.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(page.body.contains(&format!("id=\"{link}\"")), "{link} leads nowhere");
    }
    for name in ["not-found", "no-token", "too-many-requests", "invalid"] {
        assert!(page.body.contains(&format!("id=\"{name}\"")), "{name}");
    }
}
