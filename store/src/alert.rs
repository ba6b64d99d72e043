//! Alerts, the watches that raise them, maintenance windows, and when documents were
//! taken in.
//!
//! Alerts that are open are kept, of those that are over the newest. A comment or an
//! acknowledgement names its writer by id alone, so that erasing people breaks nothing.

use heliograph_domain::{
    Alert, AlertId, AlertKey, AlertKind, AlertRefusal, GatewayId, Intake, LocationId, Maintenance, MaintenanceId,
    MaintenanceSubject, Note, Timestamp, UserId, Watch,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

/// The kind of the records of alerts, by their id.
pub(crate) const ALERT: &str = "alert";
/// The kind of the one record of all that is watched; its id is the same word.
pub(crate) const ALERT_WATCHES: &str = "alert-watches";
/// The kind of the records of maintenance windows, by their id.
pub(crate) const MAINTENANCE: &str = "maintenance";
/// The kind of the one record of when documents were taken in; its id is the same word.
pub(crate) const INTAKE: &str = "intake";

/// What an evaluation does with an alert.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertChange {
    /// It is raised.
    Raise(Box<Alert>),
    /// It is over by itself since then, unless somebody said so before.
    End(AlertId, Timestamp),
    /// People were told what the evaluation of that time said of it.
    Told(AlertId, Timestamp),
}

/// What somebody does with an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertDeed {
    /// Takes it up.
    Acknowledge,
    /// Writes something beside it.
    Comment(Note),
    /// Says that it is over.
    Resolve,
}

impl AlertDeed {
    /// As the audit trail calls it.
    const fn action(&self) -> &'static str {
        match self {
            Self::Acknowledge => "alert.acknowledge",
            Self::Comment(_) => "alert.comment",
            Self::Resolve => "alert.resolve",
        }
    }

    pub(crate) fn done(&self, alert: &mut Alert, by: UserId, at: Timestamp) -> Result<(), StoreError> {
        let done = match self {
            Self::Acknowledge => alert.acknowledge(by, at),
            Self::Comment(text) => alert.comment(by, text.clone(), at),
            Self::Resolve => alert.resolve(by, at),
        };
        done.map_err(|refusal: AlertRefusal| StoreError::Conflict(refusal.to_string()))
    }
}

/// Reads an alert or a watch; `None` where its kind is one of a later release, of which
/// this one knows nothing.
pub(crate) fn read_known<T: DeserializeOwned>(what: &str, text: &str) -> Result<Option<T>, StoreError> {
    #[derive(Deserialize)]
    struct Kinded {
        key: Key,
    }
    #[derive(Deserialize)]
    struct Key {
        kind: String,
    }
    match serde_json::from_str(text) {
        Ok(known) => Ok(Some(known)),
        Err(error) => match serde_json::from_str::<Kinded>(text) {
            Ok(kinded) if AlertKind::parse(&kinded.key.kind).is_err() => Ok(None),
            _ => Err(StoreError::Damaged(format!("{what}: {error}"))),
        },
    }
}

/// Reads watches, of kinds that are known.
pub(crate) fn read_watches(text: &str) -> Result<Vec<Watch>, StoreError> {
    let watches: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|error| StoreError::Damaged(format!("{ALERT_WATCHES}: {error}")))?;
    let known = |watch: serde_json::Value| read_known(ALERT_WATCHES, &watch.to_string()).transpose();
    watches.into_iter().filter_map(known).collect()
}

/// The alert that a change leaves; `None` where there is nothing to be changed. Of a key
/// there is one open alert at most: who raises another one was overtaken.
pub(crate) fn changed(change: &AlertChange, known: Option<Alert>, is_open: impl FnOnce(&AlertKey) -> bool) -> Option<Alert> {
    match change {
        AlertChange::Raise(alert) => (!is_open(&alert.key)).then(|| Alert::clone(alert)),
        AlertChange::End(_, at) => known.filter(Alert::is_open).map(|mut alert| {
            alert.end(*at);
            alert
        }),
        AlertChange::Told(_, of) => known.filter(|alert| alert.untold == Some(*of)).map(|mut alert| {
            alert.told(*of);
            alert
        }),
    }
}

