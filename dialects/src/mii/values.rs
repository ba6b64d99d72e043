//! The values of the import interface: units, and what they mean, by type of
//! device. Typed in from the lists that meteocontrol publishes for version 2 of
//! the interface; a name there stands for itself and for all that carry an index
//! behind it (`U_DC` for `U_DC1` and `U_DC1_2`).

use heliograph_domain::{Kind, Quantity};

use crate::harvest::Meaning;

/// Unit (empty: none) and meaning of a value. Of values with an index only the
/// unit is known: phases and strings are parts of a whole that is there too.
pub(super) fn describe(kind: &str, name: &str) -> (&'static str, Meaning) {
    let tables = tables(kind);
    let find = |name: &str| tables.iter().flat_map(|table| table.iter()).find(|row| row.0 == name);
    if let Some((_, unit, meaning)) = find(name) {
        return (unit, *meaning);
    }
    let part = Meaning::of(Kind::Gauge, Quantity::Other);
    let (stem, maximum) = name.strip_suffix("_MAX").map_or((name, ""), |stem| (stem, "_MAX"));
    match find(&format!("{}{maximum}", without_index(stem))) {
        Some((_, unit, meaning)) => (unit, Meaning { kind: meaning.kind, ..part }),
        None => ("", Meaning::UNKNOWN),
    }
}

/// `U_DC1_2` without `1_2`.
fn without_index(name: &str) -> &str {
    let mut stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    while let Some(shorter) = stem.strip_suffix('_').filter(|shorter| shorter.ends_with(|c: char| c.is_ascii_digit())) {
        stem = shorter.trim_end_matches(|c: char| c.is_ascii_digit());
    }
    stem
}

type Row = (&'static str, &'static str, Meaning);

fn tables(kind: &str) -> &'static [&'static [Row]] {
    match kind {
        "inverter" => &[INVERTER, COMMON],
        "meter" => &[METER, COMMON],
        "meteo" => &[METEO, COMMON],
        "stringbox" => &[STRING_BOX, COMMON],
        "battery" => &[BATTERY, COMMON],
        "genset" => &[GENSET, COMMON],
        "tracker" => &[TRACKER, COMMON],
        "powermanagement" | "power-plant-controller" | "ppc" => &[PLANT_CONTROLLER, COMMON],
        _ => &[COMMON],
    }
}

const fn plain(name: &'static str, unit: &'static str) -> Row {
    (name, unit, Meaning::gauge(Quantity::Other))
}

const fn gauge(name: &'static str, unit: &'static str, quantity: Quantity) -> Row {
    (name, unit, Meaning::gauge(quantity))
}

const fn counter(name: &'static str, unit: &'static str, quantity: Quantity) -> Row {
    (name, unit, Meaning::of(Kind::Counter, quantity))
}

const fn interval(name: &'static str, quantity: Quantity) -> Row {
    (name, "kWh", Meaning::of(Kind::IntervalEnergy, quantity))
}

const COMMON: &[Row] =
    &[gauge("STATE", "", Quantity::Status), gauge("ERROR", "", Quantity::Status), plain("QS_TX", ""), plain("QS_RX", "")];

const INVERTER: &[Row] = &[
    plain("A_IN", ""),
    plain("D_IN", ""),
    gauge("COS_PHI", "", Quantity::PowerFactor),
    plain("COS_PHI_LOAD", ""),
    plain("COS_PHI_NOM", ""),
    ("E_DAY", "kWh", Meaning::of(Kind::DayCounter, Quantity::EnergyProduced)),
    interval("E_INT", Quantity::EnergyProduced),
    counter("E_TOTAL", "kWh", Quantity::EnergyProduced),
    // Begins anew each year.
    counter("E_YEAR", "kWh", Quantity::Other),
    counter("FT_AC_DAY", "min", Quantity::Other),
    counter("FT_AC_TOTAL", "hour", Quantity::Other),
    gauge("F_AC", "Hz", Quantity::Frequency),
    gauge("I_AC", "A", Quantity::Current),
    gauge("I_DC", "A", Quantity::Current),
    plain("I_GDFI", "mA"),
    counter("OT_AC_DAY", "min", Quantity::Other),
    counter("OT_AC_TOTAL", "hour", Quantity::Other),
    gauge("P_AC", "W", Quantity::AcPower),
    gauge("P_DC", "W", Quantity::DcPower),
    gauge("Q_AC", "var", Quantity::ReactivePower),
    plain("R_AC", "mOhm"),
    plain("R_ISO", "kOhm"),
    gauge("S_AC", "VA", Quantity::ApparentPower),
    gauge("T", "°C", Quantity::TemperatureDevice),
    gauge("T_WR", "°C", Quantity::TemperatureDevice),
    gauge("U_AC", "V", Quantity::Voltage),
    plain("U_AC_L1L2", "V"),
    plain("U_AC_L2L3", "V"),
    plain("U_AC_L3L1", "V"),
    gauge("U_DC", "V", Quantity::Voltage),
    plain("U_DC_NE", "V"),
    plain("U_DC_PE", "V"),
    plain("PC", "%"),
];

