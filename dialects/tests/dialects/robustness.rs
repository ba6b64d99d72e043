//! Whatever the bytes are, decoding ends, soon, with an answer.

use std::time::{Duration, Instant};

use heliograph_dialects::{Context, Frame, Framer, Limits, canonical, decode, mask_credentials};
use heliograph_domain::{Timestamp, Zone};
use proptest::prelude::*;

use crate::fixtures::{Fixture, fixtures};
use crate::invariants::{decoding, framing};

/// Checks what must hold of every answer.
fn exercise(bytes: &[u8]) {
    decoding(None, bytes);
    framing(bytes);
}

fn corpus() -> Vec<Fixture> {
    let mut all: Vec<Fixture> = ["native", "senml", "hostile"].into_iter().flat_map(fixtures).collect();
    all.retain(|fixture| fixture.bytes.len() < 5000);
    all
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static str),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let tokens: &'static [&'static str] = &[
        "<",
        ">",
        "\"",
        "'",
        "=",
        "&",
        ";",
        "&#x10FFFF;",
        "&#xD800;",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "</",
        "/>",
        " xmlns='u'",
        " xmlns:p='u'",
        "p:",
        "-",
        ".",
        "e",
        "+",
        "9999999999999999999999",
        "NaN",
        "2026-10-25T02:30:00",
        "-0001",
        "T",
        "Z",
        "\0",
        "\u{FEFF}",
        "\u{202E}",
        "ä",
        " time=''",
        " t='1e308'",
        " bt='-1e308'",
        " v='1e308'",
        " bv='1e308'",
        " gateway='x'",
    ];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), prop::sample::select(tokens)).prop_map(|(at, token)| Change::Insert(at, token)),
        (at(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), 1..80_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

pub(crate) fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let piece = |at: &prop::sample::Index, length: usize, len: usize| {
        let from = at.index(len + 1);
        from..(from + length).min(len)
    };
    match change {
        Change::Set(at, byte) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Change::Set(..) => {}
        Change::Insert(at, token) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, token.bytes());
        }
        Change::Remove(at, length) => {
            bytes.drain(piece(at, *length, bytes.len()));
        }
        Change::Repeat(at, length) => {
            let range = piece(at, *length, bytes.len());
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, copy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_fixtures_never_panic(pick in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)) {
        let corpus = corpus();
        let mut bytes = corpus[pick.index(corpus.len())].bytes.clone();
        for change in &changes {
            apply(&mut bytes, change);
        }
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn masked_bytes_never_hold_the_key(change in change(), gateway in "[a-z]{1,8}") {
        let mut bytes = format!("<push gateway='{gateway}' key='SECRET-SECRET' seq='1'><sensor id='a'/></push>").into_bytes();
        // A piece of the key that was copied elsewhere cannot be told from data.
        prop_assume!(!matches!(change, Change::Repeat(..)));
        apply(&mut bytes, &change);
        let text = String::from_utf8_lossy(&bytes);
        // Only where the name of the attribute is still there can it be known.
        if text.contains(" key='") {
            let masked = mask_credentials(&bytes);
            prop_assert!(!masked.windows(13).any(|window| window == b"SECRET-SECRET"), "{}", text);
        }
    }
}

