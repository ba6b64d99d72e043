//! What of a fleet is wrong at a time: the conditions that raise alerts.
//!
//! What changes slowly is read now and then ([`AlertFacts`]): figures of whole days,
//! clocks, how often each gateway is heard. Whether something is so now
//! ([`AlertFindings`]) takes a few lists and no read of a single gateway. Since when it is
//! so, and what of that becomes an alert, [`alert_turn`] says, which neither reads nor
//! writes.

mod days;
mod mask;
mod mass;
mod quiet;
#[cfg(test)]
mod tests;
mod turn;
mod words;

use std::collections::{HashMap, HashSet};

use heliograph_domain::{
    Alert, AlertCause, AlertKey, AlertKind, AlertSettings, ClockEstimate, GatewayId, GatewayState, Intake, Maintenance, Position,
    RefusalCode, TimeWindow, Timestamp, Verdict,
};
use heliograph_store::{GatewayRecord, ProviderStore, StoreError};

use crate::error::ReportError;
use crate::fleet::{Fleet, is_surely_wrong};
use mask::Masks;
use mass::{OpenMass, Quiet, fell_together, still_silent};

pub use turn::{AlertTurn, alert_turn};
pub use words::{AlertNames, AlertWords, alert_span};

/// A clock of which nothing was seen for longer is not judged, ms.
const CLOCK_FRESH_MS: i64 = 86_400_000;
/// Refused documents of the provider's own gateways within a day that are too many, and
/// how few are not.
const REFUSED: usize = 20;
const FEW_REFUSED: usize = 5;
/// Entries of the quarantine that are looked at.
const LOOKED_AT: usize = 200;
const DAY_MS: i64 = 86_400_000;
/// For as long inverters may sleep where nobody knows when it is night, ms.
const NIGHT_MS: i64 = 18 * 3_600_000;

/// What is found of something.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    verdict: Verdict,
    /// Where it holds: the figures, and since when.
    cause: Option<(AlertCause, Timestamp)>,
}

impl Found {
    const fn holds(cause: AlertCause, since: Timestamp) -> Self {
        Self { verdict: Verdict::Holds, cause: Some((cause, since)) }
    }

    const UNJUDGED: Self = Self { verdict: Verdict::Unjudged, cause: None };
}

/// What of a gateway changes slowly.
#[derive(Debug, Clone, Default)]
struct GatewayFacts {
    /// Where it stands, if all behind it are inverters, which may sleep at night.
    sleeps_at: Option<Position>,
    /// Its usual longest pause while it is awake, ms.
    usual_ms: Option<i64>,
    clock: Option<ClockEstimate>,
}

/// What changes slowly: read now and then, for a while as good as new.
#[derive(Debug, Clone)]
pub struct AlertFacts {
    at: Timestamp,
    gateways: HashMap<GatewayId, GatewayFacts>,
    /// What figures of whole days say.
    found: HashMap<AlertKey, Found>,
}

impl AlertFacts {
    /// For how long they are good enough, ms.
    const FRESH_MS: i64 = 3_600_000;

    /// Reads them: some days of every gateway.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(store: &ProviderStore, now: Timestamp) -> Result<Self, ReportError> {
        let fleet = Fleet::read(store).await?;
        let intake = store.intake_fetch().await?;
        let masks = Masks::of(intake.as_ref(), &store.maintenance_list().await?, &store.alert_list().await?, now);
        let days = days::read(store, &fleet, &masks, now).await?;
        let mut clocks = store.gateway_clock_list().await?;
        // What was heard was heard, also before anybody said that documents are taken in.
        let is_known = |gap: &TimeWindow| gap.from > Timestamp::MIN;
        let gaps: Vec<TimeWindow> = intake.iter().flat_map(|intake| intake.gaps(now)).filter(is_known).collect();
        let mut gateways = HashMap::new();
        for record in fleet.gateways.iter().filter(|record| record.state == GatewayState::Commissioned) {
            let location = fleet.location(record);
            let position = location.and_then(|location| location.position);
            let sleeps = days.only_inverters.contains(&record.id);
            let sleeps_at = position.filter(|_| sleeps);
            let clock = clocks.remove(&record.id).unwrap_or_default();
            let heard: Vec<Timestamp> = clock.samples.list().iter().map(|sample| sample.received).collect();
            let usual_ms = quiet::usual_pause(&heard, &gaps, sleeps_at.as_ref());
            // Nobody knows when it is night there: the longest may be usual.
            let usual_ms = if sleeps && sleeps_at.is_none() { Some(usual_ms.unwrap_or(0).max(NIGHT_MS)) } else { usual_ms };
            let zone = location.map_or(&fleet.zone, |location| &location.zone);
            let clock = clock.uncorrected(zone).filter(is_surely_wrong);
            gateways.insert(record.id.clone(), GatewayFacts { sleeps_at, usual_ms, clock });
        }
        Ok(Self { at: now, gateways, found: days.found })
    }

    /// Whether they are good enough.
    #[must_use]
    pub const fn are_fresh(&self, now: Timestamp) -> bool {
        let age = now.millis_since(self.at);
        age >= 0 && age < Self::FRESH_MS
    }
}

