//! What a tree says of SunSpec data exchange.

use roxmltree::Node;

use super::said::{Said, Told, attribute, children, is_named, label, or, plain_number, text, when};

/// Gateway is the logger, of which there is one; a device of another is refused.
pub(crate) fn told(root: Node<'_, '_>) -> Told {
    let whole = if is_named(root, "sunSpecData") { vec![root] } else { children(root, "sunSpecData") };
    let mut told = Told::default();
    for device in whole.into_iter().flat_map(|data| children(data, "d")) {
        let logger = label(device, "lid");
        told.gateway = or(&told.gateway, logger).to_owned();
        match logger.is_empty() || logger == told.gateway {
            true => read(device, &mut told.readings),
            false => told.readings.push(Said::default()),
        }
    }
    told
}

fn read(device: Node<'_, '_>, readings: &mut Vec<Said>) {
    let is_common = |model: &Node<'_, '_>| label(*model, "id").parse() == Ok(1_u32);
    let (common, models): (Vec<_>, Vec<_>) = children(device, "m").into_iter().partition(is_common);
    // A device says who it is by attributes, else by its common model.
    let described = |name: &str, points: [&str; 2]| match label(device, name) {
        "" => common.iter().map(|model| described(*model, name, points)).find(|text| !text.is_empty()).unwrap_or_default(),
        text => text.to_owned(),
    };
    let (maker, model) = (described("man", ["Mn", "C_Manufacturer"]), described("mod", ["Md", "C_Model"]));
    let serial = described("sn", ["SN", "C_SerialNumber"]);
    for block in models {
        let parts = [maker.as_str(), &model, or(&serial, label(block, "sn"))].map(str::to_owned);
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let sensor = or(label(device, "id"), &parts.join("-")).to_owned();
        for point in children(block, "p") {
            readings.extend(said(device, block, point, &sensor));
        }
    }
}

fn described(common: Node<'_, '_>, name: &str, points: [&str; 2]) -> String {
    let named = children(common, "p").into_iter().filter(|point| points.contains(&label(*point, "id")));
    let found = named.map(text).find(|text| !text.is_empty());
    // A block of points may carry the serial number.
    found.unwrap_or_else(|| if name == "sn" { label(common, "sn").to_owned() } else { String::new() })
}

/// Scale factors, points without a value and texts are no readings.
fn said(device: Node<'_, '_>, block: Node<'_, '_>, point: Node<'_, '_>, sensor: &str) -> Option<Said> {
    let (model, id, written) = (label(block, "id"), label(point, "id"), text(point));
    let known = model.parse().ok().and_then(|model| known(model, id));
    let is_text = plain_number(&written).is_none() && known.is_none() && label(point, "sf").is_empty();
    if written.is_empty() || id.ends_with("_SF") || is_text {
        return None;
    }
    let index =
        |node| attribute(node, "x").map(str::trim).filter(|x| !x.is_empty()).map_or_else(String::new, |x| format!(".{x}"));
    let name = known.map_or_else(|| first_generation(id), |(_, scale)| scale.to_owned());
    let beside = children(block, "p").into_iter().filter(|other| label(*other, "id") == name && name.ends_with("_SF"));
    let beside = beside.map(text).rfind(|scale| !scale.is_empty()).unwrap_or_default();
    let scale = or(or(label(point, "sf"), &beside), "0").parse::<i32>().ok().filter(|scale| (-10..=10).contains(scale));
    Some(Said {
        sensor: sensor.to_owned(),
        metric: format!("{model}{}/{id}{}", index(block), index(point)),
        unit: Some(or(label(point, "u"), known.map_or("", |(unit, _)| unit)).to_owned()),
        time: when(or(label(point, "t"), label(device, "t"))),
        value: plain_number(&written).zip(scale).map(|(number, scale)| number * 10_f64.powi(scale)),
    })
}