/// How long this thread has run: what else the machine has to do is not in it.
pub(crate) fn ran() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn floods_take_time_in_proportion_to_their_bytes() {
    let attributes: String = (0..64).map(|i| format!(" a{i}=''")).collect();
    let namespaces: String = (0..60).map(|i| format!(" xmlns:p{i}='u{i}'")).collect();
    let declared = format!("<push gateway='g'{namespaces}>");
    let (push, sensor) = ("<push gateway='g'>", "<push gateway='g'><sensor id='s'>");
    let value = "<push gateway='g'><sensor id='s'><reading metric='m'>";
    let (push_end, sensor_end, value_end) = ("</push>", "</sensor></push>", "</reading></sensor></push>");
    let tag = format!("<x{attributes}/>");
    let floods = [
        ("attributes", push, tag.as_str(), push_end),
        ("namespaces", &declared, "<p0:a/><p59:b/>", push_end),
        ("sensors", push, "<sensor id='NUMBER'/>", push_end),
        ("refused readings", sensor, "<reading/>\n", sensor_end),
        ("ambiguous times", sensor, "<reading metric='m' time='2026-11-01 01:30'>1</reading>", sensor_end),
        ("digits", value, "1", value_end),
        ("references", value, "&#49;", value_end),
        ("comments", value, "1<!---->", value_end),
        ("sections", value, "<![CDATA[1]]>", value_end),
    ];
    let zone = Zone::parse("America/St_Johns").unwrap();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let time = |document: &str, times: usize| {
        let begin = ran();
        (0..times).for_each(|_| drop(decode(document.as_bytes(), &context).unwrap()));
        ran().saturating_sub(begin)
    };
    for (what, before, unit, after) in floods {
        let flood = |bytes: usize| {
            let units = (0..bytes / unit.len()).map(|i| unit.replace("NUMBER", &i.to_string()));
            format!("{before}{}{after}", units.collect::<String>())
        };
        let (small, large) = (flood(64 << 10), flood(1 << 20));
        // As many bytes: linear is as long, quadratic 16 times as long.
        let small = (0..3).map(|_| time(&small, 16)).min().unwrap().max(Duration::from_millis(10));
        let large = (0..3).map(|_| time(&large, 1)).min().unwrap();
        assert!(large < small * 5, "{what}: {small:?} for 16 of 64 KiB, {large:?} for 1 MiB");
    }
}

#[test]
fn what_is_kept_of_a_document_is_bounded_by_its_bytes() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let decoded = |text: &str| decode(text.as_bytes(), &context);
    let long = "\u{1F31E}".repeat(30);
    let pack = |unit: &str, records: usize| {
        let records = "<e t='0'/>".repeat(records);
        format!("<sensml xmlns='urn:ietf:params:xml:ns:senml'><senml bn='a' bu='{unit}' bv='1' bs='1'/>{records}</sensml>")
    };
    assert_eq!(decoded(&pack("W", 100_000)).unwrap().readings.len(), 200_000);
    // Short documents may say whatever they say.
    assert_eq!(decoded(&pack(&long, 1_000)).unwrap().readings.len(), 2_000);
    let chain = |name: &str, rows: usize| {
        let row = format!("<r>{}</r>", "<c>1</c>".repeat(10)).repeat(rows);
        let names = format!("<cname t='P'>{name}</cname>").repeat(10);
        format!(
            "<group serial='g'><data columns='10' time_stamp='0x6a000000' time_delta='60' epoch='0x1'>{names}{row}</data></group>"
        )
    };
    // A name that stands once and is kept once costs nothing more.
    assert!(decoded(&chain(&long.repeat(4), 10_000)).is_ok());
    let refused = decoded(&pack(&long, 100_000)).unwrap_err();
    assert_eq!(refused.code.as_str(), "too-large", "{refused}");
}

#[test]
fn messages_name_no_key() {
    let key = "5dr8k2mz-77wq3xbn-0c1vnf4t-9hjse6ay";
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let refusal = |xml: &str| decode(xml.as_bytes(), &context).unwrap_err().to_string();
    let broken = [
        "<push gateway='g' key='&KEY;'/>",
        "<push gateway='g'>&KEY;</push>",
        "<push gateway='g' key='' KEY'/>",
        "<push gateway='g' key='SECRET' KEY/>",
        "<push gateway='g' KEY='1'/>",
        "<push gateway='g' kKEY='1' kKEY='2'/>",
        "<push gateway='g'></kKEY>",
        "<kKEY/>",
    ];
    for xml in broken {
        let message = refusal(&xml.replace("KEY", key));
        assert!(!message.contains(&key[..8]), "{xml}: {message}");
    }
    for xml in &broken[..4] {
        let message = refusal(&xml.replace("KEY", "OWN"));
        assert!(!message.contains("OWN"), "{xml}: {message}");
    }
    for before in ["", "a-long-name-in-front-of-it-"] {
        let stream = format!("<push></{before}{key}>");
        let message = Framer::new(Limits::default()).next(stream.as_bytes()).unwrap_err().message;
        assert!(message.contains("***") && !message.contains(&key[..8]), "{message}");
    }
    let xml = format!("<push gateway='g'><sensor id='s'><reading metric='m'>{key}</reading></sensor></push>");
    let decoded = decode(xml.as_bytes(), &context).unwrap();
    assert_eq!(decoded.refused[0].reason, "value \"***\" is not a finite decimal number");
}

