//! What entries of the trail are about, to look for them.

/// What an entry is about, to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gateways,
    Places,
    Corrections,
    Customers,
    People,
    Settings,
    Documents,
    Alerts,
    Upkeep,
    Rest,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Gateways,
        Self::Places,
        Self::Corrections,
        Self::Customers,
        Self::People,
        Self::Settings,
        Self::Documents,
        Self::Alerts,
        Self::Upkeep,
        Self::Rest,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gateways => "gateways",
            Self::Places => "places",
            Self::Corrections => "corrections",
            Self::Customers => "customers",
            Self::People => "people",
            Self::Settings => "settings",
            Self::Documents => "documents",
            Self::Alerts => "alerts",
            Self::Upkeep => "upkeep",
            Self::Rest => "rest",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Gateways => "Gateways, sensors, keys",
            Self::Places => "Locations, points, arrays",
            Self::Corrections => "Corrections",
            Self::Customers => "Customers, commissions",
            Self::People => "People and their ways in",
            Self::Settings => "Settings",
            Self::Documents => "Mappings, quarantine",
            Self::Alerts => "Alerts, maintenance",
            Self::Upkeep => "Retention, archives, damage",
            Self::Rest => "Anything else",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        match text {
            "" => Ok(None),
            text => Self::ALL.into_iter().find(|kind| kind.as_str() == text).map(Some).ok_or("choose a kind of the list"),
        }
    }

    /// That of an action such as `gateway.retire`.
    pub(super) fn of(action: &str) -> Self {
        match action.split('.').next().unwrap_or_default() {
            "gateway" | "sensor" | "series" | "credential" | "certificate" => Self::Gateways,
            "location" | "point" | "binding" | "array" | "target" => Self::Places,
            "correction" => Self::Corrections,
            "customer" | "commission" => Self::Customers,
            "user" | "api-token" => Self::People,
            "settings" | "logo" => Self::Settings,
            "mapping" | "quarantine" => Self::Documents,
            "alert" | "maintenance" => Self::Alerts,
            "archive" | "retention" | "damage" => Self::Upkeep,
            _ => Self::Rest,
        }
    }
}
