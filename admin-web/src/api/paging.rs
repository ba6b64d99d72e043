//! Lists, a part at a time. A cursor says behind which entry the next part begins, by what
//! the list is ordered by: what is added or goes meanwhile moves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::ApiRefusal;

/// Entries of a part where nothing is said.
const USUAL: usize = 100;
/// Entries of a part at most.
const MOST: usize = 500;
/// No cursor is longer, bytes.
const LONGEST_CURSOR: usize = 2048;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The entries.
    pub(super) items: Vec<T>,
    /// The cursor of the part that follows; null at the end.
    pub(super) next: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Entries at most, 1 to 500; 100 where nothing is said.
    pub(super) limit: Option<usize>,
    /// The `next` of the part before.
    pub(super) cursor: Option<String>,
}

/// How many entries a part has.
pub(super) fn length(limit: Option<usize>) -> Result<usize, ApiRefusal> {
    match limit.unwrap_or(USUAL) {
        length @ 1..=MOST => Ok(length),
        _ => Err(ApiRefusal::bad(format!("The limit must lie between 1 and {MOST}."))),
    }
}

/// A cursor of a list behind a place.
pub(super) fn cursor(list: &str, place: &impl Serialize) -> Option<String> {
    serde_json::to_vec(&(list, place)).ok().map(|text| URL_SAFE_NO_PAD.encode(text))
}

/// The place that a cursor of a list says, if there is one.
pub(super) fn place<T: DeserializeOwned>(list: &str, cursor: Option<&str>) -> Result<Option<T>, ApiRefusal> {
    let Some(text) = cursor else { return Ok(None) };
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= LONGEST_CURSOR)?).ok()?;
        let (of, place): (String, T) = serde_json::from_slice(&bytes).ok()?;
        (of == list).then_some(place)
    };
    read().map(Some).ok_or_else(|| ApiRefusal::bad("The cursor is none of this list. Take it from “next” as it is."))
}

/// The part of a whole list, ordered by a key that each entry has for itself.
pub(super) fn cut<T, K: Ord + Serialize + DeserializeOwned, W>(
    list: &'static str,
    part: &Part,
    mut entries: Vec<T>,
    key: impl Fn(&T) -> K,
    tell: impl Fn(T) -> W,
) -> Result<Page<W>, ApiRefusal> {
    let (length, after) = (length(part.limit)?, place::<K>(list, part.cursor.as_deref())?);
    entries.retain(|entry| after.as_ref().is_none_or(|after| key(entry) > *after));
    entries.sort_by_key(&key);
    let has_more = entries.len() > length;
    entries.truncate(length);
    let next = entries.last().filter(|_| has_more).and_then(|last| cursor(list, &key(last)));
    Ok(Page { items: entries.into_iter().map(tell).collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(limit: usize, cursor: Option<String>) -> Part {
        Part { limit: Some(limit), cursor }
    }

    #[test]
    fn a_list_is_walked_whole_though_entries_come_and_go() {
        let (mut list, mut seen, mut cursor): (Vec<u32>, Vec<u32>, _) = ((0..1000).rev().collect(), Vec::new(), None);
        loop {
            let page = cut("numbers", &part(7, cursor), list.clone(), |entry| *entry, |entry| entry).unwrap();
            assert!(page.items.len() <= 7);
            seen.extend(&page.items);
            cursor = page.next;
            // Before where the walk is, entries go and others come.
            list.retain(|entry| *entry > 500 || entry % 2 == 0 || seen.last().is_some_and(|last| entry > last));
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn forged_cursors_and_odd_limits_are_refused() {
        let of_another = cursor("others", &5u32);
        let of_another_shape = cursor("numbers", &"five");
        let long = Some("A".repeat(5000));
        for forged in [Some(String::new()), Some("x".into()), Some("!!".into()), of_another, of_another_shape, long] {
            let refused = place::<u32>("numbers", forged.as_deref());
            assert!(refused.is_err(), "{forged:?}");
        }
        assert_eq!(place::<u32>("numbers", cursor("numbers", &5u32).as_deref()).unwrap(), Some(5));
        for limit in [0, 501, usize::MAX] {
            assert!(length(Some(limit)).is_err(), "{limit}");
        }
        assert_eq!(length(None).unwrap(), USUAL);
    }
}
