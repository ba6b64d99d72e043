//! Gateways that are registered ahead, many at once, from a sheet: what would become of
//! each line is shown first, and nothing is written before somebody has said yes to it.

use std::collections::HashMap;
use std::time::Instant;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use csv::{Terminator, WriterBuilder};
use heliograph_domain::{GatewayId, GatewayState, Location, LocationId};
use heliograph_report::export::neutral;

use super::sheet::{self, Known, Line, MOST_BYTES, Wish};
use super::{ALREADY, Commissioning, Outcome, carry_out, fresh_credential};
use crate::access::{Actor, Staff};
use crate::error::Refusal;
use crate::form::Problems;
use crate::panel::Panel;
use crate::shell::{Section, Shell, encode};

/// The largest form: a sheet and what stands around it.
pub(crate) const MAX_FORM_BYTES: usize = MOST_BYTES + 64 * 1024;

/// What was sent: a file, or what was pasted or shown before.
#[derive(Default)]
struct Sent {
    sheet: Vec<u8>,
    is_confirmed: bool,
}

impl Sent {
    async fn read(request: Request, panel: &Panel) -> Result<Self, String> {
        let broken = |_| "The form cannot be read.".to_owned();
        let mut parts = Multipart::from_request(request, panel).await.map_err(broken)?;
        let (mut file, mut sent) = (Vec::new(), Self::default());
        while let Some(part) = parts.next_field().await.map_err(|error| problem(&error))? {
            let name = part.name().unwrap_or_default().to_owned();
            let bytes = part.bytes().await.map_err(|error| problem(&error))?;
            match name.as_str() {
                "file" => file = bytes.to_vec(),
                "text" => sent.sheet = bytes.to_vec(),
                "action" => sent.is_confirmed = &*bytes == b"register",
                _ => {}
            }
        }
        if !file.is_empty() {
            sent.sheet = file;
        }
        Ok(sent)
    }
}

fn problem(error: &MultipartError) -> String {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => sheet::too_large(),
        _ => "The form cannot be read.".to_owned(),
    }
}

/// A line with what would become of it.
struct PreviewRow {
    number: u64,
    gateway: String,
    name: String,
    location: String,
    key: &'static str,
    /// What it comes to; empty where it is not fine.
    fate: &'static str,
    problem: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "register.html")]
struct RegisterPage {
    shell: Shell,
    text: String,
    rows: Vec<PreviewRow>,
    fine: usize,
    places: Vec<String>,
    problems: Problems,
}

impl RegisterPage {
    fn is_preview(&self) -> bool {
        !self.rows.is_empty()
    }
}

/// `GET /waiting/register`
pub(crate) async fn show(State(panel): State<Panel>, Staff(actor): Staff) -> Result<Response, Refusal> {
    form_page(&panel, &actor, String::new(), Problems::default()).await
}

async fn form_page(panel: &Panel, actor: &Actor, text: String, problems: Problems) -> Result<Response, Refusal> {
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let shell = Shell::of(panel, actor, Section::Waiting).await?;
    let places = panel.store().location_list().await?.into_iter().map(|location| location.name).collect();
    Ok((status, RegisterPage { shell, text, rows: Vec::new(), fine: 0, places, problems }).into_response())
}

/// `POST /waiting/register`: shows what would become of each line, then, once that is
/// confirmed, commissions those that are fine.
pub(crate) async fn submit(State(panel): State<Panel>, Staff(actor): Staff, request: Request) -> Result<Response, Refusal> {
    let begun = Instant::now();
    let mut problems = Problems::default();
    let Some(sent) = problems.note("text", Sent::read(request, &panel).await) else {
        return form_page(&panel, &actor, String::new(), problems).await;
    };
    let Some(lines) = problems.note("text", sheet::read(&sent.sheet)) else {
        let text = String::from_utf8(sent.sheet).unwrap_or_default();
        return form_page(&panel, &actor, text, problems).await;
    };
    let locations = panel.store().location_list().await?;
    let judged = judge(&panel, &lines, &locations).await?;
    let text = String::from_utf8(sent.sheet).unwrap_or_default();
    if !sent.is_confirmed {
        let shell = Shell::of(&panel, &actor, Section::Waiting).await?;
        let rows: Vec<PreviewRow> = lines.iter().zip(&judged).map(|(line, judged)| preview(line, judged)).collect();
        let fine = judged.iter().filter(|judged| judged.is_ok()).count();
        return Ok(RegisterPage { shell, text, rows, fine, places: Vec::new(), problems }.into_response());
    }
    // Whatever happens from here on, the keys that are made are shown.
    let shell = Shell::of(&panel, &actor, Section::Waiting).await?;
    let made = register(&panel, &actor, lines.iter().zip(judged), begun).await;
    Ok(DonePage::new(shell, made, &locations, text).into_response())
}

async fn judge(panel: &Panel, lines: &[Line], locations: &[Location]) -> Result<Vec<Result<Wish, String>>, Refusal> {
    let most = panel.store().settings_fetch().await?.max_gateways;
    let gateways: HashMap<GatewayId, GatewayState> =
        panel.store().gateway_list().await?.into_iter().map(|gateway| (gateway.id, gateway.state)).collect();
    let commissioned = gateways.values().filter(|state| **state == GatewayState::Commissioned).count();
    let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(commissioned);
    Ok(sheet::judge(lines, &Known { locations, gateways, room }))
}