/// What holds at a time, and what cannot be judged.
#[derive(Debug, Clone, Default)]
pub struct AlertFindings {
    found: HashMap<AlertKey, Found>,
    /// Gateways that somebody works on.
    resting: HashSet<GatewayId>,
    /// Whether nothing is taken in, so that nobody can be heard.
    is_away: bool,
}

impl AlertFindings {
    /// What holds now, of the kinds that are raised.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(store: &ProviderStore, facts: &AlertFacts, now: Timestamp) -> Result<Self, ReportError> {
        let now_known = Now {
            gateways: store.gateway_list().await?,
            maintenance: store.maintenance_list().await?,
            intake: store.intake_fetch().await?,
            settings: store.settings_fetch().await?.alerts,
            alerts: store.alert_list().await?,
            at: now,
        };
        let refused = refused(store, &now_known.gateways, now).await?;
        Ok(Self::of(facts, &now_known, refused))
    }

    fn of(facts: &AlertFacts, now: &Now, refused: usize) -> Self {
        let mut findings = Self {
            // Where nobody has ever said that documents are taken in, nobody knows who is silent.
            is_away: now.intake.as_ref().is_none_or(|intake| intake.is_away(now.at)),
            ..Self::default()
        };
        let in_use = |record: &&GatewayRecord| record.state == GatewayState::Commissioned;
        let (mut quiet, told) = (Vec::new(), now.told());
        for record in now.gateways.iter().filter(in_use) {
            if now.is_worked_on(record) {
                findings.resting.insert(record.id.clone());
                continue;
            }
            let of = facts.gateways.get(&record.id).cloned().unwrap_or_default();
            quiet.extend(record.last_seen.map(|heard| now.quiet(record, &of, heard, told.contains(&record.id))));
            findings.judge_clock(record, of.clock, now.at);
        }
        findings.judge_days(facts, now);
        findings.judge_silence(&quiet, now);
        findings.judge_quarantine(refused, now.at);
        findings.found.retain(|key, _| now.settings.raises(key.kind));
        findings
    }

    /// What is found of something; what is not named is over.
    #[must_use]
    pub fn verdict(&self, key: &AlertKey) -> Verdict {
        if key.subject.gateway().is_some_and(|gateway| self.resting.contains(gateway)) {
            return Verdict::Unjudged;
        }
        if self.is_away && matches!(key.kind, AlertKind::Silent | AlertKind::MassSilence) {
            return Verdict::Unjudged;
        }
        self.found.get(key).map_or(Verdict::Over, |found| found.verdict)
    }

    /// What holds, with the figures and since when.
    pub(crate) fn holding(&self) -> impl Iterator<Item = (&AlertKey, &(AlertCause, Timestamp))> {
        let causes = self.found.iter().filter_map(|(key, found)| Some((key, found.cause.as_ref()?)));
        causes.filter(|(key, _)| self.verdict(key) == Verdict::Holds)
    }

    /// What figures of whole days say. They were read a while ago: what could not be judged
    /// since then is judged once they are read again, and who is not in use is not judged.
    fn judge_days(&mut self, facts: &AlertFacts, now: &Now) {
        let masks = Masks::of(now.intake.as_ref(), &now.maintenance, &now.alerts, now.at);
        let since_read = TimeWindow::between(facts.at, now.at);
        let in_use = now.gateways.iter().filter(|record| record.state == GatewayState::Commissioned);
        let is_masked: HashMap<&GatewayId, bool> = in_use.map(|record| (&record.id, masks.touch(record, &since_read))).collect();
        for (key, found) in &facts.found {
            let Some(is_masked) = key.subject.gateway().and_then(|gateway| is_masked.get(gateway)) else { continue };
            let found = if *is_masked { Found::UNJUDGED } else { found.clone() };
            self.found.insert(key.clone(), found);
        }
    }

    fn judge_clock(&mut self, record: &GatewayRecord, clock: Option<ClockEstimate>, now: Timestamp) {
        let Some(clock) = clock else { return };
        let found = if now.millis_since(clock.at) > CLOCK_FRESH_MS {
            Found::UNJUDGED
        } else {
            Found::holds(AlertCause::Clock { size: clock.size() }, clock.at)
        };
        self.found.insert(AlertKey::gateway(AlertKind::Clock, record.id.clone()), found);
    }

    /// Where many fell silent together that is told once; of those nothing else is until
    /// they were heard again, or it is over.
    fn judge_silence(&mut self, quiet: &[Quiet], now: &Now) {
        let mass = now.open_mass().map_or_else(|| fell_together(quiet), |open| Some(still_silent(quiet, open)));
        let mass = mass.filter(|_| now.settings.raises(AlertKind::MassSilence));
        for one in quiet.iter().filter(|one| one.quiet_ms >= one.allowed_ms) {
            let key = |kind| AlertKey::gateway(kind, one.gateway.clone());
            let is_one_of_many = mass.as_ref().is_some_and(|mass| mass.members.contains(&one.gateway));
            let cause = AlertCause::Silent { heard: one.heard, usual_ms: one.usual_ms, allowed_ms: one.allowed_ms };
            let found = if is_one_of_many { Found::UNJUDGED } else { Found::holds(cause, one.heard) };
            self.found.insert(key(AlertKind::Silent), found);
        }
        // What is missing of somebody silent is no news of its own.
        let silent: HashSet<&GatewayId> = quiet.iter().filter(|one| one.is_overdue()).map(|one| &one.gateway).collect();
        let is_silent = |key: &AlertKey| key.subject.gateway().is_some_and(|gateway| silent.contains(gateway));
        let of_days = |kind| matches!(kind, AlertKind::SensorFault | AlertKind::LowYield | AlertKind::Incomplete);
        for (_, found) in self.found.iter_mut().filter(|(key, _)| of_days(key.kind) && is_silent(key)) {
            *found = Found::UNJUDGED;
        }
        if let Some(mass) = mass.filter(|mass| mass.is_many) {
            let cause = AlertCause::MassSilence { silent: mass.members.len(), of: mass.of };
            self.found.insert(AlertKey::provider(AlertKind::MassSilence), Found::holds(cause, mass.at));
        }
    }

    fn judge_quarantine(&mut self, documents: usize, now: Timestamp) {
        let found = match documents {
            ..=FEW_REFUSED => return,
            REFUSED.. => Found::holds(AlertCause::Quarantine { documents }, now),
            _ => Found::UNJUDGED,
        };
        self.found.insert(AlertKey::provider(AlertKind::Quarantine), found);
    }
}

