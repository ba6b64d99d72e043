//! People who sign in, and what their API tokens are for.

use serde::{Deserialize, Serialize};

use crate::id::LocationId;
use crate::series::named_set;
use crate::time::Timestamp;

named_set! {
    /// What a person may do.
    UserRole {
        /// Everything.
        Owner = "owner",
        /// Everything but people and credentials of people.
        Operator = "operator",
        /// Sets up what stands at the locations of an assignment, until that ends.
        Installer = "installer",
        /// Reads everything of the provider, changes nothing.
        Viewer = "viewer",
        /// Reads what it is commissioned, changes nothing.
        Customer = "customer",
    }
}

impl UserRole {
    /// Whether the role sees all of the provider's data rather than a part.
    #[must_use]
    pub const fn sees_everything(self) -> bool {
        matches!(self, Self::Owner | Self::Operator | Self::Viewer)
    }

    /// Whether the role sees where gateways stand: a customer sees gateways alone.
    #[must_use]
    pub const fn sees_locations(self) -> bool {
        !matches!(self, Self::Customer)
    }

    /// Whether the role may set up what stands at the locations that it sees.
    #[must_use]
    pub const fn may_install(self) -> bool {
        matches!(self, Self::Owner | Self::Operator | Self::Installer)
    }

    /// Whether the role may change settings, gateways and customers.
    #[must_use]
    pub const fn may_change(self) -> bool {
        matches!(self, Self::Owner | Self::Operator)
    }
}

/// Where an installer works, and up to when: access that ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    until: Timestamp,
    locations: Vec<LocationId>,
}

/// Why there is no such assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentProblem {
    /// It would have ended.
    #[error("the end must lie in the future")]
    Past,
    /// It would last too long.
    #[error("the end must lie at most {} days ahead", Assignment::MOST_DAYS)]
    TooFar,
    /// It names no location.
    #[error("choose at least one location")]
    NoLocation,
    /// It names too many.
    #[error("choose at most {} locations", Assignment::MOST_LOCATIONS)]
    TooManyLocations,
}

impl AssignmentProblem {
    /// Whether it is about the end rather than the locations.
    #[must_use]
    pub const fn is_of_end(self) -> bool {
        matches!(self, Self::Past | Self::TooFar)
    }
}

impl Assignment {
    /// The longest one, in days.
    pub const MOST_DAYS: i64 = 366;
    /// The most locations of one.
    pub const MOST_LOCATIONS: usize = 500;

    /// An assignment that is made or prolonged at `now`.
    ///
    /// # Errors
    /// When it would have ended, last too long, or names no or too many locations.
    pub fn new(until: Timestamp, mut locations: Vec<LocationId>, now: Timestamp) -> Result<Self, AssignmentProblem> {
        locations.sort_unstable();
        locations.dedup();
        if until <= now {
            return Err(AssignmentProblem::Past);
        }
        // The last day counts in full, whatever the clocks do on the way there.
        if until.millis_since(now) > (Self::MOST_DAYS + 1) * 86_400_000 {
            return Err(AssignmentProblem::TooFar);
        }
        match locations.len() {
            0 => Err(AssignmentProblem::NoLocation),
            1..=Self::MOST_LOCATIONS => Ok(Self { until, locations }),
            _ => Err(AssignmentProblem::TooManyLocations),
        }
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Where it is, by id.
    #[must_use]
    pub fn locations(&self) -> &[LocationId] {
        &self.locations
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn runs_at(&self, now: Timestamp) -> bool {
        now < self.until
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
            // What an installer may do is for people in the field, not for programs.
            _ if matches!(role, UserRole::Installer) => false,
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
        assert_eq!(fitting(UserRole::Installer), []);
        assert_eq!(fitting(UserRole::Viewer), [ApiScope::Read]);
        assert_eq!(fitting(UserRole::Customer), [ApiScope::Read]);
    }

    #[test]
    fn an_assignment_ends_within_a_year_and_is_somewhere() {
        let day = |day: i64| Timestamp::clamped(day * 86_400_000);
        let place = |number| LocationId::new(uuid::Uuid::from_u128(number));
        let check = |until, locations: &[u128]| {
            Assignment::new(day(until), locations.iter().copied().map(place).collect(), day(100)).map(|made| made.locations.len())
        };
        assert_eq!(check(101, &[2, 1, 2]), Ok(2));
        assert_eq!(check(100, &[1]), Err(AssignmentProblem::Past));
        assert_eq!(check(467, &[1]), Ok(1));
        assert_eq!(check(468, &[1]), Err(AssignmentProblem::TooFar));
        assert_eq!(check(101, &[]), Err(AssignmentProblem::NoLocation));
        let many: Vec<u128> = (0..=Assignment::MOST_LOCATIONS as u128).collect();
        assert_eq!(check(101, &many), Err(AssignmentProblem::TooManyLocations));
    }

    #[test]
    fn an_assignment_is_over_at_its_end() {
        let at = Timestamp::clamped;
        let made = Assignment::new(at(1000), vec![LocationId::new(uuid::Uuid::nil())], at(0)).unwrap();
        assert!(made.runs_at(at(999)) && !made.runs_at(at(1000)));
    }
}
