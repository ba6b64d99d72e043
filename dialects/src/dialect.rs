//! Which dialect a document speaks, told by its root element alone.

use std::fmt;

/// The dialects that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `push` and `hello`, Heliograph's own.
    Native,
    /// SenML as XML (RFC 8428), and the form of its drafts.
    SenMl,
    /// SunSpec data exchange.
    SunSpec,
    /// AcquiSuite data acquisition servers (Obvius, Leviton).
    AcquiSuite,
    /// eGauge meters.
    EGauge,
    /// Rainforest EAGLE gateways and RAVEn adapters.
    Rainforest,
    /// The import interface of meteocontrol.
    Mii,
    /// SMA Sunny WebBox, Cluster Controller and Sunny Data Control.
    Sma,
    /// Any other, by a mapping.
    Mapped,
}

impl Dialect {
    /// The name in logs, metrics and quarantine rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::SenMl => "senml",
            Self::SunSpec => "sunspec",
            Self::AcquiSuite => "acquisuite",
            Self::EGauge => "egauge",
            Self::Rainforest => "rainforest",
            Self::Mii => "mii",
            Self::Sma => "sma",
            Self::Mapped => "mapped",
        }
    }

    /// Every dialect that has a decoder.
    pub const ALL: &'static [Self] =
        &[Self::Native, Self::SenMl, Self::SunSpec, Self::AcquiSuite, Self::EGauge, Self::Rainforest, Self::Mii, Self::Sma];

    /// Reads the name of a dialect.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == name)
    }

    /// Recognises a root element by its local name, without regard to case, and
    /// by its namespace where it has one. eGauge's names say little: its root has a
    /// `serial` too.
    pub(crate) fn recognise(local: &str, namespace: Option<&str>, has_serial: bool) -> Option<Self> {
        let named = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(local));
        let within = |uri: &str| namespace.is_none_or(|found| found == uri);
        match () {
            () if named(&["push", "hello"]) && within(crate::native::NAMESPACE) => Some(Self::Native),
            () if named(&["sensml", "senml"]) && within(crate::senml::NAMESPACE) => Some(Self::SenMl),
            () if named(&["sunSpecData", "sunSpecPlantExtract"]) && namespace.is_none_or(crate::sunspec::is_namespace) => {
                Some(Self::SunSpec)
            }
            () if named(&["DAS"]) && namespace.is_none() => Some(Self::AcquiSuite),
            () if named(&["group", "data"]) && has_serial && namespace.is_none() => Some(Self::EGauge),
            () if named(crate::rainforest::ROOTS) && namespace.is_none() => Some(Self::Rainforest),
            () if named(&["mii"]) && within(crate::mii::NAMESPACE) => Some(Self::Mii),
            () if named(crate::sma::ROOTS) && within(crate::sma::NAMESPACE) => Some(Self::Sma),
            () => None,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