/// The scale factor of a point by its name of version 1.0: phases and sums of a kind have
/// one together.
fn first_generation(id: &str) -> String {
    let shared = [
        ("I_AC_Current A B C", "I_AC_Current_SF"),
        ("I_AC_Voltage AB BC CA AN BN CN", "I_AC_Voltage_SF"),
        ("I_Temp_ Cab Sink Trans Other", "I_Temp_SF"),
        ("M_AC_Current_ A B C", "M_AC_Current_SF"),
        ("M_AC_Voltage_ LN AN BN CN LL AB BC CA", "M_AC_Voltage_SF"),
        ("M_AC_Power_ A B C", "M_AC_Power_SF"),
        ("M_AC_VA_ A B C", "M_AC_VA_SF"),
        ("M_AC_VAR_ A B C", "M_AC_VAR_SF"),
        ("M_AC_PF_ A B C", "M_AC_PF_SF"),
        ("M_ Exported Exported_A Exported_B Exported_C Imported Imported_A Imported_B Imported_C", "M_Energy_W_SF"),
        ("M_Exported_ VA VA_A VA_B VA_C", "M_Energy_VA_SF"),
        ("M_Imported_ VA VA_A VA_B VA_C", "M_Energy_VA_SF"),
        ("M_Import_VARh_ Q1 Q1A Q1B Q1C Q2 Q2A Q2B Q2C", "M_Energy_VAR_SF"),
        ("M_Export_VARh_ Q3 Q3A Q3B Q3C Q4 Q4A Q4B Q4C", "M_Energy_VAR_SF"),
        ("SC_ DC_Current DC_Current_Max Input_DC_Current", "SC_DC_Current_SF"),
        ("SC_ DC_AmpHour Input_DC_AmpHour", "SC_DC_AH_SF"),
        ("SC_ DC_Voltage Input_DC_Voltage", "SC_DC_Voltage_SF"),
        ("SC_ DC_Power Input_DC_Power", "SC_DC_Power_SF"),
        ("SC_ DC_Energy Input_DC_Energy", "SC_DC_Energy_SF"),
        ("P_DC_ Output_Current Input_Current", "P_DC_Current_SF"),
        ("P_DC_ Output_Voltage Input_Voltage", "P_DC_Voltage_SF"),
        ("P_DC_ Output_Power Input_Power", "P_DC_Power_SF"),
        ("P_DC_ Output_Energy Input_Energy", "P_DC_Energy_SF"),
    ];
    let is_of = |names: &str| {
        let (first, rest) = names.split_once(' ').unwrap();
        id.strip_prefix(first).is_some_and(|end| rest.split(' ').any(|known| known == end))
    };
    shared.iter().find(|(names, _)| is_of(names)).map_or_else(|| format!("{id}_SF"), |(_, scale)| (*scale).to_owned())
}

/// Models whose points are not listed here.
pub(crate) fn has_other_models(root: Node<'_, '_>) -> bool {
    root.descendants().any(|node| {
        let model = label(node, "id").parse::<u32>().unwrap_or(0);
        is_named(node, "m") && (matches!(model, 100..=599) && points(model).is_empty())
    })
}

/// Unit and scale factor of a point, as the published models have them.
fn known(model: u32, id: &str) -> Option<(&'static str, &'static str)> {
    if (model, id) == (307, "WndSpd") {
        return Some(("mps", ""));
    }
    let row = points(model).iter().find(|(ids, _, _)| ids.split(' ').any(|known| known == id));
    row.map(|(_, unit, scale)| (*unit, *scale))
}

