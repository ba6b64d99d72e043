//! Mails about somebody's way in: what was ordered becomes a message, and its link is
//! made, at the moment in which it is sent.
//!
//! Each attempt has a link of its own, since nothing is kept that a link could be made
//! from again; all of them work until one is used or their time is over.

use askama::Template;
use heliograph_domain::{KeyDigest, ProviderSettings, Timestamp, Zone};
use heliograph_store::{Letter, LetterKind, OutboxMail, OutboxRow, StoreError, UserRecord};

use crate::error::MailerError;
use crate::look::Look;
use crate::message::{Letter as Envelope, compose, message_id, wire_address};
use crate::run::Run;

/// Writes what was ordered; `Err` within says why the mail is of no use any more.
pub(crate) async fn write(
    run: &Run<'_>,
    order: &Letter,
    mail: OutboxMail,
    now: Timestamp,
) -> Result<Result<OutboxMail, String>, MailerError> {
    let user = match run.store.user_fetch(order.user).await {
        Ok(user) => user,
        Err(StoreError::NotFound(_)) => return Ok(Err("its reader was removed".to_owned())),
        Err(error) => return Err(error.into()),
    };
    if let Some(reason) = pointless(order, &mail, &user, now) {
        return Ok(Err(reason));
    }
    // Before there is a link: what cannot be sent needs none.
    wire_address(&mail.row.key.recipient)?;
    let (provider, panel) = (run.store.settings_fetch().await?, panel(run, order));
    let link = match (order.kind.link_ms(), panel) {
        (Some(_), _) if !run.settings.links => return Ok(Err("links are not sent by mail here".to_owned())),
        (Some(_), None) => return Ok(Err("where the panel is was not known".to_owned())),
        (Some(lives_ms), Some(panel)) => Some(make_link(run, &user, panel, now.plus_millis(lives_ms)).await?),
        (None, _) => None,
    };
    let name = if provider.name.is_empty() { run.store.provider().as_str() } else { provider.name.as_str() };
    let from = run.settings.from.address();
    let words = Words::of(&Facts {
        provider: name,
        settings: &provider,
        user: &user,
        kind: order.kind,
        ordered: mail.row.created,
        forgot: panel.filter(|_| order.panel.is_some()),
        contact: from.as_str(),
        link,
    });
    let id = mail.row.id;
    let message = compose(Envelope {
        id,
        from_name: run.settings.from.name().unwrap_or(name),
        from,
        to_name: &user.name,
        to: &mail.row.key.recipient,
        date: mail.row.created,
        subject: &words.subject,
        text: Text { s: &words }.render()?,
        html: Html { s: &words }.render()?,
        chart: None,
    })?;
    let row = OutboxRow { message_id: message_id(id, from)?, ..mail.row };
    Ok(Ok(OutboxMail { row, message }))
}

/// Makes a link that works until then.
async fn make_link(run: &Run<'_>, user: &UserRecord, panel: &str, until: Timestamp) -> Result<Link, StoreError> {
    let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    run.store.login_link_create(KeyDigest::of(&token), user.id, until).await?;
    Ok(Link { label: "Choose a password", address: format!("{panel}/welcome/{token}"), until })
}

/// Why a mail is not sent any more.
fn pointless(order: &Letter, mail: &OutboxMail, user: &UserRecord, now: Timestamp) -> Option<String> {
    if user.email != mail.row.key.recipient {
        return Some("its reader has another address now".to_owned());
    }
    if order.kind.link_ms().is_some() && !order.is_of_password_of(user) {
        return Some("its reader has chosen a password meanwhile".to_owned());
    }
    if now.millis_since(mail.row.created) > order.kind.wanted_ms() {
        let last = Some(mail.row.outcome.as_str()).filter(|outcome| !outcome.is_empty());
        let last = last.map(|outcome| format!("; last: {outcome}")).unwrap_or_default();
        return Some(format!("it could not be sent while it was of use{last}"));
    }
    None
}

/// Where the panel is: as this mailer's settings say, else as those of the panel said
/// that ordered the mail.
fn panel<'a>(run: &'a Run<'_>, order: &'a Letter) -> Option<&'a str> {
    let panel = run.settings.public_url.as_deref().or(order.panel.as_deref())?;
    Some(panel.trim_end_matches('/'))
}

struct Facts<'a> {
    provider: &'a str,
    settings: &'a ProviderSettings,
    user: &'a UserRecord,
    kind: LetterKind,
    /// When what it is about happened.
    ordered: Timestamp,
    /// The panel, where it sends links to whoever has lost a password.
    forgot: Option<&'a str>,
    /// Whom to write to about it.
    contact: &'a str,
    link: Option<Link>,
}

#[derive(Debug, Clone)]
struct Link {
    label: &'static str,
    address: String,
    until: Timestamp,
}

/// What it says.
struct Words {
    subject: String,
    preheader: String,
    provider: String,
    look: Look,
    kind: &'static str,
    person: String,
    says: String,
    link: Option<Link>,
    advice: String,
    footer: String,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Html<'a> {
    s: &'a Words,
}

#[derive(Template)]
#[template(path = "letter.txt")]
struct Text<'a> {
    s: &'a Words,
}

