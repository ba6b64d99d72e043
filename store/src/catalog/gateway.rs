//! Gateways, and where they are: the rules.

use heliograph_domain::{GatewayId, GatewayState, LocationId, ProviderSettings, TimeWindow, Timestamp, ZoneHistory};

use super::{Catalog, Change, Decision, Record};
use crate::address::{crowds_first, host_of};
use crate::error::StoreError;
use crate::gateway::{DirectoryEntry, GatewayCommissioning, Placement, is_commissioned};
use crate::store::ProviderStore;

/// A gateway that knocks again is noted again after this long.
const KNOCK_AGAIN_MS: i64 = 15 * 60_000;

/// A gateway as it is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) id: GatewayId,
    pub(crate) label: Option<String>,
    pub(crate) state: GatewayState,
    pub(crate) first_seen: Timestamp,
    /// When and from where it knocked, about; only while nothing is stored of it.
    pub(crate) knocked: Option<(Timestamp, String)>,
    /// Whether a document of it was stored.
    pub(crate) stored: bool,
}

/// What tells placements apart.
pub(super) fn place_key(placement: &Placement) -> (GatewayId, Timestamp) {
    (placement.gateway.clone(), placement.window.from)
}

impl Catalog {
    pub(crate) fn gateway(&self, id: &GatewayId) -> Result<&Gateway, StoreError> {
        self.gateways.get(id).ok_or(StoreError::NotFound("gateway"))
    }

    fn gateway_or_waiting(&self, id: &GatewayId, at: Timestamp) -> Gateway {
        let new = || Gateway {
            id: id.clone(),
            label: None,
            state: GatewayState::Waiting,
            first_seen: at,
            knocked: None,
            stored: false,
        };
        self.gateways.get(id).cloned().unwrap_or_else(new)
    }

    /// Notes that documents of a gateway are stored.
    pub(crate) fn gateway_stores(&self, id: &GatewayId, at: Timestamp) -> Vec<Change> {
        match self.gateways.get(id) {
            Some(gateway) if gateway.stored => Vec::new(),
            _ => vec![Change::Put(Record::Gateway(Gateway { stored: true, knocked: None, ..self.gateway_or_waiting(id, at) }))],
        }
    }

    /// Lists a gateway as waiting, making room where many wait.
    pub(crate) fn gateway_knocks(&self, id: &GatewayId, address: &str, at: Timestamp) -> Vec<Change> {
        let known = self.gateways.get(id);
        let noted = known.is_some_and(|gateway| {
            let recent = |(noted, from): &(Timestamp, String)| {
                host_of(from) == host_of(address) && at.millis_since(*noted) < KNOCK_AGAIN_MS
            };
            gateway.stored || gateway.state != GatewayState::Waiting || gateway.knocked.as_ref().is_some_and(recent)
        });
        if noted {
            return Vec::new();
        }
        let gateway = Gateway { knocked: Some((at, address.to_owned())), ..self.gateway_or_waiting(id, at) };
        let room = if known.is_some() { Vec::new() } else { self.room_for_one() };
        room.into_iter().chain([Change::Put(Record::Gateway(gateway))]).collect()
    }

    /// Forgets waiting gateways, so that one more fits: of the address that most of
    /// them knock from, the one that did so longest ago.
    fn room_for_one(&self) -> Vec<Change> {
        let waiting: Vec<&Gateway> = self.gateways.values().filter(|gateway| gateway.state == GatewayState::Waiting).collect();
        let excess = (waiting.len() + 1).saturating_sub(ProviderStore::WAITING_GATEWAYS);
        if excess == 0 {
            return Vec::new();
        }
        let owned = |gateway: &Gateway| self.commissions.values().any(|commission| commission.gateway == gateway.id);
        let mut forgettable: Vec<(Timestamp, &str, &Gateway)> = waiting
            .into_iter()
            .filter(|gateway| !gateway.stored && !owned(gateway))
            .filter_map(|gateway| gateway.knocked.as_ref().map(|(at, address)| (*at, address.as_str(), gateway)))
            .collect();
        forgettable.sort_by_key(|(at, ..)| *at);
        let crowds = forgettable.into_iter().map(|(_, address, gateway)| (host_of(address), 0, gateway)).collect();
        crowds_first(crowds).take(excess).map(|gateway| Change::Remove(Record::Gateway(gateway.clone()))).collect()
    }

