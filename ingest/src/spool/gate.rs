//! Whether documents go through the spool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const IN_USE: usize = 1 << (usize::BITS - 1);

/// Whether the spool is in use, and how many documents are on their way through
/// it, in one word: it falls out of use only at a moment at which none is.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicUsize);

/// One document on its way through the spool.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Gate>);

impl Gate {
    /// A way through the spool, if it is in use.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Ticket> {
        let enter = |state: usize| (state & IN_USE != 0).then_some(state + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).ok().map(|_| Ticket(Arc::clone(self)))
    }

    /// A way through the spool, which puts it into use.
    pub(crate) fn open(self: &Arc<Self>) -> Ticket {
        let open = |state: usize| Some((state | IN_USE) + 1);
        // The closure never refuses.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, open);
        Ticket(Arc::clone(self))
    }

    /// A way through the spool that leaves everybody else's as it is.
    pub(crate) fn alone(self: &Arc<Self>) -> Ticket {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ticket(Arc::clone(self))
    }

    /// Puts the spool into use; whether it was not before.
    pub(crate) fn begin(&self) -> bool {
        self.0.fetch_or(IN_USE, Ordering::AcqRel) & IN_USE == 0
    }

    /// Takes the spool out of use, unless a document is on its way.
    pub(crate) fn end(&self) -> bool {
        self.0.compare_exchange(IN_USE, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes the spool out of use where the order of writing does not matter.
    pub(crate) fn end_out_of_order(&self) -> bool {
        self.0.fetch_and(!IN_USE, Ordering::AcqRel) & IN_USE != 0
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.0.load(Ordering::Acquire) & IN_USE != 0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_stays_in_use_while_a_document_is_on_its_way() {
        let gate = Arc::new(Gate::default());
        assert!(gate.enter().is_none() && !gate.end());
        let first = gate.open();
        let second = gate.enter().unwrap();
        assert!(!gate.begin());
        drop(first);
        assert!(!gate.end());
        drop(second);
        assert!(gate.end() && !gate.is_in_use() && gate.enter().is_none());
    }
}