fn points(model: u32) -> &'static [(&'static str, &'static str, &'static str)] {
    match model {
        101..=103 | 111..=113 => &[
            ("A AphA AphB AphC", "A", "A_SF"),
            ("PPVphAB PPVphBC PPVphCA PhVphA PhVphB PhVphC", "V", "V_SF"),
            ("W", "W", "W_SF"),
            ("Hz", "Hz", "Hz_SF"),
            ("VA", "VA", "VA_SF"),
            ("VAr", "var", "VAr_SF"),
            ("PF", "Pct", "PF_SF"),
            ("WH", "Wh", "WH_SF"),
            ("DCA", "A", "DCA_SF"),
            ("DCV", "V", "DCV_SF"),
            ("DCW", "W", "DCW_SF"),
            ("TmpCab TmpSnk TmpTrns TmpOt", "C", "Tmp_SF"),
        ],
        122 => &[
            ("ActWh", "Wh", ""),
            ("ActVAh", "VAh", ""),
            ("ActVArhQ1 ActVArhQ2 ActVArhQ3 ActVArhQ4", "varh", ""),
            ("VArAval", "var", "VArAval_SF"),
            ("WAval", "var", "WAval_SF"),
            ("Tms", "Secs", ""),
            ("Ris", "ohms", "Ris_SF"),
        ],
        160 => &[
            ("DCA", "A", "DCA_SF"),
            ("DCV", "V", "DCV_SF"),
            ("DCW", "W", "DCW_SF"),
            ("DCWH", "Wh", "DCWH_SF"),
            ("Tms", "Secs", ""),
            ("Tmp", "C", ""),
        ],
        201..=204 | 211..=214 => &[
            ("A AphA AphB AphC", "A", "A_SF"),
            ("PhV PhVphA PhVphB PhVphC PPV PPVphAB PPVphBC PPVphCA PhVphAB PhVphBC PhVphCA", "V", "V_SF"),
            ("Hz", "Hz", "Hz_SF"),
            ("W WphA WphB WphC", "W", "W_SF"),
            ("VA VAphA VAphB VAphC", "VA", "VA_SF"),
            ("VAR VARphA VARphB VARphC", "var", "VAR_SF"),
            ("PF PFphA PFphB PFphC", "Pct", "PF_SF"),
            ("TotWhExp TotWhExpPhA TotWhExpPhB TotWhExpPhC", "Wh", "TotWh_SF"),
            ("TotWhImp TotWhImpPhA TotWhImpPhB TotWhImpPhC", "Wh", "TotWh_SF"),
            ("TotVAhExp TotVAhExpPhA TotVAhExpPhB TotVAhExpPhC", "VAh", "TotVAh_SF"),
            ("TotVAhImp TotVAhImpPhA TotVAhImpPhB TotVAhImpPhC", "VAh", "TotVAh_SF"),
            ("TotVArhImpQ1 TotVArhImpQ1PhA TotVArhImpQ1PhB TotVArhImpQ1PhC", "varh", "TotVArh_SF"),
            ("TotVArhImpQ2 TotVArhImpQ2PhA TotVArhImpQ2PhB TotVArhImpQ2PhC", "varh", "TotVArh_SF"),
            ("TotVArhExpQ3 TotVArhExpQ3PhA TotVArhExpQ3PhB TotVArhExpQ3PhC", "varh", "TotVArh_SF"),
            ("TotVArhExpQ4 TotVArhExpQ4PhA TotVArhExpQ4PhB TotVArhExpQ4PhC", "varh", "TotVArh_SF"),
        ],
        306 => &[("GHI", "W/m2", ""), ("A", "A", ""), ("V", "V", ""), ("Tmp", "C", "")],
        302..=308 => &[
            ("GHI POAI DFI DNI OTI", "W/m2", ""),
            ("TmpBOM TmpAmb", "C", ""),
            ("Inclx Incly Inclz Lat Long", "Degrees", ""),
            ("Alt", "meters", ""),
            ("RH SoilWet", "Pct", ""),
            ("Pres", "HPa", ""),
            ("WndSpd", "m/s", ""),
            ("WndDir", "deg", ""),
            ("Rain Snw", "mm", ""),
            ("ElecFld", "Vm", ""),
            ("SurWet", "kO", ""),
        ],
        401..=404 => &[
            ("DCAMax DCA", "A", "DCA_SF"),
            ("DCAhr InDCAhr", "Ah", "DCAhr_SF"),
            ("DCV", "V", "DCV_SF"),
            ("Tmp", "C", ""),
            ("DCW", "W", "DCW_SF"),
            ("DCWh", "Wh", "DCWh_SF"),
            ("DCPR InDCPR", "Pct", ""),
            ("InDCA", "A", "InDCA_SF"),
            ("InDCV", "V", "InDCV_SF"),
            ("InDCW", "W", "InDCW_SF"),
            ("InDCWh", "Wh", "InDCWh_SF"),
        ],
        501 | 502 => &[
            ("Tms", "Secs", ""),
            ("OutA InA", "A", "A_SF"),
            ("OutV InV", "V", "V_SF"),
            ("OutWh InWh", "Wh", "Wh_SF"),
            ("OutW OutPw InW", "W", "W_SF"),
            ("Tmp", "C", ""),
        ],
        _ => &[],
    }
}
