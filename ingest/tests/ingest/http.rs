//! Documents by HTTP, as real devices send them, on the port that speaks XML.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use heliograph_domain::{RefusalCode, UnknownGateways};
use heliograph_ingest::IngestSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{KEY, Server, commission, push};

/// A response: its status, its head in lower case, its body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// Sends a request and reads its response, to the end of the connection.
pub(crate) async fn send(server: &Server, head: &str, body: &[u8]) -> Reply {
    let mut stream = server.connect().await.stream;
    let head = format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that has refused a request may have gone before its body.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.unwrap();
    read.unwrap_or_default();
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Reply {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub(crate) fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {encoded}")
}

const LOG: &str = "<DAS><mode>LOGFILEUPLOAD</mode><serial>00A0C9</serial><devices><device><address>1</address><records><record>\
    <time zone=\"UTC\">2026-11-20 11:00:00</time><error>0</error><point number=\"0\" name=\"Power\" units=\"kW\" value=\"1.5\"/>\
    </record></records></device></devices></DAS>";

#[tokio::test]
async fn a_push_is_acked_and_stored() {
    let server = Server::start().await;
    let reply = send(&server, "POST / HTTP/1.1\r\nHost: a", push("17", 0, &[1.0, 2.5]).as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "<ack seq=\"17\" readings=\"2\"/>\n"));
    assert_eq!(server.values().await, [1.0, 2.5]);
}

#[tokio::test]
async fn one_connection_carries_many_requests_whatever_their_framing() {
    let server = Server::start().await;
    let mut stream = server.connect().await.stream;
    let document = push("1", 0, &[1.0]);
    let (one, two) = document.split_at(20);
    let chunked = format!(
        "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let sized = push("2", 1, &[2.0]);
    let sized = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{sized}", sized.len());
    for byte in [chunked, sized].concat().as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    assert!(text.contains("<ack seq=\"1\" readings=\"1\"/>") && text.contains("<ack seq=\"2\" readings=\"1\"/>"), "{text}");
    assert_eq!(server.values().await, [1.0, 2.0]);
}

#[tokio::test]
async fn old_devices_speak_http_1_0() {
    let server = Server::start().await;
    let reply =
        send(&server, "POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded", push("1", 0, &[1.0]).as_bytes())
            .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "<ack seq=\"1\" readings=\"1\"/>\n"));
}