#[test]
fn a_number_without_end_is_one_refused_reading() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let long =
        format!("<push gateway='g'><sensor id='s'><reading metric='m'>{}</reading></sensor></push>", "9".repeat(1_000_000));
    let decoded = decode(long.as_bytes(), &context).unwrap();
    assert!(decoded.readings.is_empty());
    let [refused] = decoded.refused.as_slice() else { panic!("{} refusals", decoded.refused.len()) };
    assert!(refused.reason.len() < 200, "the reason repeats the number");
}

#[test]
fn values_that_canonical_units_cannot_hold_keep_their_own() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let check = |unit: &str, value: f64, expected: (&str, f64)| {
        let xml =
            format!("<push gateway='g'><sensor id='s'><reading metric='m' unit='{unit}'>{value:e}</reading></sensor></push>");
        let (unit, value) = canonical(&decode(xml.as_bytes(), &context).unwrap().readings[0]);
        assert_eq!((unit.as_str(), value), expected);
    };
    check("kW", 1.5, ("W", 1500.0));
    check("furlong", 1.5, ("furlong", 1.5));
    check("", 1.5, ("", 1.5));
    check("GW", 1e308, ("GW", 1e308));
}

#[test]
fn differences_of_temperatures_are_no_temperatures() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let check = |metric: &str, unit: &str, value: f64, expected: (&str, f64)| {
        let xml = format!(
            "<push gateway='g'><sensor id='s'><reading metric='{metric}' unit='{unit}'>{value}</reading></sensor></push>"
        );
        let (unit, value) = canonical(&decode(xml.as_bytes(), &context).unwrap().readings[0]);
        assert_eq!(unit.as_str(), expected.0);
        assert!((value - expected.1).abs() < 1e-9, "{metric} {value}");
    };
    check("Temperature Difference", "K", 5.0, ("K", 5.0));
    check("temperature-difference", "deg C", 5.0, ("K", 5.0));
    check("DeltaT", "F", 18.0, ("K", 10.0));
    check("flow temperature", "K", 300.0, ("°C", 26.85));
    check("difference", "kW", 1.5, ("W", 1500.0));
}

#[test]
fn texts_that_many_readings_share_cost_no_more_than_their_length() {
    let long = "0".repeat(1 << 20);
    let many = |one: &str| one.repeat((1 << 20) / one.len());
    let documents = [
        format!(
            "<DAS><devices><device><address>1</address><records><record><error>{long}</error>{}</record></records></device></devices></DAS>",
            many("<point name='a' value='1'/>")
        ),
        format!(
            "<DAS><devices><device><serialnumber>{long}</serialnumber><records><record><time>2026-11-20 12:00:00</time>{}</record></records></device></devices></DAS>",
            many("<point name='a' value='1'/>")
        ),
        format!(
            "<group serial='1'><data time_stamp='0x1' time_delta='60'><cname>{long}</cname>{}</data></group>",
            many("<r><c>1</c></r>")
        ),
        format!("<sunSpecData><d id='a'><m id='103'><p id='a_SF'>{long}</p>{}</m></d></sunSpecData>", many("<p id='a'>1</p>")),
        format!(
            "<sunSpecData><d sn='1'><m id='1'><p id='Mn'>{long}</p></m><m id='103'>{}</m></d></sunSpecData>",
            many("<p id='a'>1</p>")
        ),
        format!(
            "<WebBox><Info><UtcOffset>{long}</UtcOffset></Info>{}</WebBox>",
            many("<MeanPublic><Key>a:1:b</Key><Mean>1</Mean><TimeStamp>2026-11-20T12:00:00</TimeStamp></MeanPublic>")
        ),
        format!(
            "<OnlineData><Devices><Device><SerNr>{long}</SerNr><Channels>{}</Channels></Device></Devices></OnlineData>",
            many("<Channel><Name>a</Name><Value>1</Value></Channel>")
        ),
        format!(
            "<mii xmlns='http://api.sspcdn.com/mii'><datalogger><configuration><devices><device id='a'><uid>{long}</uid></device></devices></configuration><datapoints><datapoint timestamp='2026-11-20T12:00:00Z'><device id='a'>{}</device></datapoint></datapoints></datalogger></mii>",
            many("<mv t='a' v='1'/>")
        ),
        format!(
            "<rainforest macId='1' timestamp='{}'>{}</rainforest>",
            &long[..60_000],
            many("<InstantaneousDemand><Demand>0x1</Demand></InstantaneousDemand>")
        ),
        format!("<sensml><senml bn='{}'/>{}</sensml>", &long[..60_000], many("<senml n='a' v='1'/>")),
        format!(
            "<MBusData><SlaveInformation><Id>{long}</Id></SlaveInformation>{}</MBusData>",
            many("<DataRecord><Quantity>a</Quantity><Value>1</Value></DataRecord>")
        ),
    ];
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    for document in documents {
        let begun = Instant::now();
        let decoded = decode(document.as_bytes(), &context);
        let shown = &document[..40];
        // Read anew for each reading, the text takes minutes.
        assert!(begun.elapsed() < Duration::from_secs(20), "{shown}: {:?}", begun.elapsed());
        assert!(decoded.is_err() || decoded.is_ok_and(|decoded| !decoded.refused.is_empty()), "{shown}: the text is taken");
    }
}

