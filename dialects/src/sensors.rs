//! The sensors of one document, each once.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use heliograph_domain::{ParseError, SensorId, SensorRole};

use crate::decode::DecodedSensor;

/// Bytes; no id has so many characters.
const LONGEST: usize = 1024;

/// Gives sensors their index in a document, by id.
#[derive(Debug, Default)]
pub(crate) struct Sensors {
    list: Vec<DecodedSensor>,
    /// Indexes into the list, found by the hash of the id.
    by_id: HashTable<usize>,
    hasher: RandomState,
    last: usize,
}

impl Sensors {
    /// The index of a sensor, which is added if it is new. A role that is stated
    /// once holds for the whole document.
    ///
    /// # Errors
    /// When the id is not one.
    pub(crate) fn index(&mut self, id: &str, role: Option<SensorRole>) -> Result<usize, ParseError> {
        // Documents tend to stay at one sensor for a while.
        if !self.is_at(self.last, id) {
            self.last = self.find_or_add(id)?;
        }
        if let Some(sensor) = self.list.get_mut(self.last)
            && sensor.role.is_none()
        {
            sensor.role = role;
        }
        Ok(self.last)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn into_list(self) -> Vec<DecodedSensor> {
        self.list
    }

    fn find_or_add(&mut self, id: &str) -> Result<usize, ParseError> {
        // What is far too long for an id is refused before it is read once more.
        if id.len() > LONGEST {
            SensorId::parse(id.get(..LONGEST).filter(|_| id.is_ascii()).unwrap_or("\u{FEFF}"))?;
        }
        let hash = self.hasher.hash_one(id);
        if let Some(found) = self.by_id.find(hash, |index| self.is_at(*index, id)) {
            return Ok(*found);
        }
        let index = self.list.len();
        self.list.push(DecodedSensor { id: SensorId::parse(id)?, role: None });
        let (list, hasher) = (&self.list, &self.hasher);
        let rehash = |index: &usize| hasher.hash_one(list.get(*index).map_or("", |sensor| sensor.id.as_str()));
        self.by_id.insert_unique(hash, index, rehash);
        Ok(index)
    }

    fn is_at(&self, index: usize, id: &str) -> bool {
        self.list.get(index).is_some_and(|sensor| sensor.id.as_str() == id)
    }
}
