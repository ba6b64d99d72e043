//! Takes credentials out of bytes that will be kept or shown.

mod element;
mod requests;
mod runs;
mod values;
mod words;

use std::ops::Range;

use crate::decode::{DecodeError, Decoded, salvage};
use crate::dialect::Dialect;
use crate::xml;
use requests::requests;
use runs::runs;
use values::values;
use words::words;

const MASK: &[u8] = b"***";
/// In place of what held elements, too: of those nobody can tell what they said.
const MASK_OF_ELEMENTS: &[u8] = b"*****";

/// What is masked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    range: Range<usize>,
    /// Whether more goes with it than a text.
    holds_elements: bool,
}

/// The bytes with keys masked, for quarantine and logs. Linear in the bytes.
///
/// Whatever looks like a generated key is masked everywhere. In native documents,
/// in whatever can't be told not to be one, and in dialects whose documents measure
/// nothing that is called so, every value of a name that is or ends in `key` is, too: of
/// attributes, behind a colon, and the text of elements, also where the bytes are cut,
/// broken or UTF-16. In other documents only those up to the root's start tag are:
/// elsewhere they may be data. What is named as a password, a token, or the link key or
/// install code of a radio is no data anywhere, nor is what a request's head holds of
/// credentials.
#[must_use]
pub fn mask_credentials(bytes: &[u8]) -> Vec<u8> {
    if bytes.contains(&0) {
        let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        let masked = mask_keys(&narrow, narrow.len());
        // Wide characters: better to lose their other halves than to keep a key.
        return if masked == narrow { bytes.to_vec() } else { masked };
    }
    let is_all = may_be_native(bytes) || names_no_data_key(bytes);
    let until = if is_all { bytes.len() } else { xml::end_of_root_tag(bytes).unwrap_or(bytes.len()) };
    mask_keys(bytes, until)
}

/// Why a document that was kept does not say any more what it said: something was
/// masked that it is read by. `None` where whatever was masked makes no difference to
/// what it was `decoded` to; `again` decodes other bytes in the same way.
pub fn loss_by_mask(
    bytes: &[u8],
    decoded: &Decoded,
    again: impl FnOnce(&[u8]) -> Result<Decoded, DecodeError>,
) -> Option<&'static str> {
    let masks: Vec<usize> = memchr::memmem::find_iter(bytes, MASK).collect();
    if memchr::memmem::find(bytes, MASK_OF_ELEMENTS).is_some() {
        return Some("elements in it were masked with a credential that they held");
    }
    if masks.is_empty() {
        return None;
    }
    let other = masks.iter().fold(bytes.to_vec(), |mut other, at| {
        if let Some(mask) = other.get_mut(*at..at + MASK.len()) {
            mask.copy_from_slice(b"101");
        }
        other
    });
    let is_same = |other: &Decoded| {
        (&decoded.gateway, &decoded.sensors, &decoded.readings, &decoded.refused, decoded.is_hello)
            == (&other.gateway, &other.sensors, &other.readings, &other.refused, other.is_hello)
    };
    let differs = !again(&other).is_ok_and(|other| is_same(&other));
    differs.then_some("what looked like a credential was masked where it says who or what was measured")
}

/// The text with whatever looks like a generated key masked, for messages.
/// Linear in the text.
#[must_use]
pub fn mask_text(text: &str) -> String {
    let masked = without(text.as_bytes(), spans_of_runs(text.as_bytes()));
    String::from_utf8_lossy(&masked).into_owned()
}

fn may_be_native(bytes: &[u8]) -> bool {
    let begins = |rest: &[u8], word: &[u8]| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    let holds = |first: [u8; 2], word: &[u8]| {
        memchr::memchr2_iter(first[0], first[1], bytes).any(|at| bytes.get(at..).is_some_and(|rest| begins(rest, word)))
    };
    holds(*b"pP", b"push") || holds(*b"hH", b"hello")
}

