//! Streams are cut into documents, however they arrive.

use std::time::{Duration, Instant};

use heliograph_dialects::{Frame, Framer, Limits};
use proptest::prelude::*;

use crate::fixtures::fixtures;
use crate::invariants::{Cut, End, cut_in};
use crate::robustness::ran;

fn cut(stream: &[u8]) -> Cut {
    cut_in(&[stream], Limits::default(), true)
}

fn check(stream: &[u8], documents: &[&str], end: &str) {
    let got = cut(stream);
    let shown = String::from_utf8_lossy(stream);
    let texts: Vec<String> = got.documents.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert_eq!(texts, documents, "{shown}");
    let got = match got.end {
        End::Clean => "clean".to_owned(),
        End::InDocument => "in document".to_owned(),
        End::Refused(error) => error.code.as_str().to_owned(),
    };
    assert_eq!(got, end, "{shown}");
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(cut_in(&bytes, Limits::default(), true), cut(stream), "one byte at a time: {shown}");
}

#[test]
fn documents_end_where_their_root_ends() {
    check(b"", &[], "clean");
    check(b" \r\n\t\0", &[], "clean");
    check(b"<a/>", &["<a/>"], "clean");
    check(b"<a/><b></b>\n\0<c>x</c >\0", &["<a/>", "<b></b>", "<c>x</c >"], "clean");
    check(b"<a><a><a/></a></a><a/>", &["<a><a><a/></a></a>", "<a/>"], "clean");
    check(
        b"<a b='>' c=\"/>\" d = '\"'><!-- </a> --><![CDATA[</a>]]></a>",
        &["<a b='>' c=\"/>\" d = '\"'><!-- </a> --><![CDATA[</a>]]></a>"],
        "clean",
    );
    check(b"<a><?x </a> ?></a>", &["<a><?x </a> ?></a>"], "clean");
    check(b"<a>", &[], "in document");
    check(b"<a/><", &["<a/>"], "in document");
    check("<größe><用户 ö='ü'/></größe>".as_bytes(), &["<größe><用户 ö='ü'/></größe>"], "clean");
}

#[test]
fn what_comes_before_a_root_belongs_to_its_document() {
    check(b"\xEF\xBB\xBF<a/>\xEF\xBB\xBF<b/>", &["\u{FEFF}<a/>", "\u{FEFF}<b/>"], "clean");
    check(
        b"<?xml version='1.0'?>\n<!-- a -->\n<?p q?><!DOCTYPE a SYSTEM 'x[>'>\n<a/>\n",
        &["<?xml version='1.0'?>\n<!-- a -->\n<?p q?><!DOCTYPE a SYSTEM 'x[>'>\n<a/>"],
        "clean",
    );
    check(b"<a/><!-- b's --><b/>", &["<a/>", "<!-- b's --><b/>"], "clean");
    check(b"<a/><!-- b's -->", &["<a/>"], "in document");
    check(b"\xEF\xBB\xBF<?xml version='1.0'?><a/>", &["\u{FEFF}<?xml version='1.0'?><a/>"], "clean");
}

#[test]
fn comments_before_a_declaration_are_the_tail_of_what_was_before() {
    let second = "<?xml version='1.0'?><b/>";
    check(format!("<a/><!-- end of a --><?done?>\n{second}").as_bytes(), &["<a/>", second], "clean");
    check(b"<a/><!-- end of a -->\n\xEF\xBB\xBF<b/>", &["<a/>", "\u{FEFF}<b/>"], "clean");
    check(b"<a/><!-- end of a -->\0\0\n<b/>", &["<a/>", "<b/>"], "clean");
    check(b"<a/><!-- end of a -->\0\xEF\xBB\xBF<b/>", &["<a/>", "\u{FEFF}<b/>"], "clean");
    check(b"<?xml version='1.0'?><!-- a --><?xml version='1.0'?><a/>", &[], "malformed");
    check(b"\xEF\xBB\xBF<!-- a --><?xml version='1.0'?><a/>", &[], "malformed");
    check(b"<?xml version='1.0'?>\0<a/>", &[], "malformed");
}

#[test]
fn a_stream_may_end_behind_comments_but_not_in_a_document() {
    let at_boundary = |stream: &[u8]| {
        let mut framer = Framer::new(Limits::default());
        let mut rest = stream;
        while let Ok(Frame::Document { end, .. }) = framer.next(rest) {
            rest = &rest[end..];
        }
        framer.at_boundary()
    };
    for whole in ["", " ", "<a/>", "<a/>\n", "<a/><!-- x -->", "<a/><!-- x --><?y?> \n"] {
        assert!(at_boundary(whole.as_bytes()), "{whole}");
    }
    for part in [
        "<",
        "<a",
        "<a>",
        "<a/><!-- x",
        "<a/><!-- x --><?y",
        "<a/><?xml version='1.0'?>",
        "<!DOCTYPE a>",
        "\u{FEFF}",
        "<a><!-- x -->",
    ] {
        assert!(!at_boundary(part.as_bytes()), "{part}");
    }
}

