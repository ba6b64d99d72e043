//! Takes credentials out of bytes that will be kept or shown.

use crate::xml;

const MASK: &[u8] = b"***";

/// The bytes with the values of `key` attributes masked, for quarantine and logs.
///
/// In native documents, and in whatever can't be told not to be one, every `key`
/// attribute is masked, also where the bytes are cut, broken or UTF-16. In other
/// documents only that of the root is: elsewhere it may be data.
#[must_use]
pub fn mask_credentials(bytes: &[u8]) -> Vec<u8> {
    if bytes.contains(&0) {
        let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        let masked = mask_keys(&narrow, narrow.len());
        // Wide characters: better to lose their other halves than to keep a key.
        return if masked == narrow { bytes.to_vec() } else { masked };
    }
    let until = if may_be_native(bytes) { bytes.len() } else { xml::end_of_root_tag(bytes).unwrap_or(bytes.len()) };
    mask_keys(bytes, until)
}

fn may_be_native(bytes: &[u8]) -> bool {
    let holds = |word: &[u8]| bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    holds(b"push") || holds(b"hello")
}

fn mask_keys(bytes: &[u8], until: usize) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    while let Some(start) = next_value(bytes, copied, until) {
        let end = value_end(bytes, start);
        masked.extend_from_slice(bytes.get(copied..start).unwrap_or_default());
        masked.extend_from_slice(MASK);
        copied = end;
    }
    masked.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    masked
}

/// Where the value of the next `key` attribute begins, behind its quote.
fn next_value(bytes: &[u8], from: usize, until: usize) -> Option<usize> {
    let within = bytes.get(..until).unwrap_or(bytes);
    let mut at = from;
    loop {
        at += memchr::memchr2_iter(b'k', b'K', within.get(at..)?).find(|k| {
            within.get(at + k..).is_some_and(|rest| rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"key")))
        })?;
        let starts_word =
            at == 0 || !within.get(at - 1).is_some_and(|before| before.is_ascii_alphanumeric() || b"_-.".contains(before));
        at += 3;
        if starts_word && let Some(start) = value_start(bytes, at) {
            return Some(start);
        }
    }
}

/// Behind `=`, or behind a quote that stands where `=` is missing.
fn value_start(bytes: &[u8], after_name: usize) -> Option<usize> {
    let (equals, at) = match behind_space(bytes, after_name) {
        at if bytes.get(at) == Some(&b'=') => (true, behind_space(bytes, at + 1)),
        at => (false, at),
    };
    let quoted = matches!(bytes.get(at), Some(b'"' | b'\''));
    match (quoted, equals) {
        (true, _) => Some(at + 1),
        (false, true) => Some(at),
        (false, false) => None,
    }
}

fn behind_space(bytes: &[u8], from: usize) -> usize {
    from + bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The end of a value: its closing quote, which in a document that is broken is
/// only one with the end of an attribute behind it; without quotes, white space or
/// `>`; else the end of the bytes.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let ends = |byte: u8| byte.is_ascii_whitespace() || byte == b'>';
    let quote = start.checked_sub(1).and_then(|before| bytes.get(before)).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let length = match quote {
        Some(quote) => {
            let closes = |at: &usize| rest.get(at + 1).is_none_or(|next| ends(*next) || matches!(next, b'/' | b'?'));
            memchr::memchr_iter(quote, rest).find(closes)
        }
        None => rest.iter().position(|byte| ends(*byte)),
    };
    start + length.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
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
        check("<push keys='3' monkey='4' gate-key='5'/>", "<push keys='3' monkey='4' gate-key='5'/>");
        check("<push key=''/>", "<push key='***'/>");
        check("<push key/><key>1</key>", "<push key/><key>1</key>");
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
}