/// Whether a document is of a dialect that reads nothing from what is named `key`: SMA's
/// channels are, and what mappings read may be.
fn names_no_data_key(bytes: &[u8]) -> bool {
    match salvage(bytes).dialect {
        Some(
            Dialect::Native
            | Dialect::SenMl
            | Dialect::SunSpec
            | Dialect::AcquiSuite
            | Dialect::EGauge
            | Dialect::Rainforest
            | Dialect::Mii,
        ) => true,
        Some(Dialect::Sma | Dialect::Mapped) | None => false,
    }
}

fn mask_keys(bytes: &[u8], until: usize) -> Vec<u8> {
    let mut spans = values(bytes, until);
    spans.extend(spans_of_runs(bytes));
    spans.extend(words(bytes));
    spans.extend(requests(bytes));
    spans.sort_by_key(|span| span.range.start);
    without(bytes, spans.into_iter())
}

fn spans_of_runs(bytes: &[u8]) -> impl Iterator<Item = Span> {
    runs(bytes).map(|range| Span { range, holds_elements: false })
}

/// The bytes with a mask in place of each span. Spans ascend by their starts; those
/// that touch become one.
fn without(bytes: &[u8], spans: impl Iterator<Item = Span>) -> Vec<u8> {
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut().filter(|last| span.range.start <= last.range.end) {
            Some(last) => {
                last.range.end = last.range.end.max(span.range.end);
                last.holds_elements |= span.holds_elements;
            }
            None => merged.push(span),
        }
    }
    let mut kept = Vec::with_capacity(bytes.len());
    let mut end = 0;
    for Span { range, holds_elements } in merged {
        kept.extend_from_slice(bytes.get(end..range.start).unwrap_or_default());
        kept.extend_from_slice(if holds_elements { MASK_OF_ELEMENTS } else { MASK });
        end = range.end;
    }
    kept.extend_from_slice(bytes.get(end..).unwrap_or_default());
    kept
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use heliograph_domain::GatewayKey;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&mask_credentials(text.as_bytes())), expected);
    }

    #[test]
    fn keys_of_native_documents_are_masked() {
        check(r#"<hello gateway="a" key="secret"/>"#, r#"<hello gateway="a" key="***"/>"#);
        check("<push key='secret' gateway='a' key = \"two\"/>", "<push key='***' gateway='a' key = \"***\"/>");
        check("<p:push p:key='secret'/>", "<p:push p:key='***'/>");
        check("<PUSH KEY='secret'/>", "<PUSH KEY='***'/>");
        check("<push keys='3' monkey='4' gate-key='5'/>", "<push keys='3' monkey='***' gate-key='***'/>");
        check("<push key=''/>", "<push key='***'/>");
        check("<push key/><key>1</key>", "<push key/><key>***</key>");
        check("<push><reading metric='turkey' unit='W'/></push>", "<push><reading metric='turkey' unit='W'/></push>");
    }

    #[test]
    fn keys_of_broken_documents_are_masked() {
        check("<push key=\"secret", "<push key=\"***");
        check("<push key=secret><a/>", "<push key=***><a/>");
        check("<push key \"secret\"/>", "<push key \"***\"/>");
        check("key='secret'/>", "key='***'/>");
        check("<push key='sec'ret' seq='1'/>", "<push key='***' seq='1'/>");
        check("<pusch <a key='secret'", "<pusch <a key='***'");
        check("<a b='<push' key='secret'/>", "<a b='<push' key='***'/>");
        let wide: Vec<u8> = "<push key='secret'/>".bytes().flat_map(|byte| [byte, 0]).collect();
        assert!(!String::from_utf8_lossy(&mask_credentials(&wide)).replace('\0', "").contains("secret"));
    }

    #[test]
    fn data_of_other_documents_is_kept() {
        check("<WebBox><row key='P' v='1'/></WebBox>", "<WebBox><row key='P' v='1'/></WebBox>");
        check("<data key='secret'><row key='P'/></data>", "<data key='***'><row key='P'/></data>");
    }

    #[test]
    fn keys_are_no_data_where_a_dialect_measures_nothing_called_so() {
        check(
            "<DAS><serial>1</serial><config key='S' url='u'/></DAS>",
            "<DAS><serial>1</serial><config key='***' url='u'/></DAS>",
        );
        check(
            "<rainforest macId='0x1'><a><Key>S</Key></a></rainforest>",
            "<rainforest macId='0x1'><a><Key>***</Key></a></rainforest>",
        );
        check("<mii xmlns='http://api.sspcdn.com/mii'><a key='S'", "<mii xmlns='http://api.sspcdn.com/mii'><a key='***'");
        let channels = "<WebBox><MeanPublic><Key>A:1:Pac</Key></MeanPublic></WebBox>";
        check(channels, channels);
    }

    #[test]
    fn credentials_of_requests_are_masked_wherever_these_stand() {
        check(
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPOST /push/g1/S HTTP/1.1\r\nHost: a\r\nauthorization:Basic S S\r\nX: y\r\n\r\n<DAS/>",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPOST /push/g1/*** HTTP/1.1\r\nHost: a\r\nauthorization:***\r\nX: y\r\n\r\n<DAS/>",
        );
        check(" PUT /push/g%201/S\"'S/ HTTP/1.0\n", " PUT /push/g%201/*** HTTP/1.0\n");
        check("</DAS>\nPROXY-Authorization :\tBasic S\r\n\tS\nX: y", "</DAS>\nPROXY-Authorization :\t***\nX: y");
        check("Authorization: Digest username=\"<S\", response=\"S\"\n", "Authorization: *****\n");
        check("Authorization: Bearer S", "Authorization: ***");
        check("<a>authorization: S</a>", "<a>authorization: ***</a>");
        check("<a b='http://h/push/g1/S' c='1'/>", "<a b='http://h/push/g1/***' c='1'/>");
        for harmless in
            ["POST /push/g1 HTTP/1.1", "GET /push/ HTTP/1.1", "<a>authorization</a>", "Authorization:\r\nX: y", "/push"]
        {
            check(harmless, harmless);
        }
    }

    #[test]
    fn what_is_named_as_a_secret_is_masked_in_any_dialect() {
        check(
            "<rainforest macId='0x1'><DeviceInfo><InstallCode>0x12</InstallCode><LinkKey>0xab\n</LinkKey></DeviceInfo></rainforest>",
            "<rainforest macId='0x1'><DeviceInfo><InstallCode>***</InstallCode><LinkKey>***</LinkKey></DeviceInfo></rainforest>",
        );
        check("<DAS><serial>1</serial><Password>pw</Password></DAS>", "<DAS><serial>1</serial><Password>***</Password></DAS>");
        check("<mii><d user='u' ftp-password = \"p w\" n='1'/></mii>", "<mii><d user='u' ftp-password = \"***\" n='1'/></mii>");
        check("<eeml><a:api_key x='1'>k</a:api_key></eeml>", "<eeml><a:api_key x='1'>***</a:api_key></eeml>");
        check("<msg><token><![CDATA[a]]></token><v>1</v></msg>", "<msg><token>***</token><v>1</v></msg>");
        for inside in [
            "<![CDATA[a]]>S",
            "S<![CDATA[S</token>]]>S",
            "<!-- -->S",
            "<!-- </token> S -->S",
            "<?p </token>?>S",
            "\n<![CDATA[]]>S",
        ] {
            let masked = "<msg><token>***</token><v>1</v></msg>";
            check(&format!("<msg><token>{inside}</token><v>1</v></msg>"), masked);
        }
        for inside in ["<b>S</b>", "<token>S</token>S", "<b c='S'/>S", "<b><c>S</c></b>S<b/>S"] {
            let masked = "<msg><token>*****</token><v>1</v></msg>";
            check(&format!("<msg><token>{inside}</token><v>1</v></msg>"), masked);
        }
        check("<!-- see <token> --><msg><v>1</v></msg>", "<!-- see <token>***--><msg><v>1</v></msg>");
        check("<!-- see <token> -->", "<!-- see <token>***-->");
        check("<msg><psk/><secret>cut", "<msg><psk/><secret>***");
        check("<msg auth_token='cut", "<msg auth_token='***");
        check(
            "<DAS><ftp Passwort='p' userPwd=\"p\"/><Kennwort>p</Kennwort></DAS>",
            "<DAS><ftp Passwort='***' userPwd=\"***\"/><Kennwort>***</Kennwort></DAS>",
        );
        check(
            "<a><login user='u' pass='p'/><Authorization>Basic p</Authorization></a>",
            "<a><login user='u' pass='***'/><Authorization>***</Authorization></a>",
        );
        let data = "<msg tokens='3' secretary='x' pin='4'><passwords>2</passwords><v key='P'>1</v></msg>";
        check(data, data);
    }

    #[test]
    fn texts_of_key_elements_are_masked() {
        check("<hello gateway=\"G\"><key>REALKEY</key></hello>", "<hello gateway=\"G\"><key>***</key></hello>");
        check("<hello><gateway-key>K</gateway-key></hello>", "<hello><gateway-key>***</gateway-key></hello>");
        check("<gateway-key>K</gateway-key>", "<gateway-key>***</gateway-key>");
        check("<hello><p:Key a='>'>K</p:Key ><b/></hello>", "<hello><p:Key a='>***</p:Key ><b/></hello>");
        check("<hello><key><![CDATA[K]]><b>K</b></key><c/></hello>", "<hello><key>*****</key><c/></hello>");
        check("<hello><key><![CDATA[</key>]]>K<!-- </key> -->K</key><c/></hello>", "<hello><key>***</key><c/></hello>");
        check("<hello><key>K<key>K</key>K</key><c/></hello>", "<hello><key>*****</key><c/></hello>");
        check("<hello><key/><b>1</b></hello>", "<hello><key/><b>1</b></hello>");
        check("<hello><keys>1</keys><b key>1</b></hello>", "<hello><keys>1</keys><b key>1</b></hello>");
        check("<hello>< key>SECRET", "<hello>< key>***");
        check("<hello><key", "<hello><key");
    }

    #[test]
    fn keys_behind_unusual_separators_are_masked() {
        check("<hello key\u{A0}=\"K\"/>", "<hello key\u{A0}=\"***\"/>");
        check("<hello key\u{2003}= \"K\"/>", "<hello key\u{2003}= \"***\"/>");
        check("<hello key\u{200B}\"K\"/>", "<hello key\u{200B}\"***\"/>");
        check("<hello key:\"K\"/>", "<hello key:\"***\"/>");
        check("<hello key = = \"K\"/>", "<hello key = = \"***\"/>");
        check("<hello key&#61;&#x20;'K'/>", "<hello key&#61;&#x20;'***'/>");
        check("<hello k&#101;y=\"K\"/>", "<hello k&#101;y=\"***\"/>");
        check("<hello &#x4B;&#0000101;y=\"K\"/>", "<hello &#x4B;&#0000101;y=\"***\"/>");
        check("<hello/><!-- key: K -->", "<hello/><!-- key: *** -->");
        check("<hello/><!-- key: \"K\" --><b c='1'/>", "<hello/><!-- key: \"***\" --><b c='1'/>");
        check("<hello/>{\"key\": \"K\"}", "<hello/>{\"key\": \"***");
        let latin = mask_credentials(b"<hello key\xA0='K'/>");
        assert_eq!(latin, b"<hello key\xA0='***'/>");
        let wide: Vec<u8> = "<hello key\u{2003}\u{A0}='SECRET'/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(!String::from_utf8_lossy(&mask_credentials(&wide)).replace('\0', "").contains("SECRET"));
    }

    #[test]
    fn keys_with_quotes_inside_are_masked_to_their_end() {
        check("<hello key=\"\" K\"/>", "<hello key=\"***\"/>");
        check("<hello key='SECRET' REST'/>", "<hello key='***'/>");
        check("<hello key='SECRET' REST' gateway='G'/>", "<hello key='***' gateway='G'/>");
        check("<hello key='SECRET' gateway = \"G\"/>", "<hello key='***' gateway = \"G\"/>");
        check("<hello a='key' key='/SECRET'/>", "<hello a='key'***'/>");
    }

    #[test]
    fn whatever_looks_like_a_generated_key_is_masked_everywhere() {
        let key = GatewayKey::from_random(&[0x9d; 20]);
        let key = key.reveal();
        check(&format!("<WebBox><row p='{key}' v='1'/></WebBox>"), "<WebBox><row p='***' v='1'/></WebBox>");
        check(&format!("<WebBox><row>{}</row></WebBox>", key.to_uppercase()), "<WebBox><row>***</row></WebBox>");
        check(&format!("<WebBox>gateway0-{key}, x{key}</WebBox>"), "<WebBox>***, x***</WebBox>");
        check(&format!("<push gateway='{key}' key='{key} {key}'/>"), "<push gateway='***' key='***'/>");
        let uuid = "<WebBox>0193d1e0-7c3a-7000-8000-0123456789ab</WebBox>";
        check(uuid, uuid);
        assert_eq!(mask_text(&format!("ä {key} ö{key}")), "ä *** ö***");
        assert_eq!(mask_text("20261120-12000000-aaaaaaaa-bbbbbbb"), "20261120-12000000-aaaaaaaa-bbbbbbb");
        assert_eq!(mask_text(""), "");
    }

    #[test]
    fn it_is_told_where_a_mask_takes_something_from_what_a_document_says() {
        use heliograph_domain::{Timestamp, Zone};
        let (zone, key) = (Zone::utc(), GatewayKey::from_random(&[0x9d; 20]));
        let context = crate::Context { received: Timestamp::clamped(0), zone: &zone, hello_gateway: None, mappings: &[] };
        let loss = |xml: &str| {
            let masked = mask_credentials(xml.replace("KEY", key.reveal()).as_bytes());
            let decoded = crate::decode(&masked, &context).unwrap();
            loss_by_mask(&masked, &decoded, |other| crate::decode(other, &context)).is_some()
        };
        let push = |inside: &str| format!("<push gateway='g' key='KEY'>{inside}</push>");
        let whole = "<sensor id='s'><reading metric='m' unit='W'>1</reading></sensor>";
        assert!(!loss(&push(whole)) && !loss(&push(&format!("<!-- key: KEY -->{whole}<key>KEY</key>"))));
        assert!(!loss("<WebBox><!-- *** --><password>p</password></WebBox>"));
        for (from, to) in [("'s'", "'KEY'"), ("'m'", "'KEY'"), ("'W'", "'KEY'"), (">1<", ">KEY<"), ("'W'", "'W' time='KEY'")] {
            assert!(loss(&push(&whole.replace(from, to))), "{to} for {from}");
        }
        assert!(loss(&push(&format!("<key>K{whole}</key>{whole}"))), "what else the element held is gone");
        assert!(loss(&push(whole).replace("'g'", "'KEY'")));
    }

    #[test]
    fn floods_of_keys_are_masked_in_time_proportional_to_their_bytes() {
        let time = |unit: &str, bytes: usize| {
            let flood = format!("<push>{}", unit.repeat(bytes / unit.len()));
            let begin = Instant::now();
            assert!(!mask_credentials(flood.as_bytes()).is_empty());
            begin.elapsed()
        };
        let floods = [
            "key='",
            "key=\"a' ",
            "key=",
            "key:",
            "<key",
            "<key>",
            "<key></",
            "k&#0",
            "&#107;ey=",
            "zzzzzzzz-",
            "key",
            "'key' ",
            "<psk>",
            "<psk></psk>",
            "<psk><psk></psk>",
            "<psk><!--",
            "<key><![CDATA[",
            "pwd='",
            "=",
            "<",
            "/push/",
            "/push/g",
            "authorization:",
            "authorization: <",
            "\nAuthorization: a\n ",
        ];
        for unit in floods {
            // 16 times the bytes: linear is 16 times as long, quadratic 256 times, however
            // often it is tried; a busy machine makes one of both longer now and then.
            let is_linear = |_| {
                let (small, large) = (time(unit, 64 << 10).max(Duration::from_micros(100)), time(unit, 1 << 20));
                large < small * 80
            };
            assert!((0..10).any(is_linear), "{unit}");
        }
    }
}
