//! The points of the SunSpec models that inverters, meters, weather stations,
//! string combiners and panels use: unit and name of the scale factor, typed in
//! from the published model definitions; and what they mean.

use heliograph_domain::{Kind, Quantity};

use crate::harvest::Meaning;

/// A point of a model.
#[derive(Debug, PartialEq)]
pub(super) struct Known {
    /// Empty where the model has none.
    pub(super) unit: &'static str,
    /// The point that carries its scale factor; empty: none.
    pub(super) scale: &'static str,
}

/// Points that share unit and scale factor.
type Row = (&'static [&'static str], Known);

const fn row(points: &'static [&'static str], unit: &'static str, scale: &'static str) -> Row {
    (points, Known { unit, scale })
}

/// A point of a model, by the names that models have since version 1.1.
pub(super) fn find(model: u32, point: &str) -> Option<&'static Known> {
    let table = match model {
        101..=103 | 111..=113 => INVERTER,
        122 => STATUS,
        160 => TRACKER,
        201..=204 | 211..=214 => METER,
        306 => REFERENCE,
        307 if point == "WndSpd" => STATION_WIND,
        302..=308 => WEATHER,
        401..=404 => COMBINER,
        501 | 502 => PANEL,
        _ => return None,
    };
    table.iter().find(|(points, _)| points.contains(&point)).map(|(_, known)| known)
}

const INVERTER: &[Row] = &[
    row(&["A", "AphA", "AphB", "AphC"], "A", "A_SF"),
    row(&["PPVphAB", "PPVphBC", "PPVphCA", "PhVphA", "PhVphB", "PhVphC"], "V", "V_SF"),
    row(&["W"], "W", "W_SF"),
    row(&["Hz"], "Hz", "Hz_SF"),
    row(&["VA"], "VA", "VA_SF"),
    row(&["VAr"], "var", "VAr_SF"),
    row(&["PF"], "Pct", "PF_SF"),
    row(&["WH"], "Wh", "WH_SF"),
    row(&["DCA"], "A", "DCA_SF"),
    row(&["DCV"], "V", "DCV_SF"),
    row(&["DCW"], "W", "DCW_SF"),
    row(&["TmpCab", "TmpSnk", "TmpTrns", "TmpOt"], "C", "Tmp_SF"),
];

const STATUS: &[Row] = &[
    row(&["ActWh"], "Wh", ""),
    row(&["ActVAh"], "VAh", ""),
    row(&["ActVArhQ1", "ActVArhQ2", "ActVArhQ3", "ActVArhQ4"], "varh", ""),
    row(&["VArAval"], "var", "VArAval_SF"),
    row(&["WAval"], "var", "WAval_SF"),
    row(&["Tms"], "Secs", ""),
    row(&["Ris"], "ohms", "Ris_SF"),
];

const TRACKER: &[Row] = &[
    row(&["DCA"], "A", "DCA_SF"),
    row(&["DCV"], "V", "DCV_SF"),
    row(&["DCW"], "W", "DCW_SF"),
    row(&["DCWH"], "Wh", "DCWH_SF"),
    row(&["Tms"], "Secs", ""),
    row(&["Tmp"], "C", ""),
];

const METER: &[Row] = &[
    row(&["A", "AphA", "AphB", "AphC"], "A", "A_SF"),
    row(&["PhV", "PhVphA", "PhVphB", "PhVphC", "PPV", "PPVphAB", "PPVphBC", "PPVphCA"], "V", "V_SF"),
    row(&["PhVphAB", "PhVphBC", "PhVphCA"], "V", "V_SF"),
    row(&["Hz"], "Hz", "Hz_SF"),
    row(&["W", "WphA", "WphB", "WphC"], "W", "W_SF"),
    row(&["VA", "VAphA", "VAphB", "VAphC"], "VA", "VA_SF"),
    row(&["VAR", "VARphA", "VARphB", "VARphC"], "var", "VAR_SF"),
    row(&["PF", "PFphA", "PFphB", "PFphC"], "Pct", "PF_SF"),
    row(&["TotWhExp", "TotWhExpPhA", "TotWhExpPhB", "TotWhExpPhC"], "Wh", "TotWh_SF"),
    row(&["TotWhImp", "TotWhImpPhA", "TotWhImpPhB", "TotWhImpPhC"], "Wh", "TotWh_SF"),
    row(&["TotVAhExp", "TotVAhExpPhA", "TotVAhExpPhB", "TotVAhExpPhC"], "VAh", "TotVAh_SF"),
    row(&["TotVAhImp", "TotVAhImpPhA", "TotVAhImpPhB", "TotVAhImpPhC"], "VAh", "TotVAh_SF"),
    row(&["TotVArhImpQ1", "TotVArhImpQ1PhA", "TotVArhImpQ1PhB", "TotVArhImpQ1PhC"], "varh", "TotVArh_SF"),
    row(&["TotVArhImpQ2", "TotVArhImpQ2PhA", "TotVArhImpQ2PhB", "TotVArhImpQ2PhC"], "varh", "TotVArh_SF"),
    row(&["TotVArhExpQ3", "TotVArhExpQ3PhA", "TotVArhExpQ3PhB", "TotVArhExpQ3PhC"], "varh", "TotVArh_SF"),
    row(&["TotVArhExpQ4", "TotVArhExpQ4PhA", "TotVArhExpQ4PhB", "TotVArhExpQ4PhC"], "varh", "TotVArh_SF"),
];

