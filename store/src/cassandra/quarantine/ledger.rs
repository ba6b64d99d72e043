//! What a process knows of the quarantine's lists, and who goes where room is needed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use heliograph_domain::Timestamp;
use uuid::Uuid;

use crate::quarantine::QuarantineUsage;
use crate::store::ProviderStore;

pub(super) const MINUTE: Duration = Duration::from_mins(1);
/// Strangers' entries that a process removes for others in a minute, about.
const GONE_A_MINUTE: u32 = 100;

/// The shares of the quarantine, each with its own bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    Trusted,
    Strangers,
}

impl Share {
    pub(super) const ALL: [Self; 2] = [Self::Trusted, Self::Strangers];

    pub(super) const fn of(trusted: bool) -> Self {
        if trusted { Self::Trusted } else { Self::Strangers }
    }

    pub(super) const fn part(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Strangers => "strangers",
        }
    }

    pub(super) const fn max(self) -> QuarantineUsage {
        match self {
            Self::Trusted => QuarantineUsage { rows: ProviderStore::QUARANTINE_ROWS, bytes: ProviderStore::QUARANTINE_BYTES },
            Self::Strangers => QuarantineUsage { rows: ProviderStore::STRANGERS_ROWS, bytes: ProviderStore::STRANGERS_BYTES },
        }
    }
}

/// When an entry was received, and its id.
pub(super) type Key = (Timestamp, Uuid);

/// What a process knows of the lists.
#[derive(Debug, Default)]
pub(in crate::cassandra) struct Ledger {
    pub(super) read: Option<Instant>,
    pub(super) trusted: Entries,
    pub(super) strangers: Entries,
    /// Since when strangers were counted that went for others, and how many did.
    pub(super) gone: Option<(Instant, u32)>,
}

/// An entry, as far as room is made by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// Where it came from.
    pub(super) host: String,
    /// The gateway that it is held for, if it is.
    pub(super) held_for: Option<String>,
    pub(super) bytes: u64,
}

/// The entries of a share by age.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) by_age: BTreeMap<Key, Weight>,
    /// How many entries and bytes each host has.
    crowds: HashMap<String, QuarantineUsage>,
    /// How many are held for each gateway that nobody knows.
    held: HashMap<String, QuarantineUsage>,
    pub(super) bytes: u64,
}

/// An entry that has to go: its key and its bytes.
pub(super) type Gone = (Key, u64);

impl Entries {
    pub(super) fn add(&mut self, key: Key, weight: Weight) {
        if self.by_age.contains_key(&key) {
            return;
        }
        count(&mut self.crowds, &weight.host, weight.bytes);
        if let Some(gateway) = &weight.held_for {
            count(&mut self.held, gateway, weight.bytes);
        }
        self.bytes += weight.bytes;
        self.by_age.insert(key, weight);
    }

    pub(super) fn take(&mut self, key: Key) -> Option<Gone> {
        let weight = self.by_age.remove(&key)?;
        self.bytes -= weight.bytes;
        discount(&mut self.crowds, &weight.host, weight.bytes);
        if let Some(gateway) = &weight.held_for {
            discount(&mut self.held, gateway, weight.bytes);
        }
        Some((key, weight.bytes))
    }

    fn is_over(&self, max: QuarantineUsage) -> bool {
        self.by_age.len() as u64 > max.rows || self.bytes > max.bytes
    }

    /// Whether more is held for a gateway than may be.
    fn holds_too_much(&self, gateway: Option<&str>) -> bool {
        let held = gateway.and_then(|gateway| self.held.get(gateway));
        held.is_some_and(|held| held.rows > ProviderStore::HELD_ROWS || held.bytes > ProviderStore::HELD_BYTES)
    }

