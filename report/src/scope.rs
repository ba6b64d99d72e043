//! Who looks: nothing is read without one.

use heliograph_domain::{Commission, CustomerId, GatewayId, LocationId, TimeWindow, Timestamp};
use heliograph_store::{Placement, ProviderStore, StoreError};

/// What a reader may see.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// All of the provider's data: its own people.
    Everything,
    /// What a customer's commissions cover, and only while they run.
    Customer(Vec<Commission>),
    /// Some locations, and what stands there, since it was put there.
    Locations {
        /// Which ones.
        locations: Vec<LocationId>,
        /// What has been put there.
        placements: Vec<Placement>,
    },
}

impl Scope {
    /// The scope of the provider's own people.
    #[must_use]
    pub const fn everything() -> Self {
        Self::Everything
    }

    /// The scope of a customer, as its commissions stand now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_customer(store: &ProviderStore, customer: CustomerId) -> Result<Self, StoreError> {
        Ok(Self::Customer(store.commission_list_by_customer(customer).await?))
    }

    /// The scope of somebody who works at some locations, as gateways stand there now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_locations(store: &ProviderStore, locations: &[LocationId]) -> Result<Self, StoreError> {
        let mut placements = store.placement_list().await?;
        placements.retain(|placement| locations.contains(&placement.location));
        Ok(Self::Locations { locations: locations.to_vec(), placements })
    }

    /// Whether a location as a whole may be seen.
    #[must_use]
    pub fn has_location(&self, location: LocationId) -> bool {
        match self {
            Self::Everything => true,
            Self::Customer(_) => false,
            Self::Locations { locations, .. } => locations.contains(&location),
        }
    }

    /// What of a gateway may be seen now; `None`: it does not exist for this
    /// reader. Where several commissions run, the one that began last counts.
    #[must_use]
    pub fn window(&self, gateway: &GatewayId, now: Timestamp) -> Option<TimeWindow> {
        match self {
            Self::Everything => Some(TimeWindow::ALWAYS),
            Self::Customer(commissions) => commissions
                .iter()
                .filter(|commission| commission.gateway == *gateway)
                .filter_map(|commission| commission.visible_at(now))
                .max_by_key(|window| window.from),
            // What has left is seen no longer, and what came is not seen where it was before.
            Self::Locations { placements, .. } => placements
                .iter()
                .filter(|placement| placement.gateway == *gateway && placement.window.contains(now))
                .map(|placement| placement.window)
                .max_by_key(|window| window.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_location_shows_what_stands_there_since_it_does() {
        let place = |number| LocationId::new(Uuid::from_u128(number));
        let at = |hour: i64| Timestamp::clamped(hour * 3_600_000);
        let placed = |gateway: &str, number, from, until: Option<i64>| Placement {
            gateway: GatewayId::parse(gateway).unwrap(),
            location: place(number),
            window: TimeWindow { from: at(from), until: until.map(at) },
        };
        let scope = Scope::Locations {
            locations: vec![place(1)],
            placements: vec![placed("stays", 1, 5, None), placed("left", 1, 0, Some(5)), placed("comes", 1, 20, None)],
        };
        let seen = |gateway: &str| scope.window(&GatewayId::parse(gateway).unwrap(), at(10));
        assert_eq!(seen("stays"), Some(TimeWindow { from: at(5), until: None }));
        assert_eq!((seen("left"), seen("comes"), seen("elsewhere")), (None, None, None));
        assert!(scope.has_location(place(1)) && !scope.has_location(place(2)));
        assert!(Scope::everything().has_location(place(2)) && !Scope::Customer(Vec::new()).has_location(place(1)));
    }
}