#[tokio::test]
async fn a_body_may_be_packed_whatever_is_said_of_it() {
    let server = Server::start().await;
    let mut sent = Vec::new();
    for minute in 0..9 {
        let document = push("1", minute, &[minute as f64]);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(document.as_bytes()).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
        bare.write_all(document.as_bytes()).unwrap();
        let plain = document.clone().into_bytes();
        let (coding, body) = match minute {
            0 => ("gzip", packed(&document)),
            1 => ("x-gzip", plain),
            2 => ("deflate", zlib.finish().unwrap()),
            3 => ("deflate", bare.finish().unwrap()),
            4 => ("deflate", packed(&document)),
            5 => ("gzip", format!("\u{FEFF}\r\n {document}").into_bytes()),
            6 => ("deflate", plain),
            7 => ("deflate", format!("\n{document}").into_bytes()),
            _ => ("identity", packed(&document)),
        };
        let reply = send(&server, &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}"), &body).await;
        assert_eq!(reply.status, 200, "{minute}, {coding}: {}", reply.body);
        sent.push(minute as f64);
    }
    assert_eq!(server.values().await, sent);
    let reply = send(&server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: br", push("1", 9, &[1.0]).as_bytes()).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn a_refusal_of_which_nothing_can_be_kept_is_no_entry_of_the_quarantine() {
    let server = Server::with(IngestSettings { room: 64 * 1024, ..IngestSettings::default() }, UnknownGateways::Refused).await;
    let known = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    assert_eq!(send(&server, &known, LOG.replace("</records>", "").as_bytes()).await.status, 200);
    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 1);
    let large = " ".repeat(400 * 1024);
    for (head, body, status) in [
        (known.clone(), large.as_str(), 429),
        (format!("{known}\r\nContent-Encoding: br"), "junk", 400),
        (format!("{known}\r\nContent-Encoding: gzip"), "junk", 400),
    ] {
        let reply = send(&server, &head, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{head}: {}", reply.body);
    }
    assert_eq!(server.quarantine().await, kept);
}

#[tokio::test]
async fn a_known_logger_is_told_of_no_success_where_nothing_can_be_unpacked() {
    let server = Server::start().await;
    let known = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    for coding in ["gzip", "deflate", "identity"] {
        let reply = send(&server, &format!("{known}\r\nContent-Encoding: {coding}"), b"\x1F\x8Bjunk").await;
        assert_eq!(reply.status, 400, "{coding}: {}", reply.body);
    }
}

#[tokio::test]
async fn a_small_body_does_not_unpack_into_a_huge_one() {
    let server = Server::start().await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(b"<push gateway='gw-0001'><!--").unwrap();
    for _ in 0..1024 {
        bomb.write_all(&[b' '; 64 * 1024]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let reply = send(&server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip", &bomb).await;
    assert_eq!(reply.status, 413);
    let reply = send(&server, "POST / HTTP/1.1\r\nHost: a\r\nX: y", &vec![b' '; 9 << 20]).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn other_methods_push_nothing() {
    let server = Server::start().await;
    for method in ["GET", "DELETE", "OPTIONS", "PATCH"] {
        let reply = send(&server, &format!("{method} / HTTP/1.1\r\nHost: a"), b"").await;
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.head.contains("allow: post, put"), "{}", reply.head);
    }
}

#[tokio::test]
async fn credentials_come_by_path_or_by_header() {
    let server = Server::start().await;
    commission(&server.store, "00A0C9", "UTC", 2).await;
    // The directory is renewed within a second or two.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let accepted = "<DAS><result>SUCCESS</result></DAS>\n";
    for head in [
        format!("POST /push/00A0C9/{KEY} HTTP/1.1\r\nHost: a"),
        format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("anybody", KEY)),
        format!("POST /upload HTTP/1.1\r\nHost: a\r\n{}", basic("00A0C9", KEY)),
    ] {
        let reply = send(&server, &head, LOG.as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, accepted), "{head}");
    }
    assert_eq!(server.readings("00A0C9").await.len(), 1);
    for head in [
        "POST / HTTP/1.1\r\nHost: a".to_owned(),
        "POST /push/00A0C9/wrong HTTP/1.1\r\nHost: a".to_owned(),
        format!("POST /push/gw-0001/{KEY} HTTP/1.1\r\nHost: a"),
        format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("00A0C9", "wrong")),
    ] {
        let reply = send(&server, &head, LOG.as_bytes()).await;
        assert_eq!(reply.status, 401, "{head}: {}", reply.body);
        assert!(reply.head.contains("www-authenticate: basic"), "{}", reply.head);
    }
}

#[tokio::test]
async fn a_logger_whose_user_name_is_not_its_serial_number_is_known_by_its_key() {
    let server = Server::start().await;
    let cut = &LOG[..LOG.len() / 2];
    for (name, key, status) in [("anybody", KEY, 200), ("", KEY, 200), ("anybody", "wrong", 400), ("gw-0001", "wrong", 400)] {
        let reply = send(&server, &format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic(name, key)), cut.as_bytes()).await;
        assert_eq!(reply.status, status, "{name} {key}: {}", reply.body);
        assert_eq!(reply.body.contains("SUCCESS"), status == 200, "{}", reply.body);
    }
    let kept = server.quarantine().await;
    assert_eq!(kept.iter().filter(|row| row.entry.trusted).count(), 2);
}

#[tokio::test]
async fn a_document_without_a_gateway_is_that_of_the_credentials() {
    let server = Server::start().await;
    let senml = "<sensml xmlns='urn:ietf:params:xml:ns:senml'><senml bn='roof' bt='1795172400' u='W' v='5'/></sensml>";
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    let reply = send(&server, &head, senml.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "<ack readings=\"1\"/>\n"));
    assert_eq!(server.values().await, [5.0]);
}