/// The published table says W/m2 of all four, which is a slip: its texts say what they
/// are.
const REFERENCE: &[Row] = &[row(&["GHI"], "W/m2", ""), row(&["A"], "A", ""), row(&["V"], "V", ""), row(&["Tmp"], "C", "")];

const STATION_WIND: &[Row] = &[row(&["WndSpd"], "mps", "")];

/// The scale factors that the definitions of these models fix are those of registers;
/// where points are exchanged, no `sf` means that there is none to apply: the
/// specification's own example has decimal degrees.
const WEATHER: &[Row] = &[
    row(&["GHI", "POAI", "DFI", "DNI", "OTI"], "W/m2", ""),
    row(&["TmpBOM", "TmpAmb"], "C", ""),
    row(&["Inclx", "Incly", "Inclz", "Lat", "Long"], "Degrees", ""),
    row(&["Alt"], "meters", ""),
    row(&["RH", "SoilWet"], "Pct", ""),
    row(&["Pres"], "HPa", ""),
    row(&["WndSpd"], "m/s", ""),
    row(&["WndDir"], "deg", ""),
    row(&["Rain", "Snw"], "mm", ""),
    row(&["ElecFld"], "Vm", ""),
    row(&["SurWet"], "kO", ""),
];

const COMBINER: &[Row] = &[
    row(&["DCAMax", "DCA"], "A", "DCA_SF"),
    row(&["DCAhr", "InDCAhr"], "Ah", "DCAhr_SF"),
    row(&["DCV"], "V", "DCV_SF"),
    row(&["Tmp"], "C", ""),
    row(&["DCW"], "W", "DCW_SF"),
    row(&["DCWh"], "Wh", "DCWh_SF"),
    row(&["DCPR", "InDCPR"], "Pct", ""),
    row(&["InDCA"], "A", "InDCA_SF"),
    row(&["InDCV"], "V", "InDCV_SF"),
    row(&["InDCW"], "W", "InDCW_SF"),
    row(&["InDCWh"], "Wh", "InDCWh_SF"),
];

const PANEL: &[Row] = &[
    row(&["Tms"], "Secs", ""),
    row(&["OutA", "InA"], "A", "A_SF"),
    row(&["OutV", "InV"], "V", "V_SF"),
    row(&["OutWh", "InWh"], "Wh", "Wh_SF"),
    row(&["OutW", "OutPw", "InW"], "W", "W_SF"),
    row(&["Tmp"], "C", ""),
];

/// The point that carries the scale factor of one by its name of version 1.0, where
/// several share it; alone, it is called as its point is, with `_SF` behind it.
pub(super) fn first_generation_scale(point: &str) -> Option<&'static str> {
    FIRST_GENERATION.iter().find(|(points, _)| points.contains(&point)).map(|(_, scale)| *scale)
}