impl Words {
    fn of(facts: &Facts<'_>) -> Self {
        let Facts { provider, user, contact, forgot, .. } = *facts;
        let zone = &facts.settings.zone;
        let happened = moment(facts.ordered, zone);
        let until = facts.link.as_ref().map(|link| moment(link.until, zone)).unwrap_or_default();
        let once = format!("The link works once, until {until}.");
        let (subject, kind, says, advice) = match facts.kind {
            LetterKind::Invitation => (
                format!("{provider}: your access to the panel"),
                "Invitation",
                format!("You can sign in to the panel of {provider} with this address. The link lets you choose your password."),
                format!(
                    "{once} A password that you have goes on working until then. If you do not know what this is about, you need not do anything."
                ),
            ),
            LetterKind::PasswordReset => (
                format!("{provider}: a link for a new password"),
                "New password",
                format!("Somebody, we hope it was you, asked for a new password to the panel of {provider}."),
                format!("{once} If it was not you, you need not do anything: your password stays as it is."),
            ),
            LetterKind::PasswordChanged => (
                format!("{provider}: your password was changed"),
                "Your account",
                format!("The password with which you sign in to the panel of {provider} was changed on {happened}."),
                alarm(forgot, contact),
            ),
            LetterKind::SecondStepOn => (
                format!("{provider}: a second step was set up"),
                "Your account",
                format!("Since {happened} a code of an app is asked for when you sign in to the panel of {provider}."),
                alarm(forgot, contact),
            ),
            LetterKind::SecondStepOff => (
                format!("{provider}: the second step was taken away"),
                "Your account",
                format!("Since {happened} your password alone signs you in to the panel of {provider}."),
                alarm(forgot, contact),
            ),
        };
        Self {
            subject,
            preheader: advice.clone(),
            provider: provider.to_owned(),
            look: Look::of(&facts.settings.colour),
            kind,
            person: user.name.clone(),
            says,
            link: facts.link.clone(),
            advice,
            footer: format!(
                "You get this mail because {} signs in to the panel of {provider}. Questions go to {contact}.",
                user.email
            ),
        }
    }
}

/// What to do where it was somebody else.
fn alarm(forgot: Option<&str>, contact: &str) -> String {
    match forgot {
        Some(panel) => {
            format!("If this was not you, ask for a new password at {panel}/forgot right away, and tell {contact}.")
        }
        None => format!("If this was not you, tell {contact} right away."),
    }
}

pub(crate) fn moment(at: Timestamp, zone: &Zone) -> String {
    format!("{} ({zone})", zone.civil(at).strftime("%A, %-d %B %Y at %H:%M"))
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{EmailAddress, UserId, UserRole};
    use uuid::Uuid;

    use super::*;

    fn words(kind: LetterKind, name: &str, panel: Option<&str>) -> Words {
        let settings = ProviderSettings { zone: Zone::parse("Europe/Madrid").unwrap(), ..ProviderSettings::default() };
        let ordered = Timestamp::parse_rfc3339("2026-11-20T12:15:00Z").unwrap();
        let user = UserRecord {
            id: UserId::new(Uuid::from_u128(7)),
            email: EmailAddress::parse("anna@example.com").unwrap(),
            name: name.to_owned(),
            role: UserRole::Viewer,
            customer: None,
            assignment: None,
            password_hash: None,
            created: ordered,
        };
        let link = kind.link_ms().map(|ms| Link {
            label: "Choose a password",
            address: "https://panel.example/welcome/token".to_owned(),
            until: ordered.plus_millis(ms),
        });
        let contact = "mail@sunrise.example";
        Words::of(&Facts { provider: "Sunrise", settings: &settings, user: &user, kind, ordered, forgot: panel, contact, link })
    }

    /// Text and HTML.
    fn rendered(words: &Words) -> (String, String) {
        (Text { s: words }.render().unwrap(), Html { s: words }.render().unwrap())
    }

    #[test]
    fn each_says_what_happened_and_what_to_do() {
        let panel = Some("https://panel.example");
        for (kind, expected) in [
            (LetterKind::Invitation, "The link works once, until Monday, 23 November 2026 at 13:15 (Europe/Madrid)."),
            (LetterKind::PasswordReset, "The link works once, until Friday, 20 November 2026 at 14:15 (Europe/Madrid)."),
            (LetterKind::PasswordChanged, "was changed on Friday, 20 November 2026 at 13:15 (Europe/Madrid)."),
            (LetterKind::SecondStepOn, "ask for a new password at https://panel.example/forgot right away"),
            (LetterKind::SecondStepOff, "your password alone signs you in"),
        ] {
            let (text, html) = rendered(&words(kind, "Anna", panel));
            assert!(text.contains(expected), "{text}");
            assert!(html.contains(expected), "{html}");
            assert_eq!(text.contains("https://panel.example/welcome/token"), kind.link_ms().is_some(), "{text}");
            assert_eq!(html.contains("href=\"https://panel.example/welcome/token\""), kind.link_ms().is_some(), "{html}");
        }
        let (text, _) = rendered(&words(LetterKind::SecondStepOff, "Anna", None));
        assert!(text.contains("tell mail@sunrise.example right away"), "{text}");
    }

    #[test]
    fn a_name_is_text_and_nothing_else() {
        let (_, html) = rendered(&words(LetterKind::Invitation, "<img src=x onerror=alert(1)>", None));
        assert!(!html.contains("<img"), "{html}");
    }
}
