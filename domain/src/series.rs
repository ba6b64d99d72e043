//! What a series is: where it comes from, how its numbers behave, what they mean.

use serde::{Deserialize, Serialize};

use crate::id::{GatewayId, MetricName, SensorId};
use crate::unit::Unit;

/// A series' identity. Its unit belongs to it: the same metric in another unit
/// is another series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The gateway that pushes it.
    pub gateway: GatewayId,
    /// The sensor behind that gateway.
    pub sensor: SensorId,
    /// What the sensor calls the measurement.
    pub metric: MetricName,
    /// The canonical unit.
    pub unit: Unit,
}

/// A closed set of names, each with the text that stands for it on the wire, in
/// the store and in the panel's forms.
macro_rules! named_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every member, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text that stands for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads the text that stands for it.
            ///
            /// # Errors
            /// When no member has that text.
            pub fn parse(text: &str) -> Result<Self, $crate::text::ParseError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::text::ParseError::new(
                        stringify!($name),
                        format!("{text:?} is none of {}", [$($text),+].join(", ")),
                    )),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named_set;

named_set! {
    /// How the numbers of a series behave over time.
    Kind {
        /// A value of the moment: power, voltage, temperature.
        Gauge = "gauge",
        /// Only rises; may reset to zero or wrap.
        Counter = "counter",
        /// A running total that may also fall (eGauge registers).
        NetCounter = "net-counter",
        /// The energy of one interval, which begins at the time of the reading (mii `E_INT`).
        IntervalEnergy = "interval-energy",
        /// A counter that starts from zero each local day.
        DayCounter = "day-counter",
    }
}

impl Kind {
    /// Whether the increase from one reading to the next is what counts.
    #[must_use]
    pub const fn accumulates(self) -> bool {
        matches!(self, Self::Counter | Self::NetCounter | Self::DayCounter)
    }
}

named_set! {
    /// What the numbers of a series mean; reports look series up by it.
    Quantity {
        /// Active power on the AC side; for a grid meter positive is drawn, negative is fed in. W.
        AcPower = "ac-power",
        /// Power on the DC side. W.
        DcPower = "dc-power",
        /// Energy produced. Wh.
        EnergyProduced = "energy-produced",
        /// Energy drawn from the grid. Wh.
        EnergyImported = "energy-imported",
        /// Energy fed into the grid. Wh.
        EnergyExported = "energy-exported",
        /// Energy consumed by loads. Wh.
        EnergyConsumed = "energy-consumed",
        /// Energy put into a battery. Wh.
        EnergyCharged = "energy-charged",
        /// Energy taken from a battery. Wh.
        EnergyDischarged = "energy-discharged",
        /// Reactive power. var.
        ReactivePower = "reactive-power",
        /// Apparent power. VA.
        ApparentPower = "apparent-power",
        /// Power factor, −1 to 1.
        PowerFactor = "power-factor",
        /// Voltage. V.
        Voltage = "voltage",
        /// Current. A.
        Current = "current",
        /// Grid frequency. Hz.
        Frequency = "frequency",
        /// Irradiance on the plane of the modules. W/m².
        IrradiancePlane = "irradiance-plane",
        /// Irradiance on the horizontal. W/m².
        IrradianceHorizontal = "irradiance-horizontal",
        /// Temperature of the modules. °C.
        TemperatureModule = "temperature-module",
        /// Temperature of the air. °C.
        TemperatureAmbient = "temperature-ambient",
        /// Temperature inside a device. °C.
        TemperatureDevice = "temperature-device",
        /// Wind speed. m/s.
        WindSpeed = "wind-speed",
        /// Relative humidity. %RH.
        Humidity = "humidity",
        /// How full a battery is. %.
        StateOfCharge = "state-of-charge",
        /// A state or error number.
        Status = "status",
        /// Anything else.
        Other = "other",
    }
}