fn preview(line: &Line, judged: &Result<Wish, String>) -> PreviewRow {
    let (fate, problem) = match judged {
        Ok(wish) => (fate(wish.state), String::new()),
        Err(problem) => ("", problem.clone()),
    };
    PreviewRow {
        number: line.number,
        gateway: line.gateway.clone(),
        name: line.name.clone(),
        location: line.location.clone(),
        key: if line.key.is_empty() { "is made" } else { "as given" },
        fate,
        problem,
    }
}

const fn fate(state: Option<GatewayState>) -> &'static str {
    match state {
        None => "New",
        Some(GatewayState::Waiting) => "It waits",
        Some(_) => "It was retired",
    }
}

/// A gateway that was commissioned.
struct MadeRow {
    gateway: String,
    path: String,
    name: String,
    location: LocationId,
    /// Empty where the sheet gave it.
    key: String,
}

/// What came of a sheet.
#[derive(Default)]
struct Made {
    rows: Vec<MadeRow>,
    /// The gateways that were left out, and why.
    left: Vec<(String, String)>,
    /// How many were not come to.
    rest: usize,
}

/// Commissions what is fine, one after the other, for half as long as a request may take:
/// whoever sent a sheet gets the keys of what was done, and sends the rest again.
async fn register<'a>(
    panel: &Panel,
    actor: &Actor,
    lines: impl Iterator<Item = (&'a Line, Result<Wish, String>)>,
    begun: Instant,
) -> Made {
    let mut made = Made::default();
    let until = panel.settings().request_timeout / 2;
    let mut is_over = false;
    for (line, judged) in lines {
        let wish = match judged {
            Ok(wish) => wish,
            Err(problem) => {
                made.left.push((line.gateway.clone(), problem));
                continue;
            }
        };
        if is_over || begun.elapsed() > until {
            made.rest += 1;
            continue;
        }
        let left = (panel.settings().request_timeout * 5 / 6).saturating_sub(begun.elapsed());
        let refusal = match tokio::time::timeout(left, made.add(panel, actor, wish)).await {
            Ok(Ok(())) => continue,
            Ok(Err(refusal)) => Some(refusal),
            Err(_) => None,
        };
        tracing::error!(?refusal, gateway = %line.gateway, "gateway of a sheet cannot be commissioned");
        let problem = "It may not have been commissioned: the store does not answer. Its page says whether it was.";
        made.left.push((line.gateway.clone(), problem.to_owned()));
        is_over = true;
    }
    made
}

impl Made {
    async fn add(&mut self, panel: &Panel, actor: &Actor, wish: Wish) -> Result<(), Refusal> {
        let Wish { gateway, label, location, key, .. } = wish;
        let is_given = key.is_some();
        let name = label.clone().unwrap_or_default();
        let credential = fresh_credential(panel.now());
        let new = Commissioning { gateway: gateway.clone(), label, location, from: None, key, credential };
        let left = match carry_out(panel, actor, new).await {
            Ok(Outcome::Done(key)) => {
                let key = if is_given { String::new() } else { key.reveal().to_owned() };
                let path = format!("/gateways/{}", encode(gateway.as_str()));
                self.rows.push(MadeRow { gateway: gateway.to_string(), path, name, location, key });
                return Ok(());
            }
            Ok(Outcome::Already) => ALREADY.to_owned(),
            Ok(Outcome::TooMany(problem)) | Err(Refusal::Conflict(problem)) => problem,
            Err(Refusal::NotFound) => "Its location is there no longer.".to_owned(),
            Err(refusal) => return Err(refusal),
        };
        self.left.push((gateway.to_string(), left));
        Ok(())
    }
}

/// A row as the page shows it.
struct DoneRow {
    gateway: String,
    path: String,
    name: String,
    location: String,
    key: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "registered.html")]
struct DonePage {
    shell: Shell,
    rows: Vec<DoneRow>,
    left: Vec<(String, String)>,
    rest: usize,
    /// The sheet, where some of it was not come to.
    text: String,
    /// The keys as a file, within its own address: they are kept nowhere.
    file: String,
}

impl DonePage {
    fn new(shell: Shell, made: Made, locations: &[Location], text: String) -> Self {
        let name = |id: LocationId| locations.iter().find(|location| location.id == id).map(|location| location.name.clone());
        let row = |row: MadeRow| DoneRow {
            gateway: row.gateway,
            path: row.path,
            name: row.name,
            location: name(row.location).unwrap_or_default(),
            key: row.key,
        };
        let rows: Vec<DoneRow> = made.rows.into_iter().map(row).collect();
        let file = format!("data:text/csv;charset=utf-8,{}", encode(&key_file(&rows)));
        Self { shell, rows, left: made.left, rest: made.rest, text, file }
    }
}

/// The keys as a file (RFC 4180) in which no spreadsheet finds a formula.
fn key_file(rows: &[DoneRow]) -> String {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    // Writing to memory cannot fail.
    _ = writer.write_record(["gateway", "name", "location", "key"]);
    for row in rows {
        _ = writer.write_record([&row.gateway, &row.name, &row.location, &row.key].map(|cell| neutral(cell)));
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_keys_holds_no_formula() {
        let row = |gateway: &str, name: &str| DoneRow {
            gateway: gateway.to_owned(),
            path: String::new(),
            name: name.to_owned(),
            location: "Haro, north".to_owned(),
            key: "k1".to_owned(),
        };
        let file = key_file(&[row("=1+1", "@SUM(A1)"), row("gw-1", "say \"hi\"")]);
        assert_eq!(
            file,
            "gateway,name,location,key\r\n'=1+1,'@SUM(A1),\"Haro, north\",k1\r\ngw-1,\"say \"\"hi\"\"\",\"Haro, north\",k1\r\n"
        );
    }
}