    /// Takes out the oldest entry that is held for a gateway, of the host that has
    /// most of them.
    fn without_one_held(&mut self, gateway: &str) -> Option<Gone> {
        let mut crowds = HashMap::new();
        let held = || self.by_age.iter().filter(|(_, weight)| weight.held_for.as_deref() == Some(gateway));
        for (_, weight) in held() {
            count(&mut crowds, &weight.host, weight.bytes);
        }
        let crowd = largest(&crowds)?;
        let oldest = held().find(|(_, weight)| weight.host == crowd).map(|(key, _)| *key)?;
        self.take(oldest)
    }

    /// Takes out the oldest that are beyond the bounds.
    pub(super) fn without_oldest(&mut self, max: QuarantineUsage) -> Vec<Gone> {
        let mut gone = Vec::new();
        while self.is_over(max)
            && let Some(oldest) = self.by_age.keys().next().copied()
        {
            gone.extend(self.take(oldest));
        }
        gone
    }

    /// Takes out the oldest entry of the host that has most.
    fn without_one_of_the_crowd(&mut self) -> Option<Gone> {
        let crowd = self.largest_crowd()?;
        let oldest = self.by_age.iter().find(|(_, weight)| weight.host == crowd).map(|(key, _)| *key)?;
        self.take(oldest)
    }

    fn largest_crowd(&self) -> Option<String> {
        largest(&self.crowds)
    }
}

fn count(of: &mut HashMap<String, QuarantineUsage>, name: &str, bytes: u64) {
    let usage = of.entry(name.to_owned()).or_default();
    *usage = QuarantineUsage { rows: usage.rows + 1, bytes: usage.bytes + bytes };
}

fn discount(of: &mut HashMap<String, QuarantineUsage>, name: &str, bytes: u64) {
    if let Some(usage) = of.get_mut(name) {
        *usage = QuarantineUsage { rows: usage.rows - 1, bytes: usage.bytes - bytes };
        if usage.rows == 0 {
            of.remove(name);
        }
    }
}

fn largest(crowds: &HashMap<String, QuarantineUsage>) -> Option<String> {
    crowds.iter().max_by_key(|(_, usage)| (usage.rows, usage.bytes)).map(|(host, _)| host.clone())
}

impl Ledger {
    pub(super) fn share(&mut self, share: Share) -> &mut Entries {
        match share {
            Share::Trusted => &mut self.trusted,
            Share::Strangers => &mut self.strangers,
        }
    }

    /// Enters an entry of a stranger; answers what goes for it, or that there is no
    /// room for it now. Whoever belongs to the crowd has but half of the minute's.
    pub(super) fn admit_stranger(&mut self, key: Key, weight: Weight, now: Instant) -> Option<Vec<Gone>> {
        if self.gone.is_none_or(|(since, _)| now.duration_since(since) >= MINUTE) {
            self.gone = Some((now, 0));
        }
        let so_far = self.gone.map_or(0, |(_, count)| count);
        let known = self.strangers.by_age.contains_key(&key);
        let (host, held_for) = (weight.host.clone(), weight.held_for.clone());
        self.strangers.add(key, weight);
        let (max, held_for) = (Share::Strangers.max(), held_for.as_deref());
        let holds_too_much = self.strangers.holds_too_much(held_for);
        if known || !(self.strangers.is_over(max) || holds_too_much) {
            return Some(Vec::new());
        }
        let of_crowd = holds_too_much || self.strangers.largest_crowd().is_some_and(|crowd| crowd == host);
        if so_far >= if of_crowd { GONE_A_MINUTE / 2 } else { GONE_A_MINUTE } {
            self.strangers.take(key);
            return None;
        }
        let mut gone = Vec::new();
        while let Some(gateway) = held_for.filter(|_| self.strangers.holds_too_much(held_for))
            && let Some(one) = self.strangers.without_one_held(gateway)
        {
            gone.push(one);
        }
        while self.strangers.is_over(max)
            && let Some(one) = self.strangers.without_one_of_the_crowd()
        {
            gone.push(one);
        }
        let count = so_far.saturating_add(u32::try_from(gone.len()).unwrap_or(u32::MAX));
        self.gone = self.gone.map(|(since, _)| (since, count));
        Some(gone)
    }
}