/// Those of inverters, meters, string combiners and panels. Environmental points have none.
const FIRST_GENERATION: &[(&[&str], &str)] = &[
    (&["I_AC_CurrentA", "I_AC_CurrentB", "I_AC_CurrentC"], "I_AC_Current_SF"),
    (&["I_AC_VoltageAB", "I_AC_VoltageBC", "I_AC_VoltageCA"], "I_AC_Voltage_SF"),
    (&["I_AC_VoltageAN", "I_AC_VoltageBN", "I_AC_VoltageCN"], "I_AC_Voltage_SF"),
    (&["I_Temp_Cab", "I_Temp_Sink", "I_Temp_Trans", "I_Temp_Other"], "I_Temp_SF"),
    (&["M_AC_Current_A", "M_AC_Current_B", "M_AC_Current_C"], "M_AC_Current_SF"),
    (&["M_AC_Voltage_LN", "M_AC_Voltage_AN", "M_AC_Voltage_BN", "M_AC_Voltage_CN"], "M_AC_Voltage_SF"),
    (&["M_AC_Voltage_LL", "M_AC_Voltage_AB", "M_AC_Voltage_BC", "M_AC_Voltage_CA"], "M_AC_Voltage_SF"),
    (&["M_AC_Power_A", "M_AC_Power_B", "M_AC_Power_C"], "M_AC_Power_SF"),
    (&["M_AC_VA_A", "M_AC_VA_B", "M_AC_VA_C"], "M_AC_VA_SF"),
    (&["M_AC_VAR_A", "M_AC_VAR_B", "M_AC_VAR_C"], "M_AC_VAR_SF"),
    (&["M_AC_PF_A", "M_AC_PF_B", "M_AC_PF_C"], "M_AC_PF_SF"),
    (&["M_Exported", "M_Exported_A", "M_Exported_B", "M_Exported_C"], "M_Energy_W_SF"),
    (&["M_Imported", "M_Imported_A", "M_Imported_B", "M_Imported_C"], "M_Energy_W_SF"),
    (&["M_Exported_VA", "M_Exported_VA_A", "M_Exported_VA_B", "M_Exported_VA_C"], "M_Energy_VA_SF"),
    (&["M_Imported_VA", "M_Imported_VA_A", "M_Imported_VA_B", "M_Imported_VA_C"], "M_Energy_VA_SF"),
    (&["M_Import_VARh_Q1", "M_Import_VARh_Q1A", "M_Import_VARh_Q1B", "M_Import_VARh_Q1C"], "M_Energy_VAR_SF"),
    (&["M_Import_VARh_Q2", "M_Import_VARh_Q2A", "M_Import_VARh_Q2B", "M_Import_VARh_Q2C"], "M_Energy_VAR_SF"),
    (&["M_Export_VARh_Q3", "M_Export_VARh_Q3A", "M_Export_VARh_Q3B", "M_Export_VARh_Q3C"], "M_Energy_VAR_SF"),
    (&["M_Export_VARh_Q4", "M_Export_VARh_Q4A", "M_Export_VARh_Q4B", "M_Export_VARh_Q4C"], "M_Energy_VAR_SF"),
    (&["SC_DC_Current_Max", "SC_Input_DC_Current"], "SC_DC_Current_SF"),
    (&["SC_DC_AmpHour", "SC_Input_DC_AmpHour"], "SC_DC_AH_SF"),
    (&["SC_Input_DC_Voltage"], "SC_DC_Voltage_SF"),
    (&["SC_Input_DC_Power"], "SC_DC_Power_SF"),
    (&["SC_Input_DC_Energy"], "SC_DC_Energy_SF"),
    (&["P_DC_Output_Current", "P_DC_Input_Current"], "P_DC_Current_SF"),
    (&["P_DC_Output_Voltage", "P_DC_Input_Voltage"], "P_DC_Voltage_SF"),
    (&["P_DC_Output_Power", "P_DC_Input_Power"], "P_DC_Power_SF"),
    (&["P_DC_Output_Energy", "P_DC_Input_Energy"], "P_DC_Energy_SF"),
];

/// What a point means, by its name of either generation. What is only a part of a
/// whole (a phase, a string, the input of a panel) has no meaning for a site; where its
/// unit is one of sums over time, it is a counter all the same.
pub(super) fn meaning(model: Option<u32>, point: &str, unit: &str) -> Meaning {
    let Some(model) = model else { return Meaning::UNKNOWN };
    let rows = match model {
        101..=103 | 111..=113 => INVERTER_MEANINGS,
        201..=204 | 211..=214 => METER_MEANINGS,
        302..=308 => WEATHER_MEANINGS,
        _ => &[],
    };
    let found = rows.iter().chain(FIRST_GENERATION_SUMS).find(|(names, _)| names.contains(&point));
    let kind = if is_of_sums(unit) { Kind::Counter } else { Kind::Gauge };
    found.map_or(Meaning::of(kind, Quantity::Other), |(_, meaning)| *meaning)
}

/// Wh, VAh, varh, Ah, with whatever prefix.
fn is_of_sums(unit: &str) -> bool {
    let ends_with = |end: &str| {
        let start = unit.len().checked_sub(end.len());
        start.and_then(|start| unit.get(start..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
    };
    ["Wh", "Ah", "varh"].into_iter().any(ends_with)
}

type MeaningRow = (&'static [&'static str], Meaning);

const fn gauge(names: &'static [&'static str], quantity: Quantity, unit: &'static str) -> MeaningRow {
    (names, Meaning::gauge(quantity).in_unit(unit))
}

const fn counter(names: &'static [&'static str], quantity: Quantity, unit: &'static str) -> MeaningRow {
    (names, Meaning::of(Kind::Counter, quantity).in_unit(unit))
}