    pub(crate) fn gateway_commission(&self, new: &GatewayCommissioning) -> Decision {
        if self.gateways.get(&new.gateway).is_some_and(|known| known.state == GatewayState::Commissioned) {
            return Err(is_commissioned(&new.gateway));
        }
        let commissioned = self.gateways.values().filter(|gateway| gateway.state == GatewayState::Commissioned).count();
        let most = self.settings.clone().unwrap_or_default().max_gateways;
        if commissioned >= most as usize {
            return Err(StoreError::TooManyGateways(most));
        }
        let gateway = Gateway {
            state: GatewayState::Commissioned,
            label: new.label.clone(),
            ..self.gateway_or_waiting(&new.gateway, new.at)
        };
        let mut changes = self.place(&new.gateway, new.location, new.from)?;
        changes.push(Change::Put(Record::Gateway(gateway)));
        changes.push(self.credential(&new.gateway, new.credential, new.at)?);
        Ok(changes)
    }

    pub(crate) fn gateway_move(&self, id: &GatewayId, location: LocationId, from: Timestamp) -> Decision {
        self.gateway(id)?;
        self.place(id, location, from)
    }

    /// Ends the placement that holds `from` and whatever was planned after it, and
    /// begins a new one. What has ended already is history and stays.
    fn place(&self, id: &GatewayId, location: LocationId, from: Timestamp) -> Decision {
        if !self.locations.contains_key(&location) {
            return Err(StoreError::NotFound("location"));
        }
        if self.places(id).any(|place| place.window.until.is_some_and(|until| until > from)) {
            return Err(StoreError::Elsewhere);
        }
        let mut changes = self.cut_places(id, from);
        let window = TimeWindow { from, until: None };
        changes.push(Change::Put(Record::Placement(Placement { gateway: id.clone(), location, window })));
        Ok(changes)
    }

    /// The placements of a gateway, by time.
    fn places<'a>(&'a self, id: &'a GatewayId) -> impl Iterator<Item = &'a Placement> {
        self.placements.range((id.clone(), Timestamp::MIN)..=(id.clone(), Timestamp::MAX)).map(|(_, placement)| placement)
    }

    /// In which zone a gateway was when.
    pub(crate) fn zone_history(&self, id: &GatewayId) -> ZoneHistory {
        let zone = |place: &Placement| Some((place.window, self.locations.get(&place.location)?.zone.clone()));
        let places: Vec<_> = self.places(id).filter_map(zone).collect();
        let elsewhere = self.settings.as_ref().map_or_else(|| ProviderSettings::default().zone, |settings| settings.zone.clone());
        ZoneHistory::new(&elsewhere, &places)
    }

    /// Ends what is open at an instant and removes what begins then or later.
    fn cut_places(&self, id: &GatewayId, at: Timestamp) -> Vec<Change> {
        let cut = |place: &Placement| {
            if place.window.from >= at {
                Some(Change::Remove(Record::Placement(place.clone())))
            } else if place.window.until.is_none() {
                let window = TimeWindow { until: Some(at), ..place.window };
                Some(Change::Put(Record::Placement(Placement { window, ..place.clone() })))
            } else {
                None
            }
        };
        self.places(id).filter_map(cut).collect()
    }

    pub(crate) fn gateway_rename(&self, id: &GatewayId, label: Option<String>) -> Decision {
        Ok(vec![Change::Put(Record::Gateway(Gateway { label, ..self.gateway(id)?.clone() }))])
    }

    pub(crate) fn gateway_retire(&self, id: &GatewayId, at: Timestamp) -> Decision {
        let gateway = Gateway { state: GatewayState::Retired, ..self.gateway(id)?.clone() };
        let mut changes = self.cut_places(id, at);
        changes.push(Change::Put(Record::Gateway(gateway)));
        changes.extend(self.credentials_end(id, at)?);
        Ok(changes)
    }

    /// Where a gateway is now.
    pub(crate) fn location_of(&self, id: &GatewayId) -> Option<LocationId> {
        self.places(id).find(|place| place.window.until.is_none()).map(|place| place.location)
    }

    /// What ingest has to know of all gateways.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub(crate) fn directory(&self) -> Result<Vec<DirectoryEntry>, StoreError> {
        let mut keys = self.keys_in_force()?;
        let mut certificates = self.certificates_by_gateway()?;
        let mut clocks = self.clock_corrections()?;
        let entry = |gateway: &Gateway| DirectoryEntry {
            gateway: gateway.id.clone(),
            state: gateway.state,
            zone: self.location_of(&gateway.id).and_then(|id| self.locations.get(&id)).map(|location| location.zone.clone()),
            keys: keys.remove(&gateway.id).unwrap_or_default(),
            certificates: certificates.remove(&gateway.id).unwrap_or_default(),
            clock: clocks.remove(&gateway.id).unwrap_or_default(),
            stored: gateway.stored,
        };
        Ok(self.gateways.values().map(entry).collect())
    }
}
