//! People who sign in.

use crate::series::named_set;

named_set! {
    /// What a person may do.
    UserRole {
        /// Everything.
        Owner = "owner",
        /// Everything but people and credentials of people.
        Operator = "operator",
        /// Reads everything of the provider, changes nothing.
        Viewer = "viewer",
        /// Reads what it is commissioned, changes nothing.
        Customer = "customer",
    }
}

impl UserRole {
    /// Whether the role sees all of the provider's data rather than a customer's part.
    #[must_use]
    pub const fn sees_everything(self) -> bool {
        !matches!(self, Self::Customer)
    }

    /// Whether the role may change settings, gateways and customers.
    #[must_use]
    pub const fn may_change(self) -> bool {
        matches!(self, Self::Owner | Self::Operator)
    }
}
