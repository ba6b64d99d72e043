//! Customers and what they own for how long.

use serde::{Deserialize, Serialize};

use crate::id::{CommissionId, CustomerId, GatewayId};
use crate::text::EmailAddress;
use crate::time::TimeWindow;

/// Somebody who owns gateways for some time and reads reports about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// What people call it.
    pub name: String,
    /// Where summaries go, if anywhere.
    pub email: Option<EmailAddress>,
}

/// One ownership: the customer sees the gateway's data of this window only,
/// and nothing at all once the window has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commission {
    /// Its id.
    pub id: CommissionId,
    /// Who owns.
    pub customer: CustomerId,
    /// What is owned.
    pub gateway: GatewayId,
    /// For how long.
    pub window: TimeWindow,
}

impl Commission {
    /// What the customer may see of the gateway at `now`: the window itself
    /// while it runs, nothing before it has begun or after it has ended.
    #[must_use]
    pub fn visible_at(&self, now: crate::Timestamp) -> Option<TimeWindow> {
        self.window.contains(now).then_some(self.window)
    }
}