#[test]
fn streams_that_cannot_be_cut_are_refused_at_once() {
    let malformed: &[&[u8]] = &[
        b"hello",
        b"<a/>x",
        b"<a/></a>",
        b"</a>",
        b"<a><b></a>",
        b"<a></a b='1'>",
        b"<a></ a>",
        b"<a><b></b/>",
        b"< a/>",
        b"<1/>",
        b"<>",
        b"<a b='<'/>",
        b"<a <b/>",
        b"<a\"b\">",
        b"<a b\"c\">",
        b"<a / >",
        b"<a/b>",
        b"<a&b>",
        b"<a=b>",
        b"<!a>",
        b"<a><!DOCTYPE a>",
        b"<!DOCTYPE a><!DOCTYPE a>",
        b"<!doctype a>",
        b"<![CDATA[x]]>",
        b"<a><!-- -- -->",
        b"<!--->-->x",
        b"<a><![cdata[",
        b"<!DOCTYPE <a>",
        b"<a>\0</b>",
        b"<a></<",
        b"\xEFx",
        b"<a><?xml version='1.0'?>",
        b"<!DOCTYPE a><?xml version='1.0'?>",
        b"\xEF\xBB\xBF\xEF\xBB\xBF<a/>",
        b"&amp;",
        b"<a/>&#32;<b/>",
        b"<\xEF\xBB",
    ];
    for stream in malformed.iter().take(malformed.len() - 1) {
        let end = cut(stream).end;
        assert!(
            matches!(&end, End::Refused(error) if error.code.as_str() == "malformed"),
            "{}: {end:?}",
            String::from_utf8_lossy(stream)
        );
    }
    check(b"<!DOCTYPE a [", &[], "doctype");
    check(b"<!DOCTYPE a SYSTEM 'x' [<!ENTITY b 'c'>]><a/>", &[], "doctype");
    check(b"<a/><!DOCTYPE b PUBLIC \"[\" '>' [", &["<a/>"], "doctype");
}

#[test]
fn wide_characters_are_refused_as_an_encoding() {
    let wide = |text: &str, little: bool, mark: bool| -> Vec<u8> {
        let units = text.encode_utf16().map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() });
        let mark: &[u8] = match (mark, little) {
            (true, true) => b"\xFF\xFE",
            (true, false) => b"\xFE\xFF",
            _ => b"",
        };
        mark.iter().copied().chain(units.flatten()).collect()
    };
    for little in [true, false] {
        for mark in [true, false] {
            for text in ["<push/>", "\r\n<push/>"] {
                check(&wide(text, little, mark), &[], "encoding");
            }
        }
    }
    check(b"\xFF\xFE\0\0<\0\0\0a\0\0\0", &[], "encoding");
    check(b"\0\0\xFE\xFF\0\0\0<\0\0\0a", &[], "encoding");
    check(b"\0\0\0<\0\0\0a", &[], "encoding");
    check(b"<\0\0\0a\0\0\0", &[], "encoding");
    check(b"<a/>\xFF", &["<a/>"], "encoding");
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits { document_bytes: 100, depth: 3, attributes: 2, tag_bytes: 30 };
    let code = |stream: &str| match cut_in(&[stream.as_bytes()], limits, true) {
        Cut { end: End::Refused(error), .. } => error.code.as_str(),
        Cut { end: End::Clean, .. } => "clean",
        Cut { end: End::InDocument, .. } => "in document",
    };
    let cases = [
        ("<a><b><c/></b></a>", "clean"),
        ("<a><b><c><d", "too-deep"),
        ("<a><b><c></c></b></a>", "clean"),
        ("<a b='1' c='2'/>", "clean"),
        ("<a b='1' c='2' d='", "too-large"),
        ("<a b='1' c='2'></a><a d='3'/>", "clean"),
    ];
    for (stream, expected) in cases {
        assert_eq!(code(stream), expected, "{stream}");
    }
    let tag = |length: usize| format!("<a b='{}'/>", "x".repeat(length - 9));
    assert_eq!(code(&tag(30)), "clean");
    assert_eq!(code(&tag(31)), "too-large");
    assert_eq!(code(&format!("<{}", "a".repeat(29))), "in document");
    assert_eq!(code(&format!("<{}", "a".repeat(30))), "too-large");
    assert_eq!(code(&format!("<a></a{}", " ".repeat(30))), "too-large");
    assert_eq!(code(&format!("<!DOCTYPE {}", "a".repeat(30))), "too-large");
    assert_eq!(code(&format!("<!DOCTYPE a '{}", "a".repeat(30))), "too-large");
    let document = |length: usize| format!("<a>{}</a>", "x".repeat(length - 7));
    assert_eq!(code(&document(100)), "clean");
    assert_eq!(code(&document(101)), "too-large");
    assert_eq!(code(&format!("{}{}", " ".repeat(1000), document(100))), "clean");
    assert_eq!(code(&format!("<a>{}", "x".repeat(97))), "in document");
    assert_eq!(code(&format!("<a>{}", "x".repeat(98))), "too-large");
    assert_eq!(code(&format!("<!-- {}", "x".repeat(98))), "too-large");
}

