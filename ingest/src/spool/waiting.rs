//! Callers whose documents are in the spool already and who wait for the store.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use heliograph_store::StoreError;
use tokio::sync::oneshot;

use super::segment::RecordPlace;

/// What the store has said of a document: it is written, or will never be.
pub(crate) type Outcome = Result<(), StoreError>;

/// More than so many are looked through for those whose callers wait no more.
const MANY: usize = 1024;

/// Whoever waits, by where the document is kept.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashMap<RecordPlace, oneshot::Sender<Outcome>>>);

impl Waiting {
    /// Notes who waits for the store to take a document.
    pub(crate) fn add(&self, place: RecordPlace, told: oneshot::Sender<Outcome>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MANY {
            waiting.retain(|_, told| !told.is_closed());
        }
        waiting.insert(place, told);
    }

    /// Tells what the store has said; whether somebody has taken it.
    pub(crate) fn tell(&self, place: &RecordPlace, outcome: Outcome) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
        told.is_some_and(|told| told.send(outcome).is_ok())
    }

    /// Lets everybody go: the store takes nothing now.
    pub(crate) fn let_go(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lets those go whose documents are in a segment.
    pub(crate) fn let_go_of(&self, segment: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|place, _| place.segment != segment);
    }
}

/// What the store says of a document within a time; `None`: nothing, so that the
/// document is the spool's.
pub(crate) async fn outcome(mut told: oneshot::Receiver<Outcome>, until: tokio::time::Instant) -> Option<Outcome> {
    if let Ok(outcome) = tokio::time::timeout_at(until, &mut told).await {
        return outcome.ok();
    }
    // What is said from now on is not heard, and whoever says it knows that.
    told.close();
    told.try_recv().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn place(at: usize) -> RecordPlace {
        RecordPlace { segment: "segment".into(), at }
    }

    #[tokio::test]
    async fn either_the_caller_hears_what_the_store_said_or_whoever_says_it_knows_that_nobody_does() {
        let waiting = Waiting::default();
        let until = Instant::now() + Duration::from_millis(20);
        let wait = |at| {
            let (told, receiver) = oneshot::channel();
            waiting.add(place(at), told);
            outcome(receiver, until)
        };
        let in_time = wait(1);
        assert!(waiting.tell(&place(1), Ok(())));
        assert!(matches!(in_time.await, Some(Ok(()))));
        assert!(wait(2).await.is_none());
        assert!(!waiting.tell(&place(2), Ok(())), "its time is over");
        assert!(!waiting.tell(&place(3), Ok(())), "nobody waits for it");
        let let_go = wait(4);
        waiting.let_go();
        assert!(let_go.await.is_none());
    }
}
