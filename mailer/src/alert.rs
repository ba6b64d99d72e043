//! Alerts: evaluated by one process at a time, and told to the provider's people by mail.
//!
//! What one evaluation raised and resolved is one mail to each. An alert says which
//! evaluation people were not told of yet, so that a process that died between the two is
//! followed by one that tells; the key of the mail makes that happen once.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use heliograph_domain::{Alert, AlertId, AlertKey, ProviderSettings, Timestamp, UserRole, Watch, WatchPhase, time_ordered_uuid};
use heliograph_report::{AlertFacts, AlertFindings, AlertNames, AlertWords, alert_turn};
use heliograph_store::{AlertChange, OutboxKey, OutboxNew, ProviderStore, StoreError, UserRecord};

use crate::error::MailerError;
use crate::letter::moment;
use crate::look::Look;
use crate::make::new_id;
use crate::message::{Letter, compose, message_id};
use crate::run::{Run, RunSummary};

const LEASE: &str = "alerts";
/// How long the lease runs without being renewed; facts of a large fleet take a while.
const LEASE_MS: i64 = 4 * 60_000;
/// How often is evaluated, ms: a little less than each minute, since runs come each half.
const EVERY_MS: i64 = 55_000;
/// How often it is written down for how long something has held, ms. A process that
/// follows another one loses no more than that.
const SAVED_EVERY_MS: i64 = 10 * 60_000;
/// Alerts that a mail tells of at most; the panel has all of them.
const TOLD: usize = 30;

/// What evaluates alerts, and what it remembers between two evaluations.
pub(crate) struct Evaluator {
    holder: String,
    facts: Option<AlertFacts>,
    last: Option<Timestamp>,
    /// While it holds the lease.
    watched: Option<Watched>,
}

/// What is watched.
struct Watched {
    now: Vec<Watch>,
    /// As it was written last, and when.
    saved: Vec<Watch>,
    at: Timestamp,
}

impl Watched {
    /// Whether the store has to know.
    fn is_due(&self, next: &[Watch], now: Timestamp) -> bool {
        let phases =
            |watches: &[Watch]| watches.iter().map(|watch| (watch.key.clone(), watch.phase())).collect::<BTreeMap<_, _>>();
        let has_phase = |phases: BTreeMap<AlertKey, WatchPhase>| -> BTreeMap<AlertKey, WatchPhase> {
            phases.into_iter().filter(|(_, phase)| *phase != WatchPhase::Idle).collect()
        };
        let is_old = now.millis_since(self.at).abs() >= SAVED_EVERY_MS && next != self.saved;
        is_old || has_phase(phases(next)) != has_phase(phases(&self.saved))
    }
}

impl Evaluator {
    pub(crate) const fn new(holder: String) -> Self {
        Self { holder, facts: None, last: None, watched: None }
    }

    /// Evaluates, if it is time and nobody else does, and tells people what came of it.
    pub(crate) async fn evaluate(&mut self, run: &Run<'_>, summary: &mut RunSummary) -> Result<(), MailerError> {
        let now = (run.clock)();
        if self.last.is_some_and(|last| (0..EVERY_MS).contains(&now.millis_since(last))) {
            return Ok(());
        }
        if !self.lease(run.store, now).await? {
            self.watched = None;
            return Ok(());
        }
        self.last = Some(now);
        let turned = self.turn(run, now).await;
        if !matches!(turned, Ok(true)) {
            // What the store has is what holds.
            self.watched = None;
        }
        if turned? { tell(run, summary, now).await } else { Ok(()) }
    }

    /// Lets others evaluate.
    pub(crate) async fn release(&self, store: &ProviderStore) -> Result<(), StoreError> {
        store.lease_release(LEASE, &self.holder).await
    }

    async fn lease(&self, store: &ProviderStore, now: Timestamp) -> Result<bool, StoreError> {
        store.lease_take(LEASE, &self.holder, now, now.plus_millis(LEASE_MS)).await
    }