const METER: &[Row] = &[
    counter("M_AC_EQ_CAP_EXP", "kvarh", Quantity::Other),
    counter("M_AC_EQ_CAP_IMP", "kvarh", Quantity::Other),
    counter("M_AC_EQ_IND_EXP", "kvarh", Quantity::Other),
    counter("M_AC_EQ_IND_IMP", "kvarh", Quantity::Other),
    counter("M_AC_EQ_TOTAL", "kvarh", Quantity::Other),
    counter("M_AC_ES_EXP", "kVAh", Quantity::Other),
    counter("M_AC_ES_IMP", "kVAh", Quantity::Other),
    counter("M_AC_E_EXP", "kWh", Quantity::EnergyExported),
    counter("M_AC_E_IMP", "kWh", Quantity::EnergyImported),
    gauge("M_AC_F", "Hz", Quantity::Frequency),
    gauge("M_AC_I", "A", Quantity::Current),
    plain("M_AC_I_N", "A"),
    plain("M_AC_I_SF", ""),
    plain("M_AC_I_DEN", ""),
    plain("M_AC_I_NUM", ""),
    plain("M_AC_I_MUL", ""),
    plain("M_AC_U_SF", ""),
    plain("M_AC_U_DEN", ""),
    plain("M_AC_U_NUM", ""),
    plain("M_AC_U_MUL", ""),
    counter("M_AC_OT_TOTAL", "hour", Quantity::Other),
    gauge("M_AC_P", "W", Quantity::AcPower),
    gauge("M_AC_PF_COSPHI", "cosphi", Quantity::PowerFactor),
    plain("M_AC_PF_TANPHI", "tanphi"),
    gauge("M_AC_Q", "var", Quantity::ReactivePower),
    gauge("M_AC_S", "VA", Quantity::ApparentPower),
    gauge("M_AC_U", "V", Quantity::Voltage),
    plain("M_AC_U_L1L2", "V"),
    plain("M_AC_U_L2L3", "V"),
    plain("M_AC_U_L3L1", "V"),
    counter("M_DC_E_EXP", "kWh", Quantity::Other),
    counter("M_DC_E_IMP", "kWh", Quantity::Other),
    plain("M_DC_I", "A"),
    gauge("M_DC_P", "W", Quantity::DcPower),
    plain("M_DC_U", "V"),
    plain("M_EQ_CAP_INT_EXP", "kvarh"),
    plain("M_EQ_CAP_INT_IMP", "kvarh"),
    plain("M_EQ_IND_INT_EXP", "kvarh"),
    plain("M_EQ_IND_INT_IMP", "kvarh"),
    plain("R_ISO", "kOhm"),
];

const METEO: &[Row] = &[
    plain("E_AH_ABS", "g/m³"),
    gauge("E_AH_REL", "%", Quantity::Humidity),
    plain("E_ALT", "m"),
    plain("E_AP_ABS", "hPa"),
    plain("E_AP_REL", "hPa"),
    gauge("E_AT", "°C", Quantity::TemperatureAmbient),
    plain("E_DEWPOINT", "°C"),
    plain("E_F_S", "rpm"),
    plain("E_IH_REL", "%"),
    plain("E_IP_ABS", "hPa"),
    plain("E_LIGHTNING_COUNT", ""),
    counter("E_LIGHTNING_COUNT_TOTAL", "", Quantity::Other),
    plain("E_PRECIPITATION", ""),
    counter("E_RF_ABS", "mm", Quantity::Other),
    plain("E_RF_DIF", "mm"),
    plain("E_RF_I", "mm/h"),
    plain("E_SNOW_DEPTH", "m"),
    plain("E_TILT", "°"),
    plain("E_W_D", "°"),
    gauge("E_W_S", "m/s", Quantity::WindSpeed),
    plain("E_W_S_MAX", "m/s"),
    plain("SLI", "%"),
    plain("SLI_RAW", "%"),
    plain("SNOW_LOAD", "kg/m²"),
    gauge("SRAD", "W/m²", Quantity::IrradiancePlane),
    plain("SRAD_DIFFUSE", "W/m²"),
    plain("SRAD_DIRECT", "W/m²"),
    plain("SR", "%"),
    plain("SUN_H", "h"),
    plain("T", "°C"),
    plain("WATER_DEPTH", "m"),
    plain("WD_P", "W"),
    plain("WD_U", "V"),
];