#[test]
fn a_refusal_says_what_and_where_and_stays() {
    let mut framer = Framer::new(Limits::default());
    let error = framer.next(b"\n\n<a>\n  <b>\n  </a>").unwrap_err();
    assert_eq!(error.to_string(), "end tag </a> where </b> was expected (byte 12, line 3)");
    assert_eq!(framer.next(b"<a/>"), Err(error));
    let deep = "<a>".repeat(33);
    let error = Framer::new(Limits::default()).next(deep.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "elements are nested deeper than 32 (byte 96, line 1)");
}

#[test]
fn a_million_levels_are_refused_after_the_first_few() {
    let deep = "<a>".repeat(1_000_000);
    let begin = Instant::now();
    let error = Framer::new(Limits::default()).next(deep.as_bytes()).unwrap_err();
    assert_eq!(error.code.as_str(), "too-deep");
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_document_cut_at_every_byte_is_whole() {
    for fixture in fixtures("native").iter().filter(|fixture| fixture.bytes.len() < 5000) {
        let whole = cut(&fixture.bytes);
        for at in 0..fixture.bytes.len() {
            let (front, back) = fixture.bytes.split_at(at);
            assert_eq!(cut_in(&[front, back], Limits::default(), true), whole, "{} at {at}", fixture.path.display());
        }
    }
}

#[test]
fn one_byte_at_a_time_costs_in_proportion_to_the_bytes() {
    let feed = |bytes: usize| {
        let document = format!("<a>{}</a>", "<b c='d'>text</b><!-- e -->\n".repeat(bytes / 28));
        let mut framer = Framer::new(Limits::default());
        for end in 1..document.len() {
            assert!(matches!(framer.next(&document.as_bytes()[..end]), Ok(Frame::Incomplete { .. })));
        }
        assert!(matches!(framer.next(document.as_bytes()), Ok(Frame::Document { .. })));
    };
    let feed = |bytes: usize, times: usize| {
        let begin = ran();
        (0..times).for_each(|_| feed(bytes));
        ran().saturating_sub(begin)
    };
    let shortest = |bytes: usize, times: usize| (0..3).map(|_| feed(bytes, times)).min().unwrap();
    let (small, large) = (shortest(100_000, 16), shortest(1_600_000, 1));
    // As many bytes: linear is as long, quadratic 16 times as long.
    assert!(large < small * 5, "{small:?} for 16 of 100 kB, {large:?} for 1.6 MB");
}

/// Separators that may stand between two documents.
fn separator() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b" \t\r\n\0"[..]), 0..4)
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"<",
        b">",
        b"/",
        b"</",
        b"/>",
        b"<a",
        b"<a>",
        b"</a>",
        b"<a/>",
        b"<b c='",
        b"'",
        b"\"",
        b"=",
        b" ",
        b"\n",
        b"\0",
        b"<!--",
        b"--",
        b"-->",
        b"-",
        b"<![CDATA[",
        b"]]>",
        b"]",
        b"<?",
        b"?>",
        b"<?xml version='1.0'?>",
        b"<?p?>",
        b"<!DOCTYPE a>",
        b"<!DOCTYPE a [",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"\xFF",
        b"x",
        b"&amp;",
        b"\xC3\xA4",
    ];
    prop::collection::vec(prop::sample::select(pieces).prop_map(<[u8]>::to_vec), 0..24).prop_map(|pieces| pieces.concat())
}

/// A stream and the places at which it is cut into reads.
fn split<'s>(stream: &'s [u8], cuts: &[prop::sample::Index]) -> Vec<&'s [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fixtures_joined_by_separators_come_apart_again(
        picks in prop::collection::vec((any::<prop::sample::Index>(), separator()), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut known = fixtures("native");
        known.extend(fixtures("senml"));
        known.retain(|fixture| fixture.bytes.len() < 3000);
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (pick, separator) in &picks {
            let document = known[pick.index(known.len())].bytes.trim_ascii();
            stream.extend_from_slice(document);
            stream.extend_from_slice(separator);
            expected.push(whole(document));
        }
        let got = cut_in(&split(&stream, &cuts), Limits::default(), true);
        let got: Vec<Vec<u8>> = got.documents.iter().map(|document| whole(document)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn any_segmentation_gives_the_same(
        stream in prop_oneof![fragment(), prop::collection::vec(any::<u8>(), 0..64)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        drops_skipped in any::<bool>(),
        small in any::<bool>(),
    ) {
        let tight = Limits { document_bytes: 60, depth: 2, attributes: 1, tag_bytes: 20 };
        let limits = if small { tight } else { Limits::default() };
        let at_once = cut_in(&[&stream], limits, true);
        prop_assert_eq!(&cut_in(&split(&stream, &cuts), limits, drops_skipped), &at_once);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&cut_in(&bytes, limits, drops_skipped), &at_once);
    }
}

/// A document without the comments that may move to its neighbour.
fn whole(document: &[u8]) -> Vec<u8> {
    let text = document.strip_suffix(b"<!-- after the end -->").unwrap_or(document);
    let text = text.strip_prefix(b"<!-- after the end -->").unwrap_or(text);
    text.trim_ascii().to_vec()
}