/// What is known of a moment.
struct Now {
    gateways: Vec<GatewayRecord>,
    maintenance: Vec<Maintenance>,
    intake: Option<Intake>,
    settings: AlertSettings,
    alerts: Vec<Alert>,
    at: Timestamp,
}

impl Now {
    /// The alert about many that is open, if there is one.
    fn open_mass(&self) -> Option<OpenMass> {
        self.alerts.iter().filter(|alert| alert.is_open()).find_map(|alert| match alert.cause {
            AlertCause::MassSilence { silent, .. } => Some(OpenMass { at: alert.since, silent }),
            _ => None,
        })
    }

    /// The gateways of which people were told that they are silent.
    fn told(&self) -> HashSet<&GatewayId> {
        let is_open = |alert: &&Alert| alert.is_open() && alert.key.kind == AlertKind::Silent;
        self.alerts.iter().filter(is_open).filter_map(|alert| alert.key.subject.gateway()).collect()
    }

    /// The times in which a gateway was worked on.
    fn works<'a>(&'a self, record: &'a GatewayRecord) -> impl Iterator<Item = TimeWindow> + 'a {
        let about = |window: &&Maintenance| window.is_about(&record.id, record.location);
        self.maintenance.iter().filter(about).map(|window| window.window)
    }

    fn is_worked_on(&self, record: &GatewayRecord) -> bool {
        self.works(record).any(|window| window.contains(self.at))
    }

    /// For how long a gateway has been silent while it could have been heard.
    fn quiet(&self, record: &GatewayRecord, of: &GatewayFacts, heard: Timestamp, is_told: bool) -> Quiet {
        let grace_ms = i64::from(self.settings.silent_minutes) * 60_000;
        let muted: Vec<TimeWindow> =
            self.intake.iter().flat_map(|intake| intake.gaps(self.at)).chain(self.works(record)).collect();
        Quiet {
            gateway: record.id.clone(),
            heard,
            usual_ms: of.usual_ms,
            quiet_ms: quiet::quiet_ms(heard, self.at, &muted, of.sleeps_at.as_ref()),
            allowed_ms: quiet::allowed_ms(of.usual_ms, grace_ms),
            is_told,
        }
    }
}

/// Documents of the provider's own gateways that were refused within a day, as far as is
/// looked.
async fn refused(store: &ProviderStore, gateways: &[GatewayRecord], now: Timestamp) -> Result<usize, StoreError> {
    let own: HashSet<&str> =
        gateways.iter().filter(|record| record.state == GatewayState::Commissioned).map(|record| record.id.as_str()).collect();
    let since = now.plus_millis(-DAY_MS);
    let rows = store.quarantine_list(None, LOOKED_AT).await?;
    let is_own = |name: Option<&str>| name.is_some_and(|name| own.contains(name));
    let counts = |row: &&heliograph_store::QuarantineRow| {
        let entry = &row.entry;
        let of_own = entry.trusted || (is_own(entry.gateway.as_deref()) && entry.code == RefusalCode::UnknownGateway);
        of_own && row.bytes > 0 && entry.received >= since
    };
    Ok(rows.iter().filter(counts).count())
}
