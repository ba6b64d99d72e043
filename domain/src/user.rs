//! People who sign in, and what their API tokens are for.

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

named_set! {
    /// What an API token may be used for. It never reaches further than the role of
    /// whoever made it.
    ApiScope {
        /// Reads what its maker sees.
        Read = "read",
        /// Changes what its maker may change.
        Write = "write",
        /// Reads who has access, and who changed what.
        People = "people",
    }
}

impl ApiScope {
    /// Whether somebody of this role can do anything by it.
    #[must_use]
    pub const fn fits(self, role: UserRole) -> bool {
        match self {
            Self::Read => true,
            Self::Write => role.may_change(),
            Self::People => matches!(role, UserRole::Owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_reaches_further_than_a_role() {
        let fitting = |role| ApiScope::ALL.iter().copied().filter(|scope| scope.fits(role)).collect::<Vec<_>>();
        assert_eq!(fitting(UserRole::Owner), [ApiScope::Read, ApiScope::Write, ApiScope::People]);
        assert_eq!(fitting(UserRole::Operator), [ApiScope::Read, ApiScope::Write]);
        assert_eq!(fitting(UserRole::Viewer), [ApiScope::Read]);
        assert_eq!(fitting(UserRole::Customer), [ApiScope::Read]);
    }
}
