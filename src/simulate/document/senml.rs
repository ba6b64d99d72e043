//! SenML, which tells what a sensor measures by unit alone.

use std::fmt::Write as _;

use super::{Measure, plain};
use crate::simulate::journal::{Document, Reading};

pub(super) const MEASURES: &[Measure] =
    &[plain("value", "W"), plain("value", "Wh"), plain("value", "V"), plain("value", "A"), plain("value", "Hz")];

pub(super) fn xml(document: &Document) -> String {
    let mut xml = String::from("<sensml xmlns=\"urn:ietf:params:xml:ns:senml\">");
    for Reading { sensor, unit, time, value, .. } in &document.readings {
        let _ = write!(xml, "<senml n=\"{sensor}\" t=\"{}.{:03}\" u=\"{unit}\" v=\"{value}\"/>", time / 1000, time % 1000);
    }
    xml.push_str("</sensml>\n");
    xml
}