#[tokio::test]
async fn every_device_hears_its_own_word_for_success() {
    let settings = IngestSettings::default();
    let server = Server::with(settings, UnknownGateways::Adopted).await;
    let sunspec = "<SunSpecData><d lid='02:00:00:00:00:01' id='a' t='2026-11-20T11:00:00Z'><m id='103'><p id='W'>5</p></m></d></SunSpecData>";
    let mii = "<mii xmlns='http://api.sspcdn.com/mii'><datalogger><configuration><uuid><vendor>V</vendor><serial>1</serial></uuid></configuration></datalogger></mii>";
    let eagle = "<rainforest macId='0x1'><InstantaneousDemand><MeterMacId>0x2</MeterMacId><Demand>0x1</Demand></InstantaneousDemand></rainforest>";
    for (document, status, body) in [
        (LOG, 200, "<DAS><result>SUCCESS</result></DAS>\n"),
        ("<DAS><mode>STATUS</mode><serial>00A0C9</serial></DAS>", 200, "<DAS><result>SUCCESS</result></DAS>\n"),
        (sunspec, 200, "<sunSpecDataResponse><status>SUCCESS</status></sunSpecDataResponse>\n"),
        (mii, 202, "<ack readings=\"0\"/>\n"),
        (eagle, 200, "<ack readings=\"1\"/>\n"),
    ] {
        let reply = send(&server, "POST / HTTP/1.1\r\nHost: a", document.as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{document}");
    }
}

#[tokio::test]
async fn what_is_refused_has_a_status_that_says_why() {
    let server = Server::start().await;
    for (document, status) in [
        ("<push gateway='gw-0001'", 400),
        ("<push gateway='gw-0001'></pull>", 400),
        ("<!DOCTYPE push [<!ENTITY a 'b'>]><push gateway='gw-0001'/>", 400),
        ("<push gateway='gw-0001'/><push gateway='gw-0001'/>", 400),
        ("", 400),
        ("<inventory/>", 422),
        ("<push gateway='nobody' key='k'/>", 401),
        ("<push gateway='gw-0001' key='wrong'/>", 401),
    ] {
        let reply = send(&server, "POST / HTTP/1.1\r\nHost: a", document.as_bytes()).await;
        assert_eq!(reply.status, status, "{document}: {}", reply.body);
    }
    assert!(server.values().await.is_empty());
}

#[tokio::test]
async fn a_known_logger_need_not_send_again_what_is_in_quarantine() {
    let server = Server::start().await;
    let broken = LOG.replace("</records>", "");
    let reply = send(&server, &format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY)), broken.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "<DAS><result>SUCCESS</result></DAS>\n"));
    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].entry.raw, broken.as_bytes());
    // A stranger hears what is wrong.
    assert_eq!(send(&server, "POST / HTTP/1.1\r\nHost: a", broken.as_bytes()).await.status, 400);
}

#[tokio::test]
async fn every_device_is_told_to_be_done_with_what_it_would_repeat() {
    let server = Server::start().await;
    let known = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    let roots = [
        ("DAS", 200, "<DAS><result>SUCCESS</result></DAS>\n"),
        ("group serial='0x1'", 200, "<nack code=\"malformed\""),
        ("rainforest macId='0x1'", 200, "<nack code=\"malformed\""),
        ("InstantaneousDemand", 200, "<nack code=\"malformed\""),
        ("sunSpecData", 200, "<sunSpecDataResponse><status>SUCCESS</status></sunSpecDataResponse>\n"),
        ("mii xmlns='http://api.sspcdn.com/mii'", 202, "<nack code=\"malformed\""),
        ("sensml xmlns='urn:ietf:params:xml:ns:senml'", 200, "<nack code=\"malformed\""),
        ("WebBox", 200, "<nack code=\"malformed\""),
        ("msg", 200, "<nack code=\"malformed\""),
        ("push", 400, "<nack code=\"malformed\""),
    ];
    for (number, (root, status, body)) in roots.into_iter().enumerate() {
        let name = root.split(' ').next().unwrap_or_default();
        let reply = send(&server, &known, format!("<{root}><a></b></{name}>").as_bytes()).await;
        assert_eq!(reply.status, status, "{root}: {}", reply.body);
        assert!(reply.body.starts_with(body), "{root}: {}", reply.body);
        let kept = server.quarantine().await;
        assert!(kept.len() == number + 1 && kept.iter().all(|row| row.entry.trusted), "{root} is kept");
    }
}

#[tokio::test]
async fn local_times_are_those_of_the_gateway_that_a_document_names_inside() {
    let server = Server::start().await;
    commission(&server.store, "150000001", "America/New_York", 3).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let webbox = "<WebBox><Info><SerialNumber>150000001</SerialNumber></Info><MeanPublic><Key>A:1:Pac</Key><Mean>5</Mean>\
        <TimeStamp>2026-11-20T06:00:00</TimeStamp></MeanPublic></WebBox>";
    let reply = send(&server, &format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("x", KEY)), webbox.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let rows = server.readings("150000001").await;
    assert_eq!(rows[0].time.to_string(), "2026-11-20T11:00:00Z");
}