const INVERTER_MEANINGS: &[MeaningRow] = &[
    gauge(&["W", "I_AC_Power"], Quantity::AcPower, "W"),
    counter(&["WH", "I_AC_Energy_WH"], Quantity::EnergyProduced, "Wh"),
    gauge(&["DCW", "I_DC_Power"], Quantity::DcPower, "W"),
    gauge(&["A", "I_AC_Current"], Quantity::Current, "A"),
    gauge(&["PhVphA", "I_AC_VoltageAN"], Quantity::Voltage, "V"),
    gauge(&["Hz", "I_AC_Frequency"], Quantity::Frequency, "Hz"),
    gauge(&["VA", "I_AC_VA"], Quantity::ApparentPower, "VA"),
    gauge(&["VAr", "I_AC_VAR"], Quantity::ReactivePower, "var"),
    gauge(&["PF", "I_AC_PF"], Quantity::PowerFactor, ""),
    gauge(&["TmpCab", "I_Temp_Cab"], Quantity::TemperatureDevice, "°C"),
    gauge(&["St", "I_Status"], Quantity::Status, ""),
    gauge(&["DCA", "I_DC_Current"], Quantity::Other, "A"),
    gauge(&["DCV", "I_DC_Voltage"], Quantity::Other, "V"),
    gauge(&["I_Temp_Sink", "I_Temp_Trans", "I_Temp_Other"], Quantity::Other, "°C"),
];

const METER_MEANINGS: &[MeaningRow] = &[
    gauge(&["W", "M_AC_Power"], Quantity::AcPower, "W"),
    counter(&["TotWhImp", "M_Imported"], Quantity::EnergyImported, "Wh"),
    counter(&["TotWhExp", "M_Exported"], Quantity::EnergyExported, "Wh"),
    gauge(&["A", "M_AC_Current"], Quantity::Current, "A"),
    gauge(&["PhV", "M_AC_Voltage_LN"], Quantity::Voltage, "V"),
    gauge(&["Hz", "M_AC_Freq"], Quantity::Frequency, "Hz"),
    gauge(&["VA", "M_AC_VA"], Quantity::ApparentPower, "VA"),
    gauge(&["VAR", "M_AC_VAR"], Quantity::ReactivePower, "var"),
    gauge(&["PF", "M_AC_PF"], Quantity::PowerFactor, ""),
];

/// Points of version 1.0, of which no unit is listed.
const FIRST_GENERATION_SUMS: &[MeaningRow] = &[
    counter(&["M_Exported_A", "M_Exported_B", "M_Exported_C"], Quantity::Other, "Wh"),
    counter(&["M_Imported_A", "M_Imported_B", "M_Imported_C"], Quantity::Other, "Wh"),
    counter(&["M_Exported_VA", "M_Exported_VA_A", "M_Exported_VA_B", "M_Exported_VA_C"], Quantity::Other, "VAh"),
    counter(&["M_Imported_VA", "M_Imported_VA_A", "M_Imported_VA_B", "M_Imported_VA_C"], Quantity::Other, "VAh"),
    counter(&["M_Import_VARh_Q1", "M_Import_VARh_Q1A", "M_Import_VARh_Q1B", "M_Import_VARh_Q1C"], Quantity::Other, "varh"),
    counter(&["M_Import_VARh_Q2", "M_Import_VARh_Q2A", "M_Import_VARh_Q2B", "M_Import_VARh_Q2C"], Quantity::Other, "varh"),
    counter(&["M_Export_VARh_Q3", "M_Export_VARh_Q3A", "M_Export_VARh_Q3B", "M_Export_VARh_Q3C"], Quantity::Other, "varh"),
    counter(&["M_Export_VARh_Q4", "M_Export_VARh_Q4A", "M_Export_VARh_Q4B", "M_Export_VARh_Q4C"], Quantity::Other, "varh"),
    counter(&["SC_DC_AmpHour", "SC_Input_DC_AmpHour"], Quantity::Other, "Ah"),
    counter(&["SC_DC_Energy", "SC_Input_DC_Energy"], Quantity::Other, "Wh"),
    counter(&["P_DC_Output_Energy", "P_DC_Input_Energy"], Quantity::Other, "Wh"),
];

const WEATHER_MEANINGS: &[MeaningRow] = &[
    gauge(&["POAI", "E_Irradiance_Plane-of-Array"], Quantity::IrradiancePlane, "W/m²"),
    gauge(&["GHI", "E_Irradiance_Global_Horizontal"], Quantity::IrradianceHorizontal, "W/m²"),
    gauge(&["TmpBOM", "E_BOM_Temp"], Quantity::TemperatureModule, "°C"),
    gauge(&["TmpAmb", "E_Ambient_Temperature"], Quantity::TemperatureAmbient, "°C"),
    gauge(&["RH", "E_Relative_Humidity"], Quantity::Humidity, "%"),
    gauge(&["WndSpd", "E_Wind_Speed"], Quantity::WindSpeed, "m/s"),
];