#[test]
fn elements_that_say_nothing_are_refused_in_masses_and_those_that_do_are_not() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    for (head, name, tail) in [
        ("<sunSpecData><d id='a'><m id='103'>", "p", "</m></d></sunSpecData>"),
        ("<msg>", "a", "</msg>"),
        ("<DAS>", "a", "</DAS>"),
    ] {
        let code = |one: &str, times| {
            let document = format!("{head}{}{tail}", one.repeat(times));
            decode(document.as_bytes(), &context).err().map(|error| error.code.as_str())
        };
        let (empty, full) = (format!("<{name}/>"), format!("<{name}>1</{name}>"));
        assert_eq!(code(&empty, 40_000), Some("too-large"), "{head}");
        assert_ne!(code(&empty, 900), Some("too-large"), "{head}");
        assert_ne!(code(&full, 40_000), Some("too-large"), "{head}");
    }
}

#[test]
fn a_backlog_of_two_weeks_by_the_minute_is_taken_whole() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let columns: String = (0..16).map(|i| format!("<cname t='P'>r{i}</cname>")).collect();
    let row = format!("<r>{}</r>", "<c>0</c>".repeat(16));
    let rows = row.repeat(20_500);
    let document = format!("<group serial='0x7b'><data time_stamp='0x6b003640' time_delta='60'>{columns}{rows}</data></group>");
    let Ok(Frame::Document { start: 0, end }) = Framer::new(Limits::default()).next(document.as_bytes()) else {
        panic!("not framed")
    };
    assert_eq!(end, document.len());
    let decoded = decode(document.as_bytes(), &context).unwrap();
    assert_eq!((decoded.readings.len(), decoded.refused.len()), (16 * 20_500, 0));
}

#[test]
fn the_least_of_all_whole_numbers_is_a_refused_offset_and_a_refused_scale() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    let offset = format!(
        "<WebBox><Info><UtcOffset>{}</UtcOffset></Info><MeanPublic><Key>a:1:Pac</Key><Mean>1</Mean>\
         <TimeStamp>2026-11-20T12:00:00</TimeStamp></MeanPublic></WebBox>",
        i64::MIN
    );
    let scale = format!("<sunSpecData><d id='a'><m id='103'><p id='W' sf='{}'>1</p></m></d></sunSpecData>", i32::MIN);
    for (document, code) in [(offset, "bad-time"), (scale, "bad-value")] {
        let decoded = decode(document.as_bytes(), &context).unwrap();
        let codes: Vec<_> = decoded.refused.iter().map(|refused| refused.code.as_str()).collect();
        assert_eq!((decoded.readings.len(), codes), (0, vec![code]), "{document}");
    }
}

#[test]
fn numbers_of_more_digits_than_their_bits_are_refused() {
    let zone = Zone::utc();
    let context = Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
    for digits in [17, 32, 64] {
        let document =
            format!("<InstantaneousDemand><MeterMacId>0x1</MeterMacId><Demand>0x{:0>digits$}</Demand></InstantaneousDemand>", 5);
        let decoded = decode(document.as_bytes(), &context).unwrap();
        assert_eq!((decoded.readings.len(), decoded.refused.len()), (0, 1), "{digits} digits");
    }
}
