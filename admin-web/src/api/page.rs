//! The page that shows what the API offers: the description, for people. It is made of the
//! description itself, loads nothing from outside and needs no script.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::described;
use super::problem::{KINDS, Kind};
use crate::access::AnyActor;
use crate::error::Refusal;
use crate::panel::Panel;
use crate::shell::{Section, Shell};

/// A piece of a text: what stands between backticks is code.
struct Piece {
    text: String,
    is_code: bool,
}

/// Operations of one kind.
struct Group {
    name: String,
    text: String,
    operations: Vec<Operation>,
}

/// Something that can be asked.
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    text: Vec<Piece>,
    scope: String,
    parameters: Vec<Field>,
    /// What the body is, where there is one.
    body: Option<Shape>,
    answers: Vec<Answer>,
    curl: String,
}

/// A parameter or a member of an object.
struct Field {
    name: String,
    /// Where it stands, of a parameter.
    place: String,
    shape: Shape,
    is_required: bool,
    text: Vec<Piece>,
}

/// What a value looks like, and where that is explained.
struct Shape {
    text: String,
    /// The name of a schema; empty where there is none.
    schema: String,
}

struct Answer {
    status: String,
    text: String,
    shape: Shape,
}

/// An object on the wire.
struct Schema {
    name: String,
    text: Vec<Piece>,
    fields: Vec<Field>,
}

#[derive(Template, WebTemplate)]
#[template(path = "api.html")]
struct ApiPage {
    shell: Shell,
    title: String,
    version: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
    problems: &'static [Kind],
}

/// `GET /api/v1/`
pub(crate) async fn show(State(panel): State<Panel>, AnyActor(actor): AnyActor) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Account).await?;
    let whole = serde_json::to_value(described()).map_err(|error| Refusal::Fault(error.to_string()))?;
    Ok(ApiPage::new(shell, &whole).into_response())
}