const STRING_BOX: &[Row] = &[
    plain("A_IN", ""),
    plain("D_IN", ""),
    plain("I", "A"),
    plain("I_AVG", "A"),
    gauge("I_SUM", "A", Quantity::Current),
    gauge("P_DC", "W", Quantity::DcPower),
    gauge("T", "°C", Quantity::TemperatureDevice),
    gauge("U_DC", "V", Quantity::Voltage),
];

const BATTERY: &[Row] = &[
    plain("B_CAPACITY", "Ah"),
    plain("B_DOD", "%"),
    plain("B_E_CHARGE_AC", "kWh"),
    plain("B_E_DISCHARGE_AC", "kWh"),
    counter("B_E_EXP", "kWh", Quantity::EnergyDischarged),
    counter("B_E_EXP_AC", "kWh", Quantity::Other),
    counter("B_E_IMP", "kWh", Quantity::EnergyCharged),
    counter("B_E_IMP_AC", "kWh", Quantity::Other),
    interval("B_E_INT_EXP", Quantity::EnergyDischarged),
    interval("B_E_INT_EXP_AC", Quantity::Other),
    interval("B_E_INT_IMP", Quantity::EnergyCharged),
    interval("B_E_INT_IMP_AC", Quantity::Other),
    plain("B_E_STORED", "kWh"),
    gauge("B_F_AC", "Hz", Quantity::Frequency),
    gauge("B_I_AC", "A", Quantity::Current),
    plain("B_I_DC", "A"),
    plain("B_I_DIS_DC", "A"),
    plain("B_LIM_I_CHARGE", "A"),
    plain("B_LIM_I_DISCHARGE", "A"),
    plain("B_LIM_P_CHARGE", "W"),
    plain("B_LIM_P_DISCHARGE", "W"),
    plain("B_LIM_U_CHARGE", "V"),
    plain("B_LIM_U_DISCHARGE", "V"),
    counter("B_OT_TOTAL", "h", Quantity::Other),
    plain("B_P_AC", "W"),
    gauge("B_P_DC", "W", Quantity::DcPower),
    gauge("B_Q_AC", "var", Quantity::ReactivePower),
    plain("B_RECTTIFIER_TOT_I_DC", "A"),
    plain("B_RECTTIFIER_TOT_P_DC", "kW"),
    plain("B_RECTTIFIER_TOT_U_DC_PCS", "V"),
    gauge("B_SOC", "%", Quantity::StateOfCharge),
    plain("B_SOCH", "%"),
    plain("B_SOE", "%"),
    plain("B_SOH", "%"),
    gauge("B_S_AC", "VA", Quantity::ApparentPower),
    plain("B_T_CELL", "°C"),
    plain("B_T_CELL_MAX", "°C"),
    plain("B_T_CELL_MIN", "°C"),
    plain("B_T_M", "°C"),
    plain("B_T_M_MAX", "°C"),
    plain("B_T_M_MIN", "°C"),
    plain("B_T_U", "°C"),
    gauge("B_U_AC", "V", Quantity::Voltage),
    plain("B_U_BULK", "V"),
    plain("B_U_CELL", "V"),
    plain("B_U_CELL_AVG", "V"),
    plain("B_U_CELL_MAX", "V"),
    plain("B_U_CELL_MIN", "V"),
    plain("B_U_DC", "V"),
    plain("B_U_OC", "V"),
    plain("B_WORKING_M_COUNT", ""),
    gauge("T", "°C", Quantity::TemperatureDevice),
];

const GENSET: &[Row] = &[
    gauge("COS_PHI", "", Quantity::PowerFactor),
    interval("E_INT", Quantity::EnergyProduced),
    counter("E_TOTAL", "kWh", Quantity::EnergyProduced),
    plain("FUEL_CONSUMPTION", "l/h"),
    plain("FUEL_EFFICIENCY", "kWh/l"),
    plain("FUEL_REMAINING", "%"),
    gauge("F_AC", "Hz", Quantity::Frequency),
    gauge("I_AC", "A", Quantity::Current),
    plain("OT_REMAINING", "h"),
    counter("OT_TOTAL", "h", Quantity::Other),
    gauge("P_AC", "W", Quantity::AcPower),
    plain("P_AC_SET_ABS", "W"),
    plain("P_AC_SET_REL", "%"),
    gauge("Q_AC", "var", Quantity::ReactivePower),
    plain("Q_AC_SET_ABS", "var"),
    gauge("S_AC", "VA", Quantity::ApparentPower),
    gauge("U_AC", "V", Quantity::Voltage),
    plain("U_AC_L1L2", "V"),
    plain("U_AC_L2L3", "V"),
    plain("U_AC_L3L1", "V"),
];

