//! A report as one JSON object (RFC 8259).
//!
//! The head's facts are members of the object, `figures` is an object, each table
//! an array of objects. What a row of bars says of sensors is an array `sensors`
//! in it, because names of sensors are no names of members.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::{Cell, Column, Export, ExportError, Fact, Table, rfc3339};

impl Export {
    /// The whole report.
    ///
    /// # Errors
    /// When it cannot be written, which is a fault of ours.
    pub fn json(&self) -> Result<Vec<u8>, ExportError> {
        Ok(serde_json::to_vec(&Whole(self))?)
    }
}

struct Whole<'a>(&'a Export);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(export) = self;
        let mut object = serializer.serialize_map(None)?;
        for fact in &export.head {
            object.serialize_entry(&fact.name, &Value(&fact.cell, export))?;
        }
        object.serialize_entry("figures", &Facts(&export.figures, export))?;
        for table in &export.tables {
            object.serialize_entry(table.name, &Rows(table, export))?;
        }
        object.end()
    }
}

struct Facts<'a>(&'a [Fact], &'a Export);

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(facts, export) = self;
        serializer.collect_map(facts.iter().map(|fact| (&fact.name, Value(&fact.cell, export))))
    }
}

struct Rows<'a>(&'a Table, &'a Export);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(table, export) = self;
        serializer.collect_seq(table.rows.iter().map(|row| Row(&table.columns, row, export)))
    }
}

struct Row<'a>(&'a [Column], &'a [Cell], &'a Export);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(columns, cells, export) = self;
        let own = columns.iter().zip(*cells).filter(|(column, _)| column.of.is_none());
        let mut object = serializer.serialize_map(None)?;
        for (column, cell) in own {
            object.serialize_entry(&column.name, &Value(cell, export))?;
        }
        if columns.iter().any(|column| column.of.is_some()) {
            object.serialize_entry("sensors", &Sensors(columns, cells, export))?;
        }
        object.end()
    }
}

/// What a row says of sensors, an object each.
struct Sensors<'a>(&'a [Column], &'a [Cell], &'a Export);

impl Serialize for Sensors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(columns, cells, export) = self;
        let pairs: Vec<(&Column, &Cell)> = columns.iter().zip(*cells).filter(|(column, _)| column.of.is_some()).collect();
        let mut array = serializer.serialize_seq(None)?;
        for of_one in pairs.chunk_by(|(a, _), (b, _)| a.of == b.of) {
            array.serialize_element(&Sensor(of_one, export))?;
        }
        array.end()
    }
}

struct Sensor<'a>(&'a [(&'a Column, &'a Cell)], &'a Export);

impl Serialize for Sensor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(pairs, export) = self;
        let mut object = serializer.serialize_map(None)?;
        let id = pairs.first().and_then(|(column, _)| column.of.as_ref()).map(|owner| &owner.id);
        object.serialize_entry("sensor", &id)?;
        for (column, cell) in *pairs {
            object.serialize_entry(&column.name, &Value(cell, export))?;
        }
        object.end()
    }
}

struct Value<'a>(&'a Cell, &'a Export);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(cell, export) = self;
        match cell {
            Cell::Unknown => serializer.serialize_unit(),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Number { value, decimals: 0 } => serializer.serialize_i64(*value as i64),
            Cell::Number { value, .. } => serializer.serialize_f64(*value),
            Cell::Flag(flag) => serializer.serialize_bool(*flag),
            Cell::Utc(time) => serializer.collect_str(time),
            Cell::Local(time) => serializer.serialize_str(&rfc3339(*time, &export.zone)),
            Cell::Day(day) => serializer.collect_str(day),
        }
    }
}
