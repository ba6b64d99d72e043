//! Values whose names say that they are secrets, in documents of any dialect: a
//! logger's password, the link key and install code of a Zigbee radio.

use super::Span;
use super::element::content;

/// Ends of names, in lower case and without `-` and `_`.
const ENDS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passwort",
    b"kennwort",
    b"passcode",
    b"pwd",
    b"passphrase",
    b"secret",
    b"apikey",
    b"accesskey",
    b"authkey",
    b"privatekey",
    b"secretkey",
    b"linkkey",
    b"networkkey",
    b"installcode",
    b"accesstoken",
    b"authtoken",
    b"authorization",
];
/// Longer than each of them.
const LONGEST_END: usize = 14;
/// Whole names.
const WHOLE: &[&[u8]] = &[b"pass", b"psk", b"token"];
/// Longer names are looked at by their ends.
const LONGEST: usize = 32;

/// Where such values stand: quoted values of attributes, and all that elements hold.
pub(super) fn words(bytes: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    // What an element holds is looked through once.
    let mut covered = 0;
    for at in memchr::memchr2_iter(b'=', b'<', bytes) {
        if bytes.get(at) == Some(&b'=') {
            found.extend(attribute(bytes, at));
        } else if let Some(start) = text_start(bytes, at).filter(|start| *start >= covered) {
            let content = content(bytes, start);
            covered = content.end;
            found.push(Span { range: start..content.end, holds_elements: content.has_elements });
        }
    }
    found
}

/// The value behind an equals sign, where the name before it is one.
fn attribute(bytes: &[u8], equals: usize) -> Option<Span> {
    let before = bytes.get(..equals)?.trim_ascii_end();
    let near = before.get(before.len().saturating_sub(LONGEST)..)?;
    let length = near.iter().rev().take_while(|byte| is_name_byte(**byte)).count();
    is_secret(near.get(near.len() - length..)?).then_some(())?;
    let behind = bytes.get(equals + 1..)?;
    let start = equals + 1 + (behind.len() - behind.trim_ascii_start().len());
    let quote = bytes.get(start).copied().filter(|quote| matches!(quote, b'"' | b'\''))?;
    let rest = bytes.get(start + 1..)?;
    let length = memchr::memchr2(quote, b'<', rest).unwrap_or(rest.len());
    Some(Span { range: start + 1..start + 1 + length, holds_elements: false })
}

/// Where the text of an element begins, where its name is one.
fn text_start(bytes: &[u8], opening: usize) -> Option<usize> {
    let rest = bytes.get(opening + 1..)?;
    let near = rest.get(..rest.len().min(4 * LONGEST))?;
    let length = near.iter().take_while(|byte| is_name_byte(**byte) || **byte == b':').count();
    is_secret(near.get(..length)?.rsplit(|byte| *byte == b':').next()?).then_some(())?;
    let closing = memchr::memchr2(b'>', b'<', rest).filter(|at| rest.get(*at) == Some(&b'>'))?;
    (!rest.get(..closing)?.ends_with(b"/")).then_some(opening + 1 + closing + 1)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || !byte.is_ascii()
}

/// The last letters of all of these, in both cases, and what is left out of names.
const LAST: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < ENDS.len() + WHOLE.len() {
        let name = if at < ENDS.len() { ENDS[at] } else { WHOLE[at - ENDS.len()] };
        let last = name[name.len() - 1];
        table[last as usize] = true;
        table[last.to_ascii_uppercase() as usize] = true;
        at += 1;
    }
    table[b'-' as usize] = true;
    table[b'_' as usize] = true;
    table
};

fn is_secret(name: &[u8]) -> bool {
    if !name.last().is_some_and(|last| LAST[usize::from(*last)]) {
        return false;
    }
    // As much of the name as tells, from its end.
    let mut plain = [0; LONGEST_END];
    let mut rest = name.iter().rev().filter(|byte| !matches!(byte, b'-' | b'_')).map(u8::to_ascii_lowercase);
    let length = plain.iter_mut().rev().zip(rest.by_ref()).map(|(place, byte)| *place = byte).count();
    let plain = plain.get(LONGEST_END - length..).unwrap_or_default();
    (rest.next().is_none() && WHOLE.contains(&plain)) || ENDS.iter().any(|end| plain.ends_with(end))
}