impl AlertChange {
    pub(crate) const fn id(&self) -> AlertId {
        match self {
            Self::Raise(alert) => alert.id,
            Self::End(id, _) | Self::Told(id, _) => *id,
        }
    }
}

/// Alerts that are over and make room: the oldest of too many, and those that ended too
/// long ago.
pub(crate) fn outdated(all: &[Alert], now: Timestamp) -> Vec<AlertId> {
    let mut over: Vec<(Timestamp, AlertId)> =
        all.iter().filter_map(|alert| alert.resolved.map(|end| (end.at, alert.id))).collect();
    over.sort_by(|a, b| b.cmp(a));
    let is_old = |at: Timestamp| now.millis_since(at) > ProviderStore::ALERTS_KEPT_MS;
    let kept = over.iter().take(ProviderStore::ALERTS_KEPT).take_while(|(at, _)| !is_old(*at)).count();
    over.into_iter().skip(kept).map(|(_, id)| id).collect()
}

/// Windows that ended so long ago that no figure depends on them.
pub(crate) fn bygone(all: &[Maintenance], now: Timestamp) -> Vec<MaintenanceId> {
    let is_bygone = |window: &&Maintenance| now.millis_since(window.window.end()) > ProviderStore::MAINTENANCE_KEPT_MS;
    all.iter().filter(is_bygone).map(|window| window.id).collect()
}

/// Refuses one too many.
pub(crate) fn has_room(all: &[Maintenance], now: Timestamp) -> Result<(), StoreError> {
    if all.iter().filter(|window| window.window.end() > now).count() < ProviderStore::MAINTENANCE_WINDOWS {
        return Ok(());
    }
    let most = ProviderStore::MAINTENANCE_WINDOWS;
    Err(StoreError::Conflict(format!("a provider has {most} maintenance windows at most that are not over")))
}

/// What a window is about, if it is there.
pub(crate) enum Worked<'a> {
    Gateway(&'a GatewayId),
    Location(LocationId),
}

impl<'a> Worked<'a> {
    pub(crate) const fn on(subject: &'a MaintenanceSubject) -> Self {
        match subject {
            MaintenanceSubject::Gateway(gateway) => Self::Gateway(gateway),
            MaintenanceSubject::Location(location) => Self::Location(*location),
        }
    }
}

impl ProviderStore {
    /// Alerts that are over and kept at most.
    pub const ALERTS_KEPT: usize = 500;
    /// For how long, ms.
    pub const ALERTS_KEPT_MS: i64 = 400 * 86_400_000;
    /// Maintenance windows at most that are not over.
    pub const MAINTENANCE_WINDOWS: usize = 200;
    /// For how long those that are over are kept, ms.
    pub const MAINTENANCE_KEPT_MS: i64 = 60 * 86_400_000;

