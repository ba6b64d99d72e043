//! How much `make soak` does.

/// Rounds of a check that anybody may wait for or not: as many as
/// HELIOGRAPH_SOAK_ROUNDS says, else as many as are given.
pub(crate) fn rounds(unless_said: u32) -> u32 {
    std::env::var("HELIOGRAPH_SOAK_ROUNDS").map_or(unless_said, |rounds| rounds.parse().unwrap())
}
