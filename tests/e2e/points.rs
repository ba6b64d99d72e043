//! `heliograph point`, `array` and `correction`: what an operator types when
//! hardware changes, and when readings were wrong.

use std::path::Path;

use heliograph_domain::{GatewayId, Kind, Location, LocationId, Quantity, TimeWindow, Timestamp, Zone};

use crate::binary::run;
use crate::sample::{document, open};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A location, and a gateway with a counter that reads 0, 10, 7000 and 7010 Wh.
async fn fill(folder: &Path) {
    let store = open(folder, "sunrise");
    let id = LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap();
    let location = Location { id, name: "Mill".into(), zone: Zone::utc(), position: None, installed_kwp: None };
    store.location_save(location).await.unwrap();
    let begin = at("2026-06-01T00:00:00Z");
    let values = [0.0, 10.0, 7000.0, 7010.0];
    let values = (0..).zip(values).map(|(n, value)| (begin.plus_millis(n * 300_000), value));
    let mut document = document("gw-1", ("meter", "energy", "Wh"), begin, values);
    (document.series[0].kind, document.series[0].quantity) = (Some(Kind::Counter), Some(Quantity::EnergyProduced));
    store.document_write(document).await.unwrap();
    store.close().await;
}

async fn increase(folder: &Path) -> f64 {
    let store = open(folder, "sunrise");
    let gateway = GatewayId::parse("gw-1").unwrap();
    let found = store.rollup_list(&gateway, TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
    store.close().await;
    found[0].windows.iter().map(|window| window.rollup.increase).sum()
}

/// Runs a command of the provider; answers its exit code and what it said.
pub(crate) fn heliograph(folder: &Path, command: &str) -> (Option<i32>, String) {
    let words: Vec<&str> = command.split(' ').collect();
    let (name, rest) = words.split_at(2);
    let arguments = [name, &["--provider", "sunrise"], rest].concat();
    let output = run(&arguments, folder);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap().trim_end().to_owned())
}

#[tokio::test]
async fn a_swapped_meter_is_corrected_and_the_correction_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder).await;
    assert_eq!(increase(folder).await, 7010.0);
    let swap = "correction create --gateway gw-1 --sensor meter --metric energy --from 2026-06-01T00:08:00Z --swap 16 6995 --reason swapped";
    let (code, id) = heliograph(folder, swap);
    assert_eq!(code, Some(0), "{id}");
    assert_eq!(increase(folder).await, 16.0 + 5.0 + 10.0);
    let (_, listed) = heliograph(folder, "correction list");
    assert!(listed.contains("meter swap, 16 to 6995 Wh") && listed.contains("by operator"), "{listed}");
    assert_eq!(heliograph(folder, &format!("correction revert --correction {id}")), (Some(0), String::new()));
    assert_eq!(increase(folder).await, 7010.0);
    assert!(heliograph(folder, "correction list").1.contains("taken back by operator"));
    assert_eq!(heliograph(folder, &format!("correction revert --correction {id}")).0, Some(1));
    let (_, trail) = heliograph(folder, "audit list");
    assert!(trail.contains("correction.create") && trail.contains("correction.revert"), "{trail}");
}

#[tokio::test]
async fn what_is_wrong_with_a_correction_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder).await;
    let create = |rest: &str| heliograph(folder, &format!("correction create --gateway gw-1 --sensor meter {rest}"));
    for (rest, code, named) in [
        ("--metric energy --from 2026-06-01 --reason x", 64, "--exclude"),
        ("--metric energy --from 2026-06-01 --exclude --scale 2 --reason x", 64, "cannot be used with"),
        ("--metric energy --from noon --exclude --reason x", 64, "noon"),
        ("--metric power --from 2026-06-01 --exclude --reason x", 1, "energy in Wh"),
        ("--metric energy --from 2026-06-01 --to 2026-05-01 --exclude --reason x", 1, "must end after it begins"),
        ("--metric energy --from 2026-06-01 --scale 0 --reason x", 1, "factor"),
        ("--metric energy --from 2026-06-01 --value 5 --reason x", 1, "within a year"),
    ] {
        let (found, said) = create(rest);
        assert_eq!(found, Some(code), "{rest}: {said}");
        assert!(said.contains(named), "{rest}: {said}");
    }
    assert_eq!(heliograph(folder, "correction list"), (Some(0), String::new()));
    let (code, said) = create("--metric energy --from 2026-06-01 --shift -90m --reason x");
    assert_eq!(code, Some(0), "{said}");
    assert!(heliograph(folder, "correction list").1.contains("shift by -5400 s"));
}

#[tokio::test]
async fn points_and_arrays_are_set_up_from_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder).await;
    let (code, point) = heliograph(folder, "point add --location Mill --name Roof --role production");
    assert_eq!(code, Some(0), "{point}");
    assert!(heliograph(folder, "point add --location Barn --name Roof --role production").1.contains("Mill"));
    let bind =
        |from: &str| heliograph(folder, &format!("point bind --point {point} --gateway gw-1 --sensor meter --from {from}"));
    assert_eq!(bind("2026-01-01"), (Some(0), String::new()));
    // Binding anew ends what was bound; a sensor that is not there changes nothing.
    assert_eq!(
        heliograph(folder, &format!("point bind --point {point} --gateway gw-1 --sensor no --from 2026-02-01")).0,
        Some(1)
    );
    assert!(heliograph(folder, "point list").1.contains("from 2026-01-01T00:00:00Z on"));
    assert_eq!(bind("2026-03-01"), (Some(0), String::new()));
    let (_, listed) = heliograph(folder, "point list");
    assert!(listed.contains("Roof, Mill") && listed.contains("to 2026-03-01T00:00:00Z"), "{listed}");
    assert_eq!(heliograph(folder, &format!("point end --point {point} --at 2026-06-01")).0, Some(0));
    assert_eq!(heliograph(folder, &format!("point unbind --point {point} --from 2026-03-01")).0, Some(0));
    assert_eq!(heliograph(folder, &format!("point remove --point {point}")).0, Some(0));
    assert_eq!(heliograph(folder, "point list"), (Some(0), String::new()));
    let (code, array) = heliograph(folder, "array add --location Mill --kwp 9.5 --tilt 30 --azimuth 180");
    assert_eq!(code, Some(0), "{array}");
    assert!(heliograph(folder, "array list").1.contains("9.5 kWp, tilt 30, azimuth 180, Mill  from always on"));
    assert_eq!(heliograph(folder, &format!("array remove --array {array}")).0, Some(0));
}
