//! Local times around a change of the clock come out as the instants they were.

use std::fmt::Write;

use heliograph_dialects::{Context, Zones, decode};
use heliograph_domain::{GatewayId, Timestamp, Zone};
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;

/// Where the clock goes back in autumn: zone and the instant of the change.
const CHANGES: [(&str, &str); 4] = [
    ("Europe/Madrid", "2026-10-25T01:00:00Z"),
    ("America/St_Johns", "2026-11-01T04:30:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
];

/// A push with one series at these instants, as the local clock shows them.
fn push(zone: &Zone, instants: &[Timestamp]) -> String {
    let mut xml = String::from("<push gateway='g'><sensor id='s'>");
    for instant in instants {
        let _ = write!(xml, "<reading metric='m' time='{}'>1</reading>", zone.civil(*instant));
    }
    xml.push_str("</sensor></push>");
    xml
}

fn decoded(zone: &Zone, xml: &str, received: Timestamp) -> Vec<Timestamp> {
    let context = Context { received, zone, hello_gateway: None, mappings: &[] };
    decode(xml.as_bytes(), &context).unwrap().readings.iter().map(|reading| reading.time).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_series_over_the_whole_change_is_read_back_in_either_direction(
        change in prop::sample::select(&CHANGES[..]),
        step in prop::sample::select(&[1_i64, 5, 10, 15][..]),
        offset in 0..15_i64,
        falling in any::<bool>(),
        late in 0..400_i64,
    ) {
        let zone = Zone::parse(change.0).unwrap();
        let middle = Timestamp::parse_rfc3339(change.1).unwrap();
        let mut instants: Vec<Timestamp> =
            (-120..120).filter(|minute| minute % step == 0).map(|minute| middle.plus_millis((minute + offset) * MINUTE_MS)).collect();
        let received = middle.plus_millis((120 + late) * MINUTE_MS);
        if falling {
            instants.reverse();
        }
        prop_assert_eq!(decoded(&zone, &push(&zone, &instants), received), instants);
    }

    #[test]
    fn single_live_readings_are_read_back(
        change in prop::sample::select(&CHANGES[..]),
        minute in -90..90_i64,
        delay in 0..20_i64,
    ) {
        let zone = Zone::parse(change.0).unwrap();
        let instant = Timestamp::parse_rfc3339(change.1).unwrap().plus_millis(minute * MINUTE_MS);
        let received = instant.plus_millis(delay * MINUTE_MS + 7000);
        prop_assert_eq!(decoded(&zone, &push(&zone, &[instant]), received), vec![instant]);
    }
}

#[test]
fn series_of_one_document_are_told_apart() {
    let zone = Zone::parse("Europe/Madrid").unwrap();
    let reading = |metric: &str, time: &str| format!("<reading metric='{metric}' time='2026-10-25T{time}:00'>1</reading>");
    let inside: String =
        ["a", "b", "a", "b"].into_iter().zip(["02:00", "02:00", "02:30", "02:00"]).map(|(m, t)| reading(m, t)).collect();
    let xml = format!("<push gateway='g'><sensor id='s'>{inside}</sensor></push>");
    let times = decoded(&zone, &xml, Timestamp::parse_rfc3339("2026-11-21T00:00:00Z").unwrap());
    let expected = ["2026-10-25T00:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"];
    assert_eq!(times, expected.map(|text| Timestamp::parse_rfc3339(text).unwrap()));
}

/// Gateway `150` stands in Madrid, `h` in New York, and nobody knows where others are.
#[derive(Debug)]
struct Places([Zone; 3]);

impl Zones for Places {
    fn of(&self, gateway: Option<&GatewayId>) -> &Zone {
        let [madrid, new_york, unknown] = &self.0;
        match gateway.map(GatewayId::as_str) {
            Some("150") => madrid,
            Some("h") => new_york,
            _ => unknown,
        }
    }
}

#[test]
fn a_document_is_in_the_zone_of_whom_it_is_from_wherever_it_says_so() {
    let places = Places(["Europe/Madrid", "America/New_York", "UTC"].map(|zone| Zone::parse(zone).unwrap()));
    let channel = "<MeanPublic><Key>WR:1:Pac</Key><Mean>1</Mean><TimeStamp>2026-11-20T13:00:00</TimeStamp></MeanPublic>";
    let named = "<Info><SerialNumber>150</SerialNumber></Info>";
    let hello = GatewayId::parse("h").unwrap();
    let time = |inside: &str, hello_gateway: Option<&GatewayId>| {
        let context = Context { received: Timestamp::clamped(0), zone: &places, hello_gateway, mappings: &[] };
        let decoded = decode(format!("<WebBox>{inside}</WebBox>").as_bytes(), &context).unwrap();
        decoded.readings.iter().map(|reading| reading.time.to_string()).collect::<Vec<_>>()
    };
    for inside in [format!("{named}{channel}"), format!("{channel}{named}")] {
        assert_eq!(time(&inside, None), ["2026-11-20T12:00:00Z"], "{inside}");
        assert_eq!(time(&inside, Some(&hello)), ["2026-11-20T12:00:00Z"], "{inside}: it says more than its connection");
    }
    assert_eq!(time(channel, Some(&hello)), ["2026-11-20T18:00:00Z"]);
    assert_eq!(time(channel, None), ["2026-11-20T13:00:00Z"]);
}
