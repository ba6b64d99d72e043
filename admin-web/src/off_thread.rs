//! Work that takes the processor for long, where it holds up no page.

use tokio::sync::Semaphore;

/// The work did not end: the process is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process is ending")]
pub(crate) struct Ending;

/// Does work on a thread for such, once there is a permit for it. The permit goes
/// with the work: a caller that gives up does not make room for more than the machine
/// can do.
pub(crate) async fn off_thread<T: Send + 'static>(
    permits: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Ending> {
    let permit = permits.acquire().await.map_err(|_| Ending)?;
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    })
    .await
    .map_err(|_| Ending)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_still_takes_its_place() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let caller = tokio::spawn(off_thread(&ONE, move || {
            begun.send(()).unwrap();
            ends.recv().unwrap();
        }));
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(ONE.available_permits(), 0);
        end.send(()).unwrap();
        assert_eq!(off_thread(&ONE, || 7).await, Ok(7));
    }
}
