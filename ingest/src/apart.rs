//! Work that takes long, where it does not hold up other connections.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Bytes from which on decoding or looking through them takes long.
const LARGE: usize = 256 * 1024;

/// Does work on so many bytes; on many, while another thread goes on with what else is
/// to be done, if there is one.
pub(crate) fn apart<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let is_multi_threaded = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if bytes >= LARGE && is_multi_threaded() { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_meanwhile() {
        let long = tokio::spawn(async {
            let (done, told) = mpsc::channel();
            tokio::spawn(async move { done.send(()) });
            apart(LARGE, || told.recv_timeout(Duration::from_secs(30)))
        });
        assert_eq!(long.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn where_there_is_one_thread_it_does_the_work() {
        assert_eq!(apart(LARGE, || 7), 7);
    }
}
