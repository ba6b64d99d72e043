//! How much `make soak` does.

use std::time::Duration;

/// Rounds of a check that anybody may wait for or not: as many as
/// HELIOGRAPH_SOAK_ROUNDS says, else as many as are given.
pub(crate) fn rounds(unless_said: u32) -> u32 {
    std::env::var("HELIOGRAPH_SOAK_ROUNDS").map_or(unless_said, |rounds| rounds.parse().unwrap())
}

/// How long a check goes on that shows only in time: as many seconds as
/// HELIOGRAPH_SOAK_SECONDS says, else as many as are given.
pub(crate) fn seconds(unless_said: u64) -> Duration {
    Duration::from_secs(std::env::var("HELIOGRAPH_SOAK_SECONDS").map_or(unless_said, |seconds| seconds.parse().unwrap()))
}