const TRACKER: &[Row] = &[
    plain("ACC_X", "m/s²"),
    plain("ACC_Y", "m/s²"),
    plain("ACC_Z", "m/s²"),
    plain("AZIMUTH", "°"),
    plain("AZIMUTH_MANUAL", "°"),
    plain("AZIMUTH_TARGET", "°"),
    plain("ELEVATION", "°"),
    plain("ELEVATION_MANUAL", "°"),
    plain("ELEVATION_TARGET", "°"),
    gauge("MODE", "", Quantity::Status),
    gauge("T", "°C", Quantity::TemperatureDevice),
    plain("TB_CAPACITY", "mAh"),
    plain("TB_I", "mA"),
    plain("TB_REM_CAP", "mAh"),
    plain("TB_SOC", "%"),
    plain("TB_SOH", "%"),
    plain("TB_U", "V"),
    plain("TRACKER_TYPE", ""),
];

const PLANT_CONTROLLER: &[Row] = &[
    plain("PPC_BAT_PF_CTRL", ""),
    plain("PPC_BAT_P_AC_INV", "W"),
    plain("PPC_BAT_P_CTRL_REL", "%"),
    plain("PPC_BAT_Q_AC_INV", "var"),
    plain("PPC_BAT_Q_CTRL_REL", "%"),
    gauge("PPC_BAT_SOC", "%", Quantity::StateOfCharge),
    gauge("PPC_PF", "", Quantity::PowerFactor),
    plain("PPC_PF_SET", ""),
    plain("PPC_PV_PF_CTRL", ""),
    plain("PPC_PV_P_AC_INV", "W"),
    plain("PPC_PV_P_CTRL_REL", "%"),
    plain("PPC_PV_Q_AC_INV", "var"),
    plain("PPC_PV_Q_CTRL_REL", "%"),
    plain("PPC_P_AC", "W"),
    plain("PPC_P_AC_AVAIL", "W"),
    plain("PPC_P_AC_GRIDOP_MAX", "W"),
    plain("PPC_P_AC_INV", "W"),
    plain("PPC_P_AC_RPC_MAX", "W"),
    plain("PPC_P_SET_ABS", "W"),
    plain("PPC_P_SET_CTRL_REL", "%"),
    plain("PPC_P_SET_GRIDOP_ABS", "W"),
    plain("PPC_P_SET_GRIDOP_REL", "%"),
    plain("PPC_P_SET_MANUAL_ABS", "W"),
    plain("PPC_P_SET_MANUAL_REL", "%"),
    gauge("PPC_P_SET_MODE", "", Quantity::Status),
    plain("PPC_P_SET_REL", "%"),
    plain("PPC_P_SET_RPC_ABS", "W"),
    plain("PPC_P_SET_RPC_REL", "%"),
    plain("PPC_P_SET_STATIC_ABS", "W"),
    plain("PPC_P_SET_STATIC_REL", "%"),
    plain("PPC_Q_AC", "var"),
    plain("PPC_Q_AC_AVAIL", "var"),
    plain("PPC_Q_SET_ABS", "var"),
    gauge("PPC_Q_SET_MODE", "", Quantity::Status),
    plain("PPC_Q_SET_REL", "%"),
    plain("PPC_V_REF_Q_V_SHIFT", "V"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_left_out_of_a_name() {
        for (name, stem) in
            [("U_DC1_2", "U_DC"), ("T", "T"), ("B_T_CELL1_2_3", "B_T_CELL"), ("I12", "I"), ("P_AC", "P_AC"), ("7", "")]
        {
            assert_eq!(without_index(name), stem);
        }
    }

    #[test]
    fn units_follow_the_type_of_device_and_parts_mean_nothing_of_their_own() {
        let check = |kind: &str, name: &str, unit: &str, kind_of_series, quantity| {
            let (found, meaning) = describe(kind, name);
            assert_eq!((found, meaning.kind, meaning.quantity), (unit, kind_of_series, quantity), "{kind} {name}");
        };
        let gauge = Some(Kind::Gauge);
        check("inverter", "P_AC", "W", gauge, Some(Quantity::AcPower));
        check("inverter", "P_AC1", "W", gauge, Some(Quantity::Other));
        check("inverter", "U_DC1_2", "V", gauge, Some(Quantity::Other));
        check("inverter", "U_AC_L1L2", "V", gauge, Some(Quantity::Other));
        check("inverter", "E_INT", "kWh", Some(Kind::IntervalEnergy), Some(Quantity::EnergyProduced));
        check("meteo", "E_W_S2_MAX", "m/s", gauge, Some(Quantity::Other));
        check("meter", "M_AC_E_IMP", "kWh", Some(Kind::Counter), Some(Quantity::EnergyImported));
        check("meter", "M_AC_E_IMP2", "kWh", Some(Kind::Counter), Some(Quantity::Other));
        check("battery", "B_CHARGE_LEVEL", "", None, None);
        check("toaster", "P_AC", "", None, None);
        check("toaster", "STATE3", "", gauge, Some(Quantity::Other));
    }
}
