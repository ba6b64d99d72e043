//! Alerts, what is watched and maintenance windows: the rules.

use heliograph_domain::{Alert, AlertId, Maintenance, MaintenanceId, Timestamp, UserId};

use super::point::put;
use super::{Catalog, Decision};
use crate::alert::{ALERT, AlertChange, AlertDeed, MAINTENANCE, Worked, bygone, changed, has_room, outdated, read_known};
use crate::error::StoreError;

/// Alerts that one batch takes away; a node refuses large ones.
const GONE_AT_ONCE: usize = 100;

impl Catalog {
    pub(crate) fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.texts(ALERT).filter_map(|text| read_known(ALERT, text).transpose()).collect()
    }

    pub(crate) fn alert(&self, id: AlertId) -> Result<Alert, StoreError> {
        self.alerts()?.into_iter().find(|alert| alert.id == id).ok_or(StoreError::NotFound("alert"))
    }

    pub(crate) fn alert_do(&self, id: AlertId, by: UserId, deed: &AlertDeed, at: Timestamp) -> Decision {
        let mut alert = self.alert(id)?;
        deed.done(&mut alert, by, at)?;
        Ok(vec![put(ALERT, &id.to_string(), &alert)?])
    }

    pub(crate) fn alert_change(&self, change: &AlertChange) -> Decision {
        let text = self.bodies.get(&(ALERT.to_owned(), change.id().to_string()));
        let known = text.map(|text| read_known(ALERT, text)).transpose()?.flatten();
        let alerts = self.alerts()?;
        let next = changed(change, known, |key| alerts.iter().any(|alert| alert.is_open() && alert.key == *key));
        next.iter().map(|alert| put(ALERT, &alert.id.to_string(), alert)).collect()
    }

    /// Takes away those that make room, some at once.
    pub(crate) fn alerts_outdated(&self, now: Timestamp) -> Decision {
        let outdated = outdated(&self.alerts()?, now).into_iter().take(GONE_AT_ONCE);
        outdated.map(|id| self.take(ALERT, &id.to_string(), "alert")).collect()
    }

    pub(crate) fn maintenance(&self) -> Result<Vec<Maintenance>, StoreError> {
        self.read(MAINTENANCE)
    }

    pub(crate) fn maintenance_save(&self, new: &Maintenance, now: Timestamp) -> Decision {
        match Worked::on(&new.subject) {
            Worked::Gateway(gateway) => drop(self.gateway(gateway)?),
            Worked::Location(location) if self.locations.contains_key(&location) => {}
            Worked::Location(_) => return Err(StoreError::NotFound("location")),
        }
        let all = self.maintenance()?;
        has_room(&all, now)?;
        let gone = bygone(&all, now).into_iter().map(|id| self.take(MAINTENANCE, &id.to_string(), "maintenance window"));
        gone.chain([put(MAINTENANCE, &new.id.to_string(), new)]).collect()
    }

    pub(crate) fn maintenance_end(&self, id: MaintenanceId, now: Timestamp) -> Decision {
        let found = self.maintenance()?.into_iter().find(|window| window.id == id);
        let name = id.to_string();
        Ok(vec![match found.ok_or(StoreError::NotFound("maintenance window"))?.ended(now) {
            Some(ended) => put(MAINTENANCE, &name, &ended)?,
            None => self.take(MAINTENANCE, &name, "maintenance window")?,
        }])
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{AlertCause, AlertKey, AlertKind, AlertState, MaintenanceSubject, Note, TimeWindow};
    use uuid::Uuid;

    use super::super::Catalog;
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::clamped(minute * 60_000)
    }

    fn id(number: u128) -> AlertId {
        AlertId::new(Uuid::from_u128(number))
    }

    fn raise(number: u128, at: i64) -> AlertChange {
        let key = AlertKey::provider(AlertKind::Quarantine);
        let cause = AlertCause::Quarantine { documents: 30 };
        AlertChange::Raise(Box::new(Alert::raise(id(number), key, cause, minute(at), minute(at))))
    }

    fn carry_out(catalog: &mut Catalog, decided: Decision) {
        decided.unwrap().into_iter().for_each(|change| catalog.apply(change));
    }

    #[test]
    fn a_change_is_of_the_alert_that_it_names_and_old_ones_make_room() {
        let mut catalog = Catalog::default();
        let ended = [AlertChange::End(id(1), minute(3)), AlertChange::Told(id(2), minute(2)), AlertChange::End(id(9), minute(3))];
        let other = |mut change: AlertChange| {
            if let AlertChange::Raise(alert) = &mut change {
                alert.key = AlertKey::provider(AlertKind::MassSilence);
            }
            change
        };
        for change in [raise(1, 1), other(raise(2, 2))].iter().chain(&ended) {
            let decided = catalog.alert_change(change);
            carry_out(&mut catalog, decided);
        }
        assert_eq!(catalog.alert(id(1)).unwrap().state(), AlertState::Resolved);
        assert_eq!((catalog.alert(id(2)).unwrap().untold, catalog.alerts().unwrap().len()), (None, 2));
        assert!(catalog.alerts_outdated(minute(4)).unwrap().is_empty());
        // Much later the one that is over goes.
        let decided = catalog.alerts_outdated(minute(401 * 1_440));
        carry_out(&mut catalog, decided);
        assert_eq!(catalog.alerts().unwrap().iter().map(|alert| alert.id).collect::<Vec<_>>(), [id(2)]);
    }

    #[test]
    fn of_a_key_one_alert_is_open_and_another_is_raised_once_it_is_over() {
        let mut catalog = Catalog::default();
        let mut after = |change: AlertChange| {
            let decided = catalog.alert_change(&change);
            carry_out(&mut catalog, decided);
            catalog.alerts().unwrap().len()
        };
        assert_eq!(after(raise(1, 1)), 1);
        assert_eq!(after(raise(2, 2)), 1);
        assert_eq!(after(AlertChange::End(id(1), minute(3))), 1);
        assert_eq!(after(raise(2, 4)), 2);
    }

    #[test]
    fn alerts_of_kinds_of_a_later_release_are_passed_over_and_damaged_ones_are_not() {
        let mut catalog = Catalog::default();
        let of_kind = |number: u128, from: &str, to: &str| {
            let AlertChange::Raise(alert) = raise(number, 1) else { panic!("it is raised") };
            let text = serde_json::to_string(&alert).unwrap().replace(from, to);
            let body: serde_json::Value = serde_json::from_str(&text).unwrap();
            Ok(vec![put(ALERT, &id(number).to_string(), &body).unwrap()])
        };
        carry_out(&mut catalog, of_kind(1, "kind\":\"quarantine", "kind\":\"loud"));
        carry_out(&mut catalog, of_kind(2, "", ""));
        assert_eq!(catalog.alerts().unwrap().iter().map(|alert| alert.id).collect::<Vec<_>>(), [id(2)]);
        assert!(matches!(catalog.alert(id(1)), Err(StoreError::NotFound(_))));
        assert!(catalog.alert_change(&AlertChange::End(id(1), minute(3))).unwrap().is_empty());
        carry_out(&mut catalog, of_kind(3, "\"raised\"", "\"lifted\""));
        assert!(matches!(catalog.alerts(), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn maintenance_of_what_is_not_there_is_refused() {
        let window = Maintenance {
            id: MaintenanceId::new(Uuid::from_u128(1)),
            subject: MaintenanceSubject::Location(heliograph_domain::LocationId::new(Uuid::from_u128(1))),
            window: TimeWindow::between(minute(1), minute(2)),
            reason: Note::parse("roof").unwrap(),
            by: UserId::new(Uuid::from_u128(1)),
        };
        let refused = Catalog::default().maintenance_save(&window, minute(0));
        assert!(matches!(refused, Err(StoreError::NotFound("location"))), "{refused:?}");
    }
}