    /// All alerts that are kept: the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn alert_list(&self) -> Result<Vec<Alert>, StoreError> {
        let mut alerts = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::alert::list).await?,
            Backend::Cassandra(db) => db.catalog().await?.alerts()?,
        };
        alerts.sort_by_key(|alert| std::cmp::Reverse((alert.raised, alert.id)));
        Ok(alerts)
    }

    /// One alert.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn alert_fetch(&self, id: AlertId) -> Result<Alert, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(move |connection| sqlite::alert::fetch(connection, id)).await,
            Backend::Cassandra(db) => db.catalog().await?.alert(id),
        }
    }

    /// Somebody does something with an alert.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where that
    /// cannot be done with it any more.
    pub async fn alert_do(&self, id: AlertId, by: UserId, deed: AlertDeed, at: Timestamp) -> Result<(), StoreError> {
        let event = self.event(deed.action(), format_args!("alert:{id}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::alert::act(batch, id, by, &deed, at)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.alert_do(id, by, &deed, at)).await,
        }
    }

    /// Writes what an evaluation came to: on a file all of it or nothing, on a cluster
    /// alert by alert, and then what is watched. It is no change that somebody made, and
    /// not audited. What is raised while an alert of its key is open is passed over.
    /// Alerts that are over make room.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn alert_change(
        &self,
        changes: Vec<AlertChange>,
        watches: Option<Vec<Watch>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                db.write(move |batch| sqlite::alert::change(batch.connection, &changes, watches.as_ref(), now)).await
            }
            Backend::Cassandra(db) => db.alert_change(changes, watches, now).await,
        }
    }

    /// What is watched, as the last evaluation left it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn alert_watches(&self) -> Result<Vec<Watch>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::alert::watches).await,
            Backend::Cassandra(db) => db.alert_watches().await,
        }
    }

    /// Says when nothing of a gateway, or of a location's gateways, is judged.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where what it is about is not there,
    /// [`StoreError::Conflict`] where there are too many.
    pub async fn maintenance_save(&self, new: Maintenance, now: Timestamp) -> Result<(), StoreError> {
        let about = match &new.subject {
            MaintenanceSubject::Gateway(gateway) => format!("gateway:{gateway}"),
            MaintenanceSubject::Location(location) => format!("location:{location}"),
        };
        let detail =
            json!({ "about": about, "from": new.window.from.to_string(), "until": new.window.until.map(|end| end.to_string()) });
        let event = self.event("maintenance.save", format_args!("maintenance:{}", new.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::alert::maintenance_save(batch, &new, now)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.maintenance_save(&new, now)).await,
        }
    }

    /// Ends a maintenance window now; one that has not begun is taken away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn maintenance_end(&self, id: MaintenanceId, now: Timestamp) -> Result<(), StoreError> {
        let event = self.event("maintenance.end", format_args!("maintenance:{id}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::alert::maintenance_end(batch, id, now)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.maintenance_end(id, now)).await,
        }
    }

    /// The maintenance windows, the latest first; those that have long been over are not
    /// kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn maintenance_list(&self) -> Result<Vec<Maintenance>, StoreError> {
        let mut windows = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::alert::maintenance).await?,
            Backend::Cassandra(db) => db.catalog().await?.maintenance()?,
        };
        windows.sort_by_key(|window| std::cmp::Reverse((window.window.from, window.id)));
        Ok(windows)
    }

    /// Notes that documents are taken in and stored. It is no change that anybody has to
    /// look at, and not audited.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn intake_note(&self, now: Timestamp) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::alert::intake_note(batch.connection, now)).await,
            Backend::Cassandra(db) => db.intake_note(now).await,
        }
    }

    /// Notes that documents were taken in from an instant on until now, for whoever writes
    /// history; where anybody has said so before, that stands.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn intake_seed(&self, from: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.write(move |batch| sqlite::alert::intake_seed(batch.connection, from, now)).await,
            Backend::Cassandra(db) => db.intake_seed(from, now).await,
        }
    }

    /// When documents were taken in; `None` where nobody has ever said so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn intake_fetch(&self) -> Result<Option<Intake>, StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::alert::intake).await,
            Backend::Cassandra(db) => db.intake().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::ProviderSettings;

    use super::*;

    #[test]
    fn kinds_of_alerts_of_a_later_release_are_passed_over() {
        let text = r#"{"alerts":{"off":["silent","of-a-later-release","clock"]}}"#;
        let settings: ProviderSettings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.alerts.off, [AlertKind::Silent, AlertKind::Clock]);
        assert!(serde_json::from_str::<ProviderSettings>(r#"{"alerts":{"off":[7]}}"#).is_err());
    }
}