impl ApiPage {
    fn new(shell: Shell, whole: &Value) -> Self {
        let group = |tag: &Value| Group {
            name: text(tag, "name"),
            text: text(tag, "description"),
            operations: operations(whole, &text(tag, "name")),
        };
        let schema = |(name, schema): (&String, &Value)| Schema {
            name: name.clone(),
            text: prose(schema),
            fields: members(whole, schema),
        };
        Self {
            shell,
            title: text(&whole["info"], "title"),
            version: text(&whole["info"], "version"),
            groups: list(&whole["tags"]).iter().map(group).collect(),
            schemas: entries(&whole["components"]["schemas"]).map(schema).filter(|schema| !schema.fields.is_empty()).collect(),
            problems: &KINDS,
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// The schema that another one refers to.
fn referred<'a>(whole: &'a Value, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    Some((name, &whole["components"]["schemas"][name]))
}

/// The schemas of which a value has one.
fn ways(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf", "allOf"].into_iter().flat_map(|way| list(&schema[way]))
}

/// The description of something; of what may be null it stands beside what else it may be.
fn prose(value: &Value) -> Vec<Piece> {
    let told = std::iter::once(value).chain(ways(value)).map(|value| text(value, "description"));
    let pieces = told.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let piece = |(number, text): (usize, &str)| Piece { text: text.to_owned(), is_code: number % 2 == 1 };
    pieces.split('`').enumerate().map(piece).filter(|piece| !piece.text.is_empty()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn operations(whole: &Value, tag: &str) -> Vec<Operation> {
    let all =
        entries(&whole["paths"]).flat_map(|(path, item)| entries(item).map(move |(method, operation)| (path, method, operation)));
    let of_tag = all.filter(|(_, _, operation)| list(&operation["tags"]).iter().any(|name| name == tag));
    of_tag.map(|(path, method, operation)| operation_of(whole, path, method, operation)).collect()
}

fn operation_of(whole: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameter = |parameter: &Value| Field {
        name: text(parameter, "name"),
        place: text(parameter, "in"),
        shape: shape(whole, &parameter["schema"]),
        is_required: parameter["required"].as_bool().unwrap_or(false),
        text: prose(parameter),
    };
    let answer = |(status, answer): (&String, &Value)| Answer {
        status: if status == "default" { "else".to_owned() } else { status.clone() },
        text: text(answer, "description"),
        shape: entries(&answer["content"]).next().map_or_else(Shape::none, |(_, content)| shape(whole, &content["schema"])),
    };
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let scopes = list(&operation["security"]).iter().flat_map(|way| list(&way["token"])).filter_map(Value::as_str);
    let parameters: Vec<Field> = list(&operation["parameters"]).iter().map(parameter).collect();
    let method = method.to_uppercase();
    Operation {
        id: text(operation, "operationId"),
        curl: curl(&method, path, &parameters, (!body.is_null()).then(|| example(whole, body))),
        method,
        path: path.to_owned(),
        summary: text(operation, "summary"),
        text: prose(operation),
        scope: scopes.collect::<Vec<_>>().join(", "),
        parameters,
        body: (!body.is_null()).then(|| shape(whole, body)),
        answers: entries(&operation["responses"]).map(answer).collect(),
    }
}

fn members(whole: &Value, schema: &Value) -> Vec<Field> {
    let required = list(&schema["required"]);
    let member = |(name, member): (&String, &Value)| Field {
        name: name.clone(),
        place: String::new(),
        shape: shape(whole, member),
        is_required: required.iter().any(|required| required == name),
        text: prose(member),
    };
    entries(&schema["properties"]).map(member).collect()
}

impl Shape {
    fn none() -> Self {
        Self { text: String::new(), schema: String::new() }
    }

    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), schema: String::new() }
    }
}

/// What a value of a schema looks like, in words.
fn shape(whole: &Value, schema: &Value) -> Shape {
    if let Some((name, known)) = referred(whole, schema) {
        // What has no members needs no place of its own.
        let is_object = known["properties"].is_object();
        return if is_object { Shape { text: name.to_owned(), schema: name.to_owned() } } else { shape(whole, known) };
    }
    let known: Vec<Shape> = ways(schema).map(|way| shape(whole, way)).collect();
    if !known.is_empty() {
        let mut text: Vec<&str> = known.iter().map(|shape| shape.text.as_str()).collect();
        text.sort_by_key(|text| *text == "null");
        let schema = known.iter().map(|shape| shape.schema.clone()).find(|name| !name.is_empty());
        return Shape { text: text.join(" or "), schema: schema.unwrap_or_default() };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Shape::plain("any"),
    };
    if kinds.contains(&"array") {
        let item = shape(whole, &schema["items"]);
        return Shape { text: format!("list of {}", item.text), ..item };
    }
    let format = schema["format"].as_str().map(|format| format!(" ({format})")).unwrap_or_default();
    Shape::plain(format!("{}{format}", kinds.join(" or ")))
}

/// A body that shows what is meant: all that has to be said, and what has an example.
fn example(whole: &Value, schema: &Value) -> Value {
    let schema = referred(whole, schema).map_or(schema, |(_, known)| known);
    let required = list(&schema["required"]);
    let mut object = Map::new();
    for (name, member) in entries(&schema["properties"]) {
        let is_required = required.iter().any(|required| required == name);
        match (&member["example"], is_required) {
            (Value::Null, true) => drop(object.insert(name.clone(), json!("…"))),
            (Value::Null, false) => {}
            (example, _) => drop(object.insert(name.clone(), example.clone())),
        }
    }
    Value::Object(object)
}

/// The request as a command. `TOKEN` and `PANEL` are the reader's to set.
fn curl(method: &str, path: &str, parameters: &[Field], body: Option<Value>) -> String {
    let verb = if method == "GET" { String::new() } else { format!(" -X {method}") };
    let headers = parameters.iter().filter(|field| field.place == "header");
    let headers: String = headers.map(|field| format!(" \\\n  -H '{}: \"…\"'", field.name)).collect();
    let asked: Vec<String> = parameters
        .iter()
        .filter(|field| field.place == "query" && field.is_required)
        .map(|field| format!("{}=2026-06-18T00:00:00Z", field.name))
        .collect();
    let asked = if asked.is_empty() { String::new() } else { format!("?{}", asked.join("&")) };
    let body = body.map(|body| format!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'")).unwrap_or_default();
    format!("curl{verb} -H \"Authorization: Bearer $TOKEN\"{headers}{body} \\\n  \"$PANEL{path}{asked}\"")
}
