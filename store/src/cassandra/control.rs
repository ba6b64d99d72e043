//! Numbers that processes leave for each other, in the table `control`.

use std::collections::HashMap;

use super::Database;
use crate::error::StoreError;

/// Windows that begin before this were sealed because readings were to be deleted.
pub(super) const SEALED: &str = "sealed";
/// For how many days the readings of open windows are there, at least.
pub(super) const KEPT: &str = "kept";
/// For how many days every reading lives, at least.
pub(super) const LIFETIME: &str = "lifetime";
/// Up to when readings of a gateway have a new lifetime, `lifetime:DAYS:SHORTENED:GATEWAY`;
/// without a gateway, when that was first wanted.
pub(super) const LIFETIME_OF: &str = "lifetime:";
/// Another number each time that readings are to live shorter than before.
pub(super) const SHORTENED: &str = "shortened";
/// Up to when readings of a gateway were deleted, `retained:GATEWAY`.
pub(super) const RETAINED: &str = "retained:";
/// When the clock of the retention worker began to go on without a jump, and what it
/// said last.
pub(super) const CLOCK_SINCE: &str = "clock:since";
pub(super) const CLOCK_LAST: &str = "clock:last";
/// As many days as there are.
pub(super) const FOR_EVER: i64 = i64::MAX;

impl Database {
    pub(super) async fn control(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let row: Option<(Option<i64>,)> = self.row("SELECT value FROM @.control WHERE name = ?", (name,)).await?;
        Ok(row.and_then(|(value,)| value))
    }

    pub(super) async fn set_control(&self, name: &str, value: i64) -> Result<(), StoreError> {
        self.execute("UPDATE @.control SET value = ? WHERE name = ?", (value, name)).await.map(drop)
    }

    /// What is noted under names that begin alike, by the rest of each name.
    pub(super) async fn noted(&self, begin: &str) -> Result<HashMap<String, i64>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = self.all("SELECT name, value FROM @.control", ()).await?;
        let of_name = |(row, value): (String, Option<i64>)| Some((row.strip_prefix(begin)?.to_owned(), value?));
        Ok(rows.into_iter().filter_map(of_name).collect())
    }

    /// Forgets all that is noted of readings: there are none.
    pub(super) async fn forget_readings(&self) -> Result<(), StoreError> {
        for begin in [SEALED, KEPT, LIFETIME, RETAINED] {
            self.forget(begin, None).await?;
        }
        Ok(())
    }

    /// Forgets what is noted under names that begin alike, but for those that go on
    /// in a way.
    pub(super) async fn forget(&self, begin: &str, but: Option<&str>) -> Result<(), StoreError> {
        for rest in self.noted(begin).await?.into_keys() {
            if but.is_none_or(|but| !rest.starts_with(but)) {
                self.execute("DELETE FROM @.control WHERE name = ?", (format!("{begin}{rest}"),)).await?;
            }
        }
        Ok(())
    }
}