    /// False where it took so long that somebody else evaluates by now; nothing is
    /// written then.
    async fn turn(&mut self, run: &Run<'_>, now: Timestamp) -> Result<bool, MailerError> {
        let store = run.store;
        let facts = match self.facts.take().filter(|facts| facts.are_fresh(now)) {
            Some(facts) => facts,
            None => AlertFacts::read(store, now).await?,
        };
        let findings = AlertFindings::read(store, &facts, now).await?;
        self.facts = Some(facts);
        let watched = match self.watched.take() {
            Some(watched) => watched,
            None => {
                let saved = store.alert_watches().await?;
                // Who has just begun writes down what it finds: it may run once.
                Watched { now: saved.clone(), saved, at: Timestamp::MIN }
            }
        };
        if !self.lease(store, (run.clock)()).await? {
            return Ok(false);
        }
        let alerts = store.alert_list().await?;
        let turn = alert_turn(watched.now.clone(), &alerts, &findings, now, || new_alert(now));
        let is_due = !turn.changes.is_empty() || watched.is_due(&turn.watches, now);
        if is_due {
            log(&turn.changes);
            store.alert_change(turn.changes, Some(turn.watches.clone()), now).await?;
        }
        let (saved, at) = if is_due { (turn.watches.clone(), now) } else { (watched.saved, watched.at) };
        self.watched = Some(Watched { now: turn.watches, saved, at });
        Ok(true)
    }
}

fn new_alert(now: Timestamp) -> AlertId {
    AlertId::new(time_ordered_uuid(now, &rand::random()))
}

fn log(changes: &[AlertChange]) {
    for change in changes {
        match change {
            AlertChange::Raise(alert) => {
                let gateway = alert.key.subject.gateway().map(ToString::to_string).unwrap_or_default();
                tracing::info!(alert = %alert.id, kind = %alert.key.kind, gateway, "alert raised");
            }
            AlertChange::End(id, _) => tracing::info!(alert = %id, "alert is over"),
            AlertChange::Told(..) => {}
        }
    }
}

/// Puts mails into the outbox about what people were not told of.
async fn tell(run: &Run<'_>, summary: &mut RunSummary, now: Timestamp) -> Result<(), MailerError> {
    let mut news: Vec<Alert> = run.store.alert_list().await?;
    news.retain(|alert| alert.untold.is_some());
    // The worst first.
    news.sort_by_key(|alert| (!alert.is_open(), alert.key.kind, alert.since));
    let evaluations: BTreeSet<Timestamp> = news.iter().filter_map(|alert| alert.untold).collect();
    if evaluations.is_empty() {
        return Ok(());
    }
    let settings = run.store.settings_fetch().await?;
    let people = if settings.alerts.mail { run.store.user_list().await? } else { Vec::new() };
    let names = AlertNames::read(run.store).await?;
    for evaluated in evaluations {
        let of_this: Vec<&Alert> = news.iter().filter(|alert| alert.untold == Some(evaluated)).collect();
        for person in people.iter().filter(|person| matches!(person.role, UserRole::Owner | UserRole::Operator)) {
            let mail = Telling { run, settings: &settings, names: &names, person, now };
            summary.made += usize::from(mail.put(&of_this, evaluated).await?);
        }
        let told = of_this.iter().map(|alert| AlertChange::Told(alert.id, evaluated)).collect();
        run.store.alert_change(told, None, now).await?;
    }
    Ok(())
}

/// What a mail to one person is made of.
struct Telling<'a> {
    run: &'a Run<'a>,
    settings: &'a ProviderSettings,
    names: &'a AlertNames,
    person: &'a UserRecord,
    now: Timestamp,
}

