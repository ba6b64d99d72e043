//! What must be true of a store after a fault: five lists that have to be empty.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::journal::Sent;

/// A reading as it was found, whose gateway and series are as the store names them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) gateway: String,
    pub(crate) sensor: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    /// Milliseconds UTC.
    pub(crate) time: i64,
    pub(crate) value: f64,
}

/// What is wrong; clean when all are empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    /// Acked and not stored.
    pub(crate) lost: Vec<String>,
    /// Stored and never sent.
    pub(crate) ghost: Vec<String>,
    /// A key more than once.
    pub(crate) dup: Vec<String>,
    /// Part of a document.
    pub(crate) torn: Vec<String>,
    /// Stored under another provider than it was sent to.
    pub(crate) leak: Vec<String>,
}

impl Verdict {
    fn lists(&self) -> [(&'static str, &[String]); 5] {
        [("LOST", &self.lost), ("GHOST", &self.ghost), ("DUP", &self.dup), ("TORN", &self.torn), ("LEAK", &self.leak)]
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.lists().iter().all(|(_, list)| list.is_empty())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, list) in self.lists() {
            writeln!(f, "{name} {}: {:?}", list.len(), list.iter().take(5).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

type Key<'a> = (&'a str, &'a str, &'a str, &'a str, i64);

/// Judges what is stored under one provider. `sent` holds, gateway by gateway
/// and in the order of sending, what was sent to it; `elsewhere` what was sent
/// to others. A document that was not acked may be there or not, but whole.
pub(crate) fn judge(sent: &[Vec<Sent>], elsewhere: &[Vec<Sent>], stored: &[Stored]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut found: HashMap<Key<'_>, f64> = HashMap::new();
    for reading in stored {
        let key = (&*reading.gateway, &*reading.sensor, &*reading.metric, &*reading.unit, reading.time);
        if found.insert(key, reading.value).is_some() {
            verdict.dup.push(format!("{key:?}"));
        }
    }
    // Whose each value is: no two documents of a gateway have one in common.
    let mut senders: HashMap<(Key<'_>, u64), usize> = HashMap::new();
    let mut shared: HashMap<Key<'_>, usize> = HashMap::new();
    let seqs: Vec<&str> = sent.iter().flatten().map(|sent| &*sent.document.seq).collect();
    for (number, document) in sent.iter().flatten().map(|sent| &sent.document).enumerate() {
        for reading in &document.readings {
            let key = (&*document.gateway, &*reading.sensor, &*reading.metric, &*reading.unit, reading.time);
            senders.insert((key, reading.value.to_bits()), number);
            *shared.entry(key).or_default() += 1;
        }
    }
    let foreign: HashMap<u64, &str> = elsewhere
        .iter()
        .flatten()
        .flat_map(|sent| sent.document.readings.iter().map(|reading| (reading.value.to_bits(), &*sent.document.seq)))
        .collect();
    for (key, value) in &found {
        match (senders.get(&(*key, value.to_bits())), foreign.get(&value.to_bits())) {
            (Some(_), _) => {}
            (_, Some(seq)) => verdict.leak.push(format!("{seq} as {key:?}")),
            _ => verdict.ghost.push(format!("{key:?} = {value}")),
        }
    }
    for (number, Sent { document, acked_at, .. }) in sent.iter().flatten().enumerate() {
        let (mut there, mut missing) = (0, 0);
        for reading in &document.readings {
            let key = (&*document.gateway, &*reading.sensor, &*reading.metric, &*reading.unit, reading.time);
            let writer = found.get(&key).and_then(|value| senders.get(&(key, value.to_bits()))).copied();
            // A later document may have overwritten an acked one. Where none was
            // acked yet, any of those that share a key may have come last.
            match writer {
                Some(writer) if writer == number => there += 1,
                Some(writer) if writer > number => {}
                _ if acked_at.is_some() || shared.get(&key) == Some(&1) => missing += 1,
                _ => {}
            }
        }
        if let Some(acked_at) = acked_at.filter(|_| missing > 0) {
            let instead = document.readings.iter().map(|reading| {
                let key = (&*document.gateway, &*reading.sensor, &*reading.metric, &*reading.unit, reading.time);
                let writer = found.get(&key).map(|value| senders.get(&(key, value.to_bits())).and_then(|of| seqs.get(*of)));
                (reading.time, writer)
            });
            let instead: BTreeSet<_> = instead.collect();
            verdict.lost.push(format!("{}, acked at {acked_at}, instead of it at each time: {instead:?}", document.seq));
        }
        if missing > 0 && there > 0 {
            verdict.torn.push(document.seq.clone());
        }
    }
    verdict
}

mod tests {
    use super::*;
    use crate::journal::{Document, Reading};

    fn sent(seq: &str, acked: bool, readings: &[(i64, f64)]) -> Sent {
        let reading = |(time, value): &(i64, f64)| Reading {
            sensor: "s".into(),
            metric: "power".into(),
            unit: "W".into(),
            time: *time,
            value: *value,
        };
        let readings = readings.iter().map(reading).collect();
        let document = Document { provider: "p".into(), gateway: "g".into(), seq: seq.into(), hash: String::new(), readings };
        Sent { document, acked_at: acked.then_some(1), refusals: Vec::new() }
    }

    fn stored(readings: &[(i64, f64)]) -> Vec<Stored> {
        let stored = |(time, value): &(i64, f64)| Stored {
            gateway: "g".into(),
            sensor: "s".into(),
            metric: "power".into(),
            unit: "W".into(),
            time: *time,
            value: *value,
        };
        readings.iter().map(stored).collect()
    }

    #[test]
    fn each_of_the_five_faults_is_named() {
        let own = [vec![
            sent("a", true, &[(1, 10.0), (2, 11.0)]),
            sent("b", false, &[(3, 20.0), (4, 21.0)]),
            sent("c", true, &[(2, 30.0)]),
        ]];
        let others = [vec![sent("x", true, &[(1, 90.0)])]];
        let verdict = |readings: &[(i64, f64)]| {
            let Verdict { lost, ghost, dup, torn, leak } = judge(&own, &others, &stored(readings));
            [lost, ghost, dup, torn, leak].map(|list| list.len())
        };
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0)]), [0, 0, 0, 0, 0], "what was not acked may be missing");
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0), (3, 20.0), (4, 21.0)]), [0, 0, 0, 0, 0], "or there");
        assert_eq!(verdict(&[(2, 30.0)]), [1, 0, 0, 0, 0]);
        assert_eq!(verdict(&[(1, 10.0), (2, 11.0)]), [1, 0, 0, 0, 0], "an older value has come back");
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0), (3, 20.0)]), [0, 0, 0, 1, 0]);
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0), (5, 50.0)]), [0, 1, 0, 0, 0]);
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0), (5, 10.0)]), [0, 1, 0, 0, 0], "a reading at a time of its own making");
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0), (2, 30.0)]), [0, 0, 1, 0, 0]);
        assert_eq!(verdict(&[(1, 10.0), (2, 30.0), (7, 90.0)]), [0, 0, 0, 0, 1]);
    }
}
