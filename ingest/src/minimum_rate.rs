//! How slowly a document may come.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::IngestSettings;

/// Until when the next byte of a document has to be there. Bytes buy time, but never
/// more than a window of it: whoever sends much at first has to go on all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinimumRate {
    rate: u64,
    /// The most time that bytes can buy.
    window: Duration,
    stall: Duration,
    until: Instant,
    last_byte: Instant,
}

impl MinimumRate {
    /// Of a document that begins now, with so many bytes.
    pub(crate) fn begun_with(bytes: usize, settings: &IngestSettings) -> Self {
        let now = Instant::now();
        let mut rate = Self::from(now, settings);
        rate.note(bytes, now);
        rate
    }

    fn from(now: Instant, settings: &IngestSettings) -> Self {
        Self {
            rate: settings.minimum_rate.max(1),
            window: settings.grace.max(settings.stall),
            stall: settings.stall,
            until: now + settings.grace,
            last_byte: now,
        }
    }

    /// Notes that bytes came.
    pub(crate) fn note(&mut self, bytes: usize, now: Instant) {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.rate;
        let bought = Duration::from_micros(micros).min(self.window);
        self.until = (self.until + bought).min(now + self.window);
        self.last_byte = now;
    }

    /// When it will have come too slowly.
    pub(crate) fn deadline(&self) -> Instant {
        self.until.min(self.last_byte + self.stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a document lasts whose peer sends so many bytes at first and so many
    /// each second after that, up to two hours; 64 bytes a second are asked for.
    fn lasts(first: usize, then: usize) -> u64 {
        let settings = IngestSettings { minimum_rate: 64, ..IngestSettings::default() };
        let begun = Instant::now();
        let mut rate = MinimumRate::from(begun, &settings);
        rate.note(first, begun);
        for second in 1..7200 {
            let now = begun + Duration::from_secs(second);
            if rate.deadline() <= now {
                return second;
            }
            if then > 0 {
                rate.note(then, now);
            }
        }
        7200
    }

    #[test]
    fn the_rate_is_asked_for_in_every_minute_however_much_came_before() {
        assert_eq!(lasts(0, 0), 20, "the grace");
        assert_eq!(lasts(8 << 20, 0), 60, "a burst buys a window");
        assert_eq!(lasts(1, 64), 7200, "the rate is enough");
        assert_eq!(lasts(8 << 20, 64), 7200);
        assert!(lasts(8 << 20, 32) <= 121, "half the rate uses the window up at half the pace");
        assert!(lasts(1, 1) < 22);
    }

    #[test]
    fn silence_is_cut_whatever_was_sent() {
        let settings = IngestSettings { stall: Duration::from_secs(5), ..IngestSettings::default() };
        let begun = Instant::now();
        let mut rate = MinimumRate::from(begun, &settings);
        rate.note(1 << 20, begun + Duration::from_secs(1));
        assert_eq!(rate.deadline(), begun + Duration::from_secs(6));
    }
}
