//! When a document came, and its place in the order of all that came.

use heliograph_domain::{QuarantineId, Timestamp, time_ordered_uuid};
use heliograph_store::{QuarantineNew, WriteStamp};

/// The bits of an id, behind its milliseconds, that tell which of those of one
/// millisecond came first (RFC 9562 section 6.2, method 1).
const WITHIN_MILLISECOND: u16 = 0x0fff;

/// The arrival of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) at: Timestamp,
    pub(crate) stamp: WriteStamp,
}

impl Arrival {
    /// The id of an entry of the quarantine, which rises with the order of arrival.
    pub(crate) fn id(self) -> QuarantineId {
        let mut random: [u8; 10] = rand::random();
        let micros = self.stamp.as_micros().saturating_sub(WriteStamp::at(self.at).as_micros());
        let place = u16::try_from(micros).unwrap_or(u16::MAX).min(WITHIN_MILLISECOND);
        let [first, second, ..] = &mut random;
        [*first, *second] = place.to_be_bytes();
        QuarantineId::new(time_ordered_uuid(self.at, &random))
    }

    /// The stamp of what an entry holds: its id tells the place.
    pub(crate) fn stamp_of(entry: &QuarantineNew) -> WriteStamp {
        let [.., first, second, _, _, _, _, _, _, _, _] = *entry.id.as_uuid().as_bytes();
        WriteStamp::within(entry.received, u16::from_be_bytes([first, second]) & WITHIN_MILLISECOND)
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::RefusalCode;
    use heliograph_store::Stamps;

    use super::*;

    #[test]
    fn of_what_came_within_a_millisecond_ids_and_stamps_tell_the_order() {
        let (stamps, at) = (Stamps::new(), Timestamp::clamped(1_795_000_000_123));
        let arrivals: Vec<_> = (0..5000).map(|_| Arrival { at, stamp: stamps.next(at) }).collect();
        let ids: Vec<_> = arrivals.iter().map(|arrival| arrival.id()).collect();
        assert!(ids[..4095].is_sorted());
        for (arrival, id) in arrivals.iter().zip(ids).take(4095) {
            let (gateway, address, reason) = (None, String::new(), String::new());
            let code = RefusalCode::BadKey;
            let entry = QuarantineNew { id, received: at, gateway, address, code, reason, raw: vec![], trusted: false };
            assert_eq!(Arrival::stamp_of(&entry), arrival.stamp);
        }
    }
}
