//! Who looks: nothing is read without one.

use heliograph_domain::{Commission, CustomerId, GatewayId, TimeWindow, Timestamp};
use heliograph_store::{ProviderStore, StoreError};

/// What a reader may see.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// All of the provider's data: its own people.
    Everything,
    /// What a customer's commissions cover, and only while they run.
    Customer(Vec<Commission>),
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
        }
    }
}
