//! What a process knows of the quarantine's lists, and who goes where room is needed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use heliograph_domain::Timestamp;
use uuid::Uuid;

use crate::address::host_of;
use crate::quarantine::QuarantineUsage;
use crate::store::ProviderStore;

pub(super) const MINUTE: Duration = Duration::from_mins(1);
/// Entries of a share that a process removes from its middle in a minute, about.
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

    /// Who makes room where they have most: of strangers an address, else a gateway.
    pub(super) fn crowd(self, address: &str, gateway: Option<&str>) -> String {
        match self {
            Self::Trusted => gateway.unwrap_or_default().to_owned(),
            Self::Strangers => host_of(address),
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
    pub(super) gone: Removals,
}

/// How many entries went from the middle of each list, in the minute that is under way.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Removals {
    since: Option<Instant>,
    trusted: u32,
    strangers: u32,
}

impl Removals {
    /// Those of the minute in which this is.
    fn at(self, now: Instant) -> Self {
        let is_over = self.since.is_none_or(|since| now.duration_since(since) >= MINUTE);
        if is_over { Self { since: Some(now), trusted: 0, strangers: 0 } } else { self }
    }
}

/// What goes for an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leaving {
    /// The oldest of all, up to this one.
    pub(super) until: Option<Key>,
    /// Others.
    pub(super) single: Vec<Gone>,
}

/// An entry, as far as room is made by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// [`Share::crowd`].
    pub(super) crowd: String,
    /// The gateway that it is held for, if it is.
    pub(super) held_for: Option<String>,
    pub(super) bytes: u64,
}

/// The entries of a share by age.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) by_age: BTreeMap<Key, Weight>,
    /// How many entries and bytes each crowd has.
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
        count(&mut self.crowds, &weight.crowd, weight.bytes);
        if let Some(gateway) = &weight.held_for {
            count(&mut self.held, gateway, weight.bytes);
        }
        self.bytes += weight.bytes;
        self.by_age.insert(key, weight);
    }

    pub(super) fn take(&mut self, key: Key) -> Option<Gone> {
        let weight = self.by_age.remove(&key)?;
        self.bytes -= weight.bytes;
        discount(&mut self.crowds, &weight.crowd, weight.bytes);
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
            count(&mut crowds, &weight.crowd, weight.bytes);
        }
        let crowd = largest(&crowds)?;
        let oldest = held().find(|(_, weight)| weight.crowd == crowd).map(|(key, _)| *key)?;
        self.take(oldest)
    }

    /// The oldest entry of a crowd.
    fn oldest_of(&self, crowd: &str) -> Option<Key> {
        self.by_age.iter().find(|(_, weight)| weight.crowd == crowd).map(|(key, _)| *key)
    }

    /// Takes out the oldest entry of the crowd that has most.
    fn without_one_of_the_crowd(&mut self) -> Option<Gone> {
        let oldest = self.oldest_of(&self.largest_crowd()?)?;
        self.take(oldest)
    }

    /// The oldest entry of whoever has most of what there is too much of.
    fn first_of_too_much(&self, max: QuarantineUsage) -> Option<Key> {
        let by_number = self.by_age.len() as u64 > max.rows;
        let most = self.crowds.iter().max_by_key(|(_, usage)| if by_number { usage.rows } else { usage.bytes });
        self.oldest_of(most?.0)
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
        self.gone = self.gone.at(now);
        let so_far = self.gone.strangers;
        let known = self.strangers.by_age.contains_key(&key);
        let (from, held_for) = (weight.crowd.clone(), weight.held_for.clone());
        self.strangers.add(key, weight);
        let (max, held_for) = (Share::Strangers.max(), held_for.as_deref());
        let holds_too_much = self.strangers.holds_too_much(held_for);
        if known || !(self.strangers.is_over(max) || holds_too_much) {
            return Some(Vec::new());
        }
        let of_crowd = holds_too_much || self.strangers.largest_crowd().is_some_and(|crowd| crowd == from);
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
        self.gone.strangers = so_far.saturating_add(u32::try_from(gone.len()).unwrap_or(u32::MAX));
        Some(gone)
    }

    /// Enters an entry of a gateway that has proved itself; answers what goes for it: the
    /// oldest of the gateway that has most. Once so many have gone from the middle of the
    /// list within a minute, the oldest of all go.
    pub(super) fn admit_trusted(&mut self, key: Key, weight: Weight, now: Instant) -> Leaving {
        self.gone = self.gone.at(now);
        self.trusted.add(key, weight);
        let (max, mut leaving) = (Share::Trusted.max(), Leaving::default());
        while self.trusted.is_over(max)
            && let Some(oldest) = self.trusted.by_age.keys().next().copied()
        {
            let may = self.gone.trusted < GONE_A_MINUTE;
            let one = self.trusted.first_of_too_much(max).filter(|_| may).unwrap_or(oldest);
            let gone = self.trusted.take(one);
            if one == oldest {
                leaving.until = Some(oldest);
            } else {
                leaving.single.extend(gone);
                self.gone.trusted += 1;
            }
        }
        leaving
    }
}
