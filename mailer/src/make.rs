//! Making what is due: from customers and their figures to mails in the outbox.
//!
//! Nothing here is remembered between runs: the key of a mail in the outbox
//! says that it was made, so that a restart, a second replica or a second run
//! makes it no second time.

use heliograph_domain::{Colour, Commission, Customer, OutboxId, Period, ProviderSettings, Timestamp, Zone, time_ordered_uuid};
use heliograph_report::chart::{ChartOptions, energy_chart};
use heliograph_report::{CustomerSummary, ExpectedOfAll, customer_summary};
use heliograph_store::{OutboxKey, OutboxNew, ProviderStore, StoreError};
use jiff::ToSpan;

use crate::error::MailerError;
use crate::message::{Letter, compose, content_id, message_id};
use crate::run::{Run, RunSummary, chain};
use crate::schedule::{Due, Report, due};
use crate::summary::{Facts, GatewayFacts, Summary};

/// The chart's size in CSS pixels, between that of a narrow and of a wide client,
/// so that its text is legible in both; and how much finer its image is.
const CHART_SIZE: (u32, u32) = (440, 230);
const CHART_SCALE: f32 = 2.5;
/// The days before the one reported that a daily chart shows.
const CHART_DAYS_BEFORE: i64 = 6;

/// Puts into the outbox what is due and not there. A customer whose mail cannot
/// be made is counted and left for the next run; only a store that gives nothing
/// at all ends this one.
pub(crate) async fn make_due(run: &Run<'_>, summary: &mut RunSummary) -> Result<(), MailerError> {
    let provider = run.store.settings_fetch().await?;
    for customer in run.store.customer_list().await? {
        if run.stop.is_cancelled() {
            break;
        }
        match make_for(run, &provider, &customer).await {
            Ok(made) => summary.made += made,
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => {
                summary.failed += 1;
                tracing::error!(customer = %customer.id, error = chain(&error), "mail cannot be made");
            }
        }
    }
    Ok(())
}

/// The mails of one customer; how many were made.
async fn make_for(run: &Run<'_>, provider: &ProviderSettings, customer: &Customer) -> Result<usize, MailerError> {
    let Some(recipient) = &customer.email else { return Ok(0) };
    let now = (run.clock)();
    let Some(owned) = Owned::read(run.store, provider, customer, now).await? else { return Ok(0) };
    let mut made = 0;
    for due in due(now, &owned.zone, run.settings.hour) {
        let key = OutboxKey::about(customer.id, due.report.as_str(), due.period_text(), recipient.clone());
        if owned.covers(due.period) && !run.store.outbox_contains(&key).await? {
            let mail = make(run, provider, (customer, &owned), &due, key, now).await?;
            made += usize::from(run.store.outbox_put(mail).await?);
        }
    }
    Ok(made)
}

/// What a customer owns now. Who owns nothing gets no mail.
struct Owned {
    commissions: Vec<Commission>,
    /// The zone of the first gateway's location, as in the customer's report.
    zone: Zone,
}

impl Owned {
    async fn read(
        store: &ProviderStore,
        provider: &ProviderSettings,
        customer: &Customer,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let mut commissions = store.commission_list_by_customer(customer.id).await?;
        commissions.retain(|commission| commission.visible_at(now).is_some());
        let Some(first) = commissions.first() else { return Ok(None) };
        let zone = match store.gateway_fetch(&first.gateway).await?.location {
            Some(location) => store.location_fetch(location).await?.zone,
            None => provider.zone.clone(),
        };
        Ok(Some(Self { commissions, zone }))
    }

    /// Whether anything was owned in a period: nobody hears about the time before.
    fn covers(&self, period: Period) -> bool {
        let window = period.window(&self.zone);
        self.commissions.iter().any(|commission| commission.window.intersect(&window).is_some())
    }

    /// Whether all that is owned in the period after was owned in all of this one:
    /// else the two cannot be compared.
    fn covers_all(&self, period: Period) -> bool {
        let (window, after) = (period.window(&self.zone), period.next().window(&self.zone));
        let mut counted = self.commissions.iter().filter(|commission| commission.window.intersect(&after).is_some());
        counted.all(|commission| commission.window.from <= window.from)
    }
}

/// One mail, rendered whole: every attempt sends the same bytes.
async fn make(
    run: &Run<'_>,
    provider: &ProviderSettings,
    (customer, owned): (&Customer, &Owned),
    due: &Due,
    key: OutboxKey,
    now: Timestamp,
) -> Result<OutboxNew, MailerError> {
    let id = new_id(now);
    let report = customer_summary(run.store, customer.id, due.period, now).await?;
    let bars = match due.report {
        Report::Daily => customer_summary(run.store, customer.id, last_days(due.period), now).await?,
        Report::Monthly => report.clone(),
    };
    let chart = png(&bars, provider.colour.clone()).await;
    let name = if provider.name.is_empty() { run.store.provider().as_str() } else { provider.name.as_str() };
    let from = run.settings.from.address();
    let summary = Summary::of(&Facts {
        provider: name,
        settings: provider,
        customer: &customer.name,
        report: due.report,
        period: due.period,
        zone: &report.zone,
        figures: &report.totals,
        before: report.previous.as_ref().filter(|_| owned.covers_all(due.period.previous())),
        // A single day is far above or below its even share of a month.
        expected: match due.report {
            Report::Daily => ExpectedOfAll::Unset,
            Report::Monthly => report.expected,
        },
        gateways: report.gateways.iter().map(GatewayFacts::of).collect(),
        bars: &bars.buckets,
        chart: chart.as_ref().map(|_| content_id(id)),
        public_url: run.settings.public_url.as_deref(),
        contact: from.as_str(),
    });
    let message = compose(Letter {
        id,
        from_name: run.settings.from.name().unwrap_or(name),
        from,
        to_name: &customer.name,
        to: &key.recipient,
        date: now,
        subject: &summary.subject,
        text: summary.text()?,
        html: summary.html()?,
        chart,
    })?;
    let message_id = message_id(id, from)?;
    Ok(OutboxNew { id, key, subject: summary.subject, message_id, message, created: now, due: due.at.min(now) })
}

fn last_days(day: Period) -> Period {
    let first = day.first().saturating_sub(CHART_DAYS_BEFORE.days());
    Period::range(first, day.last()).unwrap_or(day)
}

/// The chart as an image, drawn off the async threads. A mail goes out without
/// its chart rather than not at all.
async fn png(report: &CustomerSummary, accent: Colour) -> Option<Vec<u8>> {
    let (width, height) = CHART_SIZE;
    let options = ChartOptions { width, height, accent, ..ChartOptions::new("Energy of all gateways", report.step) };
    let chart = energy_chart(&report.buckets, &options);
    let drawn = tokio::task::spawn_blocking(move || chart.png(CHART_SCALE)).await;
    match drawn {
        Ok(Ok(png)) => Some(png),
        Ok(Err(error)) => {
            tracing::warn!(error = chain(&error), "chart cannot be drawn");
            None
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "chart cannot be drawn");
            None
        }
    }
}

/// A version 7 UUID of the given time.
pub(crate) fn new_id(now: Timestamp) -> OutboxId {
    OutboxId::new(time_ordered_uuid(now, &rand::random()))
}
