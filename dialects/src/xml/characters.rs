//! Characters, names and references of XML 1.0.

use memchr::memmem;

use super::XmlError;

/// Refuses characters that XML 1.0 has no place for (section 2.2).
pub(super) fn check_characters(text: &str) -> Result<(), XmlError> {
    // Without an early exit, so that it runs over many bytes at once.
    let control = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    let clean = !text.bytes().fold(false, |found, byte| found | control(byte));
    let holds = |character: &str| memmem::find(text.as_bytes(), character.as_bytes()).is_some();
    let clean = clean && !holds("\u{FFFE}") && !holds("\u{FFFF}");
    if clean {
        return Ok(());
    }
    match text.char_indices().find(|(_, found)| !is_character(*found)) {
        None => Ok(()),
        Some((at, found)) => Err(XmlError::malformed(at, format!("character U+{:04X} is not allowed", u32::from(found)))),
    }
}

fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// Checks the name of an element, attribute or instruction: a `Name` (section
/// 2.3) with at most one colon, inside (Namespaces in XML 1.0, section 4).
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let mut parts = name.splitn(2, ':');
    let good = parts.all(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(starts_name) && chars.all(continues_name)
    });
    if good { Ok(()) } else { Err("what stands where a name should is none".to_owned()) }
}

/// What a byte may be in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameByte {
    /// Nothing: the name ends before it.
    No,
    /// A letter or `_`.
    Letter,
    /// A digit, `-` or `.`: not the first.
    Other,
    /// A colon, or part of a character beyond ASCII: for [`check_name`] to judge.
    Unclear,
}

/// By byte, because names are where a parser spends its time.
const NAME_BYTES: [NameByte; 256] = {
    let mut table = [NameByte::No; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => NameByte::Letter,
            b'0'..=b'9' | b'-' | b'.' => NameByte::Other,
            b':' | 0x80.. => NameByte::Unclear,
            _ => NameByte::No,
        };
        byte += 1;
    }
    table
};

/// Takes a name from the front of a text and checks it. Gives its length and
/// whether it has a prefix.
pub(super) fn take_name(text: &str) -> Result<(usize, bool), String> {
    let bytes = text.as_bytes();
    let kind = |byte: &u8| NAME_BYTES[usize::from(*byte)];
    let plain = |byte: &u8| matches!(kind(byte), NameByte::Letter | NameByte::Other);
    let length = bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len());
    let starts_well = bytes.first().is_some_and(|first| kind(first) == NameByte::Letter);
    if starts_well && bytes.get(length).is_none_or(|end| kind(end) == NameByte::No) {
        return Ok((length, false));
    }
    let length = bytes.iter().position(|byte| kind(byte) == NameByte::No).unwrap_or(bytes.len());
    let name = text.get(..length).unwrap_or_default();
    check_name(name)?;
    Ok((length, name.contains(':')))
}

fn starts_name(c: char) -> bool {
    matches!(c,
        'A'..='Z' | 'a'..='z' | '_' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

fn continues_name(c: char) -> bool {
    starts_name(c) || matches!(c, '0'..='9' | '-' | '.' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// The character that a reference (without `&` and `;`) stands for. Entities
/// other than the five predefined ones would need a DTD, which is never read. What
/// was written is not repeated, here as in names: it may be a key gone astray.
pub(super) fn resolve(reference: &str) -> Result<char, String> {
    let character = match reference {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => by_number(reference).ok_or("a reference is neither to a character nor to lt, gt, amp, quot or apos")?,
    };
    Ok(character)
}

fn by_number(reference: &str) -> Option<char> {
    let digits = reference.strip_prefix('#')?;
    let (digits, radix) = digits.strip_prefix('x').map_or((digits, 10), |hex| (hex, 16));
    // A sign would be read as part of a number.
    let clean = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let code = if clean { u32::from_str_radix(digits, radix).ok()? } else { return None };
    char::from_u32(code).filter(|c| is_character(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_predefined_entities_and_characters() {
        let good = [
            ("lt", '<'),
            ("apos", '\''),
            ("#65", 'A'),
            ("#x41", 'A'),
            ("#x1F600", '😀'),
            ("#0000000000000065", 'A'),
            ("#9", '\t'),
        ];
        for (text, expected) in good {
            assert_eq!(resolve(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "lol",
            "LT",
            "#",
            "#x",
            "#0",
            "#8",
            "#xD800",
            "#x110000",
            "#+65",
            "#x-1",
            "#99999999999",
            "#X41",
            "# 65",
            "#xFFFE",
        ] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "_", "a-b.c_1", "val:Root", "größe", "用户", "a\u{B7}"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", ".a", ":", "a:", ":a", "a:b:c", "a:1", "a b", "a/b", "a\u{D7}", "a\"", "a&b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn characters_that_xml_lacks_are_refused() {
        for good in ["", "a\t\r\n", "\u{7f}\u{85}", "\u{FFFD}😀"] {
            assert!(check_characters(good).is_ok(), "{good:?}");
        }
        for bad in ["\0", "a\u{1}", "\u{B}", "\u{1F}", "ä\u{FFFE}", "\u{FFFF}"] {
            assert!(check_characters(bad).is_err(), "{bad:?}");
        }
    }
}
