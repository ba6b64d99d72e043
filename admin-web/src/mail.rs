//! Mails that are due or sent, with a preview of what their readers see.

mod mime;

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use heliograph_domain::UserRole;
use heliograph_store::{Letter, OutboxKey, OutboxRow, OutboxState};

use crate::access::{Actor, Reader};
use crate::error::{Refusal, read_id};
use crate::figures::Tone;
use crate::form::local_text;
use crate::panel::Panel;
use crate::shell::{Section, Shell};

use mime::Message;

/// Mails in the list.
const SHOWN: usize = 200;

struct MailRow {
    id: String,
    subject: String,
    recipient: String,
    report: String,
    period: String,
    state: &'static str,
    class: &'static str,
    created: String,
    due: String,
    sent: String,
    attempts: u32,
    outcome: String,
    message_id: String,
}

impl MailRow {
    fn of(row: OutboxRow, shell: &Shell) -> Self {
        let zone = &shell.settings.zone;
        let (state, tone) = match row.state {
            OutboxState::Sent => ("Sent", Tone::Good),
            OutboxState::GivenUp => ("Given up", Tone::Bad),
            OutboxState::Waiting if row.attempts > 0 => ("Retrying", Tone::Warn),
            OutboxState::Waiting => ("Waiting", Tone::Plain),
        };
        Self {
            id: row.id.to_string(),
            subject: row.subject,
            recipient: row.key.recipient.to_string(),
            report: row.key.report_name().to_owned(),
            period: row.key.period,
            state,
            class: tone.class(),
            created: local_text(row.created, zone),
            due: local_text(row.due.max(row.created), zone),
            sent: row.sent.map(|sent| local_text(sent, zone)).unwrap_or_default(),
            attempts: row.attempts,
            outcome: row.outcome,
            message_id: row.message_id,
        }
    }
}

/// Who is invited, and who has lost a password, is for those to know who see people.
pub(crate) fn may_see(actor: &Actor, key: &OutboxKey) -> bool {
    actor.user.role == UserRole::Owner || !Letter::is_one(key)
}

#[derive(Template, WebTemplate)]
#[template(path = "mails.html")]
struct MailsPage {
    shell: Shell,
    rows: Vec<MailRow>,
    shown: usize,
}

/// `GET /mails`
pub(crate) async fn list(State(panel): State<Panel>, Reader(actor): Reader) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Mails).await?;
    // Of a few more, for those who are not shown all of them.
    let mut rows = panel.store().outbox_list(4 * SHOWN).await?;
    rows.retain(|row| may_see(&actor, &row.key));
    rows.truncate(SHOWN);
    let rows = rows.into_iter().map(|row| MailRow::of(row, &shell)).collect();
    Ok(MailsPage { shell, rows, shown: SHOWN }.into_response())
}

#[derive(Template, WebTemplate)]
#[template(path = "mail.html")]
struct MailPage {
    shell: Shell,
    row: MailRow,
    /// Whether it is written only as it is sent.
    is_order: bool,
    has_html: bool,
    text: String,
}

/// `GET /mails/{mail}`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path(mail): Path<String>,
) -> Result<Response, Refusal> {
    let mail = panel.store().outbox_fetch(read_id(&mail)?).await?;
    if !may_see(&actor, &mail.row.key) {
        return Err(Refusal::NotFound);
    }
    let shell = Shell::of(&panel, &actor, Section::Mails).await?;
    let is_order = Letter::is_one(&mail.row.key);
    let message = if is_order { Message::default() } else { Message::read(&mail.message) };
    let row = MailRow::of(mail.row, &shell);
    let (has_html, text) = (message.html.is_some(), message.text.unwrap_or_default());
    Ok(MailPage { row, is_order, has_html, text, shell }.into_response())
}

/// What a previewed mail may do: be looked at, in our own page's frame only.
/// Its styles are inline as mail programs want them; nothing is loaded.
const PREVIEW_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'; \
     base-uri 'none'; form-action 'none'";

/// `GET /mails/{mail}/preview`: the HTML part alone.
pub(crate) async fn preview(
    State(panel): State<Panel>,
    Reader(_actor): Reader,
    Path(mail): Path<String>,
) -> Result<Response, Refusal> {
    let mail = panel.store().outbox_fetch(read_id(&mail)?).await?;
    let html = Message::read(&mail.message).html.filter(|_| !Letter::is_one(&mail.row.key)).ok_or(Refusal::NotFound)?;
    let headers: [(HeaderName, &'static str); 2] =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, PREVIEW_POLICY)];
    Ok((headers, html).into_response())
}
