//! The sensors of one document, each once.

use std::collections::HashMap;

use heliograph_domain::{ParseError, SensorId, SensorRole};

use crate::decode::DecodedSensor;

/// Gives sensors their index in a document, by id.
#[derive(Debug, Default)]
pub(crate) struct Sensors {
    list: Vec<DecodedSensor>,
    by_id: HashMap<String, usize>,
    last: usize,
}

impl Sensors {
    /// The index of a sensor, which is added if it is new. A role that is stated
    /// once holds for the whole document.
    ///
    /// # Errors
    /// When the id is not one.
    pub(crate) fn index(&mut self, id: &str, role: Option<SensorRole>) -> Result<usize, ParseError> {
        let index = self.find(id).map_or_else(|| self.add(id), Ok)?;
        self.last = index;
        if let Some(sensor) = self.list.get_mut(index)
            && sensor.role.is_none()
        {
            sensor.role = role;
        }
        Ok(index)
    }

    pub(crate) fn into_list(self) -> Vec<DecodedSensor> {
        self.list
    }

    /// Documents tend to stay at one sensor for a while.
    fn find(&self, id: &str) -> Option<usize> {
        match self.list.get(self.last) {
            Some(sensor) if sensor.id.as_str() == id => Some(self.last),
            _ => self.by_id.get(id).copied(),
        }
    }

    fn add(&mut self, id: &str) -> Result<usize, ParseError> {
        let index = self.list.len();
        self.list.push(DecodedSensor { id: SensorId::parse(id)?, role: None });
        self.by_id.insert(id.to_owned(), index);
        Ok(index)
    }
}