#[tokio::test]
async fn wrong_keys_are_counted_once_a_request_and_hold_up_no_right_one() {
    let broken = "<DAS><x></DAS>";
    for (body, refused) in [(broken, 400), ("<push gateway='gw-0001'/>", 401)] {
        let server = Server::start().await;
        let mut statuses = Vec::new();
        for guess in 0..21 {
            let head = format!("POST /push/gw-0001/guess-{guess} HTTP/1.1\r\nHost: a");
            statuses.push(send(&server, &head, body.as_bytes()).await.status);
        }
        assert_eq!((&statuses[..20], statuses[20]), ([refused; 20].as_slice(), 429), "{statuses:?}");
        // Another logger behind the same address goes on.
        let right = format!("POST /push/gw-0001/{KEY} HTTP/1.1\r\nHost: a");
        assert_eq!(send(&server, &right, push("1", 0, &[1.0]).as_bytes()).await.status, 200);
        assert_eq!(send(&server, &right, broken.as_bytes()).await.status, 200);
    }
}

#[tokio::test]
async fn what_a_known_logger_sends_is_kept_however_many_strangers_push() {
    let server = Server::start().await;
    let broken = LOG.replace("</records>", "");
    for _ in 0..130 {
        assert_eq!(send(&server, "POST / HTTP/1.1\r\nHost: a", broken.as_bytes()).await.status, 400);
    }
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    assert_eq!(send(&server, &head, broken.as_bytes()).await.status, 200);
    let kept = server.quarantine().await;
    // Of strangers at one address 120 in a minute.
    assert_eq!(kept.iter().map(|row| row.entry.trusted).collect::<Vec<_>>(), [vec![true], vec![false; 120]].concat());
}

fn packed(document: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(document.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn packed_bytes_that_are_damaged_are_kept_as_far_as_they_can_be_unpacked() {
    let server = Server::start().await;
    let mut bytes = packed(&format!("<push gateway='gw-0001' key='{KEY}'/>"));
    let last = bytes.len() - 1;
    bytes[last - 5] ^= 1;
    for head in ["POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip", "POST / HTTP/1.1\r\nHost: a"] {
        assert_eq!(send(&server, head, &bytes).await.status, 400, "{head}");
    }
    let kept = server.quarantine().await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|row| row.entry.raw == b"<push gateway='gw-0001' key='***'/>"));
}

#[tokio::test]
async fn a_known_logger_is_done_with_whatever_can_never_be_taken() {
    let settings = IngestSettings::default();
    let limits = heliograph_dialects::Limits { document_bytes: 64 * 1024, ..settings.limits };
    let server = Server::with(IngestSettings { limits, ..settings }, UnknownGateways::Refused).await;
    commission(&server.store, "00A0C9", "UTC", 2).await;
    // The directory is renewed within a second or two.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let success = "<DAS><result>SUCCESS</result></DAS>\n";
    let log = LOG.replace("<devices>", &format!("<Password>hush</Password><!--{}--><devices>", "a b".repeat(9000)));
    let (mut cut, mut checked, mut more) = (packed(&log), packed(&log), packed(&log));
    cut.truncate(cut.len() - 20);
    let last = checked.len() - 1;
    checked[last - 5] ^= 1;
    more.extend_from_slice(b"garbage");
    let large = LOG.replace("<devices>", &format!("<!--{}--><devices>", " ".repeat(70_000)));
    let many = LOG.replace("<devices>", &format!("<devices {}>", (0..80).map(|n| format!("a{n}='1' ")).collect::<String>()));
    let known = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("00A0C9", KEY));
    for (name, body, answer, begins, code) in [
        ("cut", cut, success, "<DAS>", RefusalCode::Malformed),
        ("checked", checked, success, "<DAS>", RefusalCode::Malformed),
        ("more", more, success, "<DAS>", RefusalCode::Malformed),
        ("large", large.clone().into_bytes(), success, "<DAS>", RefusalCode::TooLarge),
        ("large, packed", packed(&large), success, "<DAS>", RefusalCode::TooLarge),
        ("many", many.into_bytes(), success, "<DAS>", RefusalCode::TooLarge),
        ("empty", Vec::new(), "<nack code=\"malformed\"", "", RefusalCode::Malformed),
        ("hello", b"hello".to_vec(), "<nack code=\"malformed\"", "hello", RefusalCode::Malformed),
    ] {
        let reply = send(&server, &known, &body).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.body);
        assert!(reply.body.starts_with(answer), "{name}: {}", reply.body);
        let kept = &server.quarantine().await[0].entry;
        let raw = String::from_utf8_lossy(&kept.raw);
        assert!(kept.trusted && kept.code == code && raw.starts_with(begins) && !raw.contains("hush"), "{name}: {kept:?}");
        assert!(raw.len() <= 64 * 1024 && raw.is_empty() == begins.is_empty(), "{name}");
    }
    assert_eq!(server.quarantine().await.len(), 8);
    // Who is not known hears what is wrong, and so does who speaks the native dialect.
    assert_eq!(send(&server, "POST / HTTP/1.1\r\nHost: a", large.as_bytes()).await.status, 413);
    let native = push("1", 0, &[1.0]).replace("<sensor", &format!("<!--{}--><sensor", " ".repeat(70_000)));
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{}", basic("gw-0001", KEY));
    assert_eq!(send(&server, &head, native.as_bytes()).await.status, 413);
    // A body whose rest may come with the next attempt is not done with.
    let mut gateway = server.connect().await;
    gateway.send(&format!("{known}\r\nContent-Length: {}\r\n\r\n{}", LOG.len(), &LOG[..40])).await;
    gateway.stream.shutdown().await.unwrap();
    assert!(!gateway.rest().await.contains("200"));
}

