//! What is remembered for a while, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heliograph_domain::Timestamp;

/// What was noted of some keys within a window of time.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    window_ms: i64,
    /// Beyond so many those whose time is over are dropped, then all.
    most: usize,
    noted: Mutex<HashMap<K, Noted<V>>>,
}

#[derive(Debug)]
struct Noted<V> {
    since: Timestamp,
    value: V,
}

impl<K: Eq + Hash, V: Copy + Default> Recent<K, V> {
    /// Remembers at most so many keys for so long, in milliseconds.
    pub(crate) fn new(window_ms: i64, most: usize) -> Self {
        Self { window_ms, most, noted: Mutex::default() }
    }

    /// What was noted of a key; nothing once its time is over.
    pub(crate) fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let noted = self.noted();
        noted.get(key).filter(|noted| self.holds(noted, now)).map(|noted| noted.value)
    }

    /// Changes what was noted of a key, or begins with it.
    pub(crate) fn note(&self, key: K, now: Timestamp, change: impl FnOnce(&mut V)) {
        let mut noted = self.noted();
        if noted.len() >= self.most {
            noted.retain(|_, one| self.holds(one, now));
            if noted.len() >= self.most {
                noted.clear();
            }
        }
        let begun = || Noted { since: now, value: V::default() };
        let one = noted.entry(key).or_insert_with(begun);
        if !self.holds(one, now) {
            *one = begun();
        }
        change(&mut one.value);
    }

    /// Where the clock was set back nothing is held for longer than its time.
    fn holds(&self, noted: &Noted<V>, now: Timestamp) -> bool {
        (0..self.window_ms).contains(&now.millis_since(noted.since))
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<K, Noted<V>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_a_while_and_no_longer_where_the_clock_is_set_back() {
        let (recent, at) = (Recent::new(60, 10), Timestamp::clamped);
        let count = |now: i64| recent.note("a", at(now), |count: &mut u32| *count += 1);
        assert_eq!(recent.get(&"a", at(1000)), None);
        count(1000);
        count(1059);
        assert_eq!((recent.get(&"a", at(1059)), recent.get(&"a", at(1060)), recent.get(&"b", at(1059))), (Some(2), None, None));
        count(1060);
        assert_eq!(recent.get(&"a", at(1060)), Some(1));
        assert_eq!(recent.get(&"a", at(500)), None);
        count(500);
        assert_eq!(recent.get(&"a", at(500)), Some(1));
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::new(60, 100);
        for key in 0..1000 {
            recent.note(key, Timestamp::clamped(0), |()| ());
            assert!(recent.noted().len() <= 100);
        }
    }
}