impl Telling<'_> {
    /// Whether it was made; one that cannot be written keeps nobody else's back.
    async fn put(&self, alerts: &[&Alert], evaluated: Timestamp) -> Result<bool, MailerError> {
        let key = OutboxKey::of_alerts(self.person.id, evaluated, self.person.email.clone());
        if self.run.store.outbox_contains(&key).await? {
            return Ok(false);
        }
        match self.write(alerts, key) {
            Ok(mail) => Ok(self.run.store.outbox_put(mail).await?),
            Err(error) => {
                tracing::error!(user = %self.person.id, %error, "a mail about alerts cannot be written");
                Ok(false)
            }
        }
    }

    fn write(&self, alerts: &[&Alert], key: OutboxKey) -> Result<OutboxNew, MailerError> {
        let id = new_id(self.now);
        let name = match self.settings.name.as_str() {
            "" => self.run.store.provider().as_str(),
            name => name,
        };
        let from = self.run.settings.from.address();
        let panel = self.run.settings.public_url.as_deref().map(|url| url.trim_end_matches('/'));
        let words = Words::of(
            alerts,
            self.names,
            &Facts { provider: name, settings: self.settings, person: self.person, panel, contact: from.as_str(), now: self.now },
        );
        let message = compose(Letter {
            id,
            from_name: self.run.settings.from.name().unwrap_or(name),
            from,
            to_name: &self.person.name,
            to: &key.recipient,
            date: self.now,
            subject: &words.subject,
            text: Text { s: &words }.render()?,
            html: Html { s: &words }.render()?,
            chart: None,
        })?;
        let message_id = message_id(id, from)?;
        Ok(OutboxNew { id, key, subject: words.subject, message_id, message, created: self.now, due: self.now })
    }
}

struct Facts<'a> {
    provider: &'a str,
    settings: &'a ProviderSettings,
    person: &'a UserRecord,
    panel: Option<&'a str>,
    contact: &'a str,
    now: Timestamp,
}

/// One alert as the mail shows it.
struct Item {
    kind: &'static str,
    title: String,
    /// Where, since when, until when.
    place: String,
    when: String,
    figures: Vec<(&'static str, String)>,
    advice: &'static str,
    link: Option<String>,
}

/// What it says.
struct Words {
    subject: String,
    preheader: String,
    provider: String,
    look: Look,
    kind: &'static str,
    person: String,
    raised: Vec<Item>,
    over: Vec<Item>,
    /// How many more there are.
    more: usize,
    link: Option<String>,
    footer: String,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct Html<'a> {
    s: &'a Words,
}

#[derive(Template)]
#[template(path = "alert.txt")]
struct Text<'a> {
    s: &'a Words,
}

impl Item {
    fn of(alert: &Alert, names: &AlertNames, facts: &Facts<'_>) -> Self {
        let words = AlertWords::of(alert, names, facts.now);
        let zone = names.zone(alert);
        let since = format!("Since {}", moment(alert.since, zone));
        let when = alert.resolved.map_or(since, |end| format!("Until {}", moment(end.at, zone)));
        Self {
            kind: words.kind,
            title: words.title,
            place: names.location(alert).map(|location| location.name.clone()).unwrap_or_default(),
            when,
            figures: words.figures,
            advice: words.advice,
            link: facts.panel.map(|panel| format!("{panel}/alerts/{}", alert.id)),
        }
    }
}

impl Words {
    /// The alerts are in order: what is raised comes before what is over.
    fn of(alerts: &[&Alert], names: &AlertNames, facts: &Facts<'_>) -> Self {
        let Facts { provider, person, contact, .. } = *facts;
        let (raised, over): (Vec<_>, Vec<_>) = alerts.iter().take(TOLD).partition(|alert| alert.is_open());
        let items = |alerts: Vec<&&Alert>| alerts.into_iter().map(|alert| Item::of(alert, names, facts)).collect::<Vec<_>>();
        let (raised, over) = (items(raised), items(over));
        let first = raised.first().map_or_else(
            || over.first().map(|item| format!("Over: {}", item.title)).unwrap_or_default(),
            |item| item.title.clone(),
        );
        let subject = match alerts.len() {
            ..=1 => first,
            all => format!("{first}, and {} more", all - 1),
        };
        let preheader = raised.first().or(over.first()).map(|item| item.when.clone()).unwrap_or_default();
        Self {
            subject,
            preheader,
            provider: provider.to_owned(),
            look: Look::of(&facts.settings.colour),
            kind: "Alerts",
            person: person.name.clone(),
            raised,
            over,
            more: alerts.len().saturating_sub(TOLD),
            link: facts.panel.map(|panel| format!("{panel}/alerts")),
            footer: format!(
                "You get this mail because {} is of the people who run {provider}. The settings of alerts in the panel turn these mails off. Questions go to {contact}.",
                person.email
            ),
        }
    }
}