#[tokio::test]
async fn empty_lines_before_a_request_or_a_document_mean_nothing() {
    let server = Server::start().await;
    let document = push("1", 0, &[1.0]);
    let request = format!(
        "\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{document}",
        document.len()
    );
    for pieces in [1, 7, request.len()] {
        let mut gateway = server.connect().await;
        for piece in request.as_bytes().chunks(pieces) {
            gateway.stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = gateway.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<ack"), "{pieces}: {answer}");
    }
    assert_eq!(server.connect().await.ask(&format!("\r\n\n{document}")).await, "<ack seq=\"1\" readings=\"1\"/>");
}

#[tokio::test]
async fn who_sends_a_body_that_nobody_reads_hears_the_answer_all_the_same() {
    let server = Server::start().await;
    for (head, status) in [("GET / HTTP/1.1\r\nHost: a", 405), ("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: br", 400)] {
        let mut gateway = server.connect().await;
        gateway.send(&format!("{head}\r\nContent-Length: {}\r\n\r\n", 14 * 256 * 1024)).await;
        // It takes more than four seconds and reads nothing meanwhile.
        for _ in 0..14 {
            gateway.stream.write_all(&vec![b' '; 256 * 1024]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let reply = parse(gateway.rest().await.as_bytes());
        assert_eq!(reply.status, status);
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
    }
}

#[tokio::test]
async fn a_body_is_not_drained_without_end() {
    let settings = IngestSettings::default();
    let limits = heliograph_dialects::Limits { document_bytes: 64 * 1024, ..settings.limits };
    let server = Server::with(IngestSettings { limits, ..settings }, UnknownGateways::Refused).await;
    let mut gateway = server.connect().await;
    gateway.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await;
    let mut sent = 0;
    while gateway.stream.write_all(&[b' '; 64 * 1024]).await.is_ok() {
        sent += 64;
        assert!(sent < 64 * 1024, "{sent} KiB were taken");
    }
}

#[tokio::test]
async fn a_device_is_told_of_success_only_where_what_was_refused_is_kept() {
    let server = Server::with(IngestSettings { spool_bytes: 0, ..IngestSettings::default() }, UnknownGateways::Refused).await;
    let head = format!("POST /push/gw-0001/{KEY} HTTP/1.1\r\nHost: a");
    let broken = LOG.replace("</DAS>", "</DES>");
    let kept = send(&server, &head, broken.as_bytes()).await;
    assert_eq!(kept.status, 200, "{}", kept.body);
    assert!(kept.body.contains("SUCCESS"));
    assert_eq!(server.quarantine().await.len(), 1);
    server.store.close().await;
    let lost = send(&server, &head, broken.as_bytes()).await;
    assert_eq!(lost.status, 503, "{}", lost.body);
    assert!(lost.head.contains("retry-after"));
}
