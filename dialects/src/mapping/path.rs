//! Paths through a document, in a small part of XPath's writing: child steps with
//! local names, `*`, a condition on an attribute, `..`, and what to take at the end.

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The local name; `None`: any.
    name: Option<String>,
    /// An attribute and the value that it must have.
    condition: Option<(String, String)>,
}

impl Step {
    /// Whether an element is such a step. The root's name is known without regard to
    /// case, as it is where documents are recognised.
    pub(super) fn matches<'p>(&self, name: &str, is_root: bool, attribute: impl FnOnce(&str) -> Option<&'p str>) -> bool {
        let is_named = |wanted: &String| if is_root { wanted.eq_ignore_ascii_case(name) } else { wanted == name };
        self.name.as_ref().is_none_or(is_named)
            && self.condition.as_ref().is_none_or(|(key, value)| attribute(key) == Some(value))
    }
}

/// What to take of the element at which a path ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Take {
    /// Its own text.
    Text,
    /// Its local name.
    Name,
    /// Its place among the records beside it, from 1.
    Position,
    /// An attribute.
    Attribute(String),
    /// The first attribute.
    FirstAttribute,
    /// The name of the first attribute.
    FirstAttributeName,
}

/// A path from an element, or from the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    /// Steps up before those down; `None`: from the document.
    pub(super) up: Option<usize>,
    pub(super) down: Vec<Step>,
    pub(super) take: Take,
}

impl Selector {
    /// Reads `../@id`, `/feed/title`, `name()`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut up, rest) = match text.strip_prefix('/') {
            Some(rest) => (None, rest),
            None => (Some(0), text),
        };
        let mut parts = split(rest)?;
        let take = parts.pop().ok_or_else(|| format!("path {text:?} is empty"))?;
        let take = match take_of(&take) {
            Some(take) => take,
            None => {
                parts.push(take);
                Take::Text
            }
        };
        let mut down = Vec::new();
        for part in parts {
            match (part.as_str(), up.as_mut()) {
                (".", _) => {}
                ("..", Some(up)) if down.is_empty() => *up += 1,
                ("..", _) => return Err(format!("path {text:?}: '..' stands only at the beginning")),
                (part, _) => down.push(step(part)?),
            }
        }
        if take == Take::Position && (up != Some(0) || !down.is_empty()) {
            return Err(format!("path {text:?}: position() is that of the record"));
        }
        Ok(Self { up, down, take })
    }
}

/// Reads the path of an element from the document: `/feed/entry/*`.
pub(super) fn absolute(text: &str) -> Result<Vec<Step>, String> {
    let rest = text.strip_prefix('/').ok_or_else(|| format!("path {text:?} does not begin with '/'"))?;
    let steps: Vec<Step> = split(rest)?.iter().map(|part| step(part)).collect::<Result<_, _>>()?;
    if steps.is_empty() { Err(format!("path {text:?} is empty")) } else { Ok(steps) }
}

/// Splits at slashes that stand outside of brackets and quotes.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut bracketed) = (false, false);
    for c in text.chars() {
        match c {
            '\'' => quoted = !quoted,
            '[' if !quoted => bracketed = true,
            ']' if !quoted => bracketed = false,
            '/' if !quoted && !bracketed => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    match parts.iter().any(|part| part.trim().is_empty()) || quoted || bracketed {
        true => Err(format!("path {text:?} has an empty step, or a quote or bracket that is not closed")),
        false => Ok(parts.into_iter().map(|part| part.trim().to_owned()).collect()),
    }
}

fn take_of(part: &str) -> Option<Take> {
    match part {
        "text()" => Some(Take::Text),
        "name()" => Some(Take::Name),
        "position()" => Some(Take::Position),
        "@*[1]" => Some(Take::FirstAttribute),
        "name(@*[1])" => Some(Take::FirstAttributeName),
        _ => part.strip_prefix('@').map(|name| Take::Attribute(name.to_owned())),
    }
}

fn step(part: &str) -> Result<Step, String> {
    let unreadable = || format!("step {part:?} cannot be read");
    let (name, condition) = match part.split_once('[') {
        None => (part, None),
        Some((name, rest)) => {
            let inside = rest.strip_suffix(']').ok_or_else(unreadable)?;
            let (key, value) = inside.split_once('=').ok_or_else(unreadable)?;
            let key = key.trim().strip_prefix('@').ok_or_else(unreadable)?;
            let value = value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).ok_or_else(unreadable)?;
            (name.trim(), Some((key.to_owned(), value.to_owned())))
        }
    };
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    match name {
        "*" => Ok(Step { name: None, condition }),
        name if is_name(name) => Ok(Step { name: Some(name.to_owned()), condition }),
        _ => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Step {
        Step { name: Some(name.to_owned()), condition: None }
    }

    #[test]
    fn paths_are_read() {
        let selector = |up, down: &[Step], take| Ok(Selector { up, down: down.to_vec(), take });
        let value = Step { name: Some("item".to_owned()), condition: Some(("name".to_owned(), "serial / number".to_owned())) };
        assert_eq!(Selector::parse("."), selector(Some(0), &[], Take::Text));
        assert_eq!(Selector::parse("text()"), selector(Some(0), &[], Take::Text));
        assert_eq!(Selector::parse("../../M"), selector(Some(2), &[named("M")], Take::Text));
        assert_eq!(Selector::parse("../@id"), selector(Some(1), &[], Take::Attribute("id".to_owned())));
        assert_eq!(Selector::parse("name()"), selector(Some(0), &[], Take::Name));
        assert_eq!(Selector::parse("a/name(@*[1])"), selector(Some(0), &[named("a")], Take::FirstAttributeName));
        assert_eq!(
            Selector::parse("/r/item[@name='serial / number']/value"),
            selector(None, &[named("r"), value, named("value")], Take::Text)
        );
        assert_eq!(absolute("/a/*"), Ok(vec![named("a"), Step { name: None, condition: None }]));
    }

    #[test]
    fn what_is_no_path_is_said() {
        for bad in ["", "/", "a//b", "a/..", "a[1]", "a[@b]", "a[@b=c]", "a[b='c']", "a['", "..//", "a/position()", "a b"] {
            assert!(Selector::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a", "/", "/a/", "/../a"] {
            assert!(absolute(bad).is_err(), "{bad:?}");
        }
    }
}
