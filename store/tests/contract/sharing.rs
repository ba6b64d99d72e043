//! Many writers at once: connections of one process, and processes.

use heliograph_domain::{ProviderId, TimeWindow};
use heliograph_store::{Store, StoreUrl};

use crate::backend::{gateway, on_every_backend, power};
use crate::documents::counts_documents;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_several_openings_lose_nothing() {
    on_every_backend(|fresh| async move {
        // Each opening has connections and threads of its own, as another
        // process would have.
        let openings: Vec<Store> = (0..3).map(|_| Store::open(fresh.url.clone()).unwrap()).collect();
        let mut tasks = Vec::new();
        for (number, root) in openings.iter().enumerate() {
            let store = root.provider(fresh.provider()).unwrap();
            for lane in 0..4 {
                let store = store.clone();
                tasks.push(tokio::spawn(async move {
                    for step in 0..50 {
                        let minute = number as i64 * 1000 + lane * 100 + step;
                        store.document_write(power("gw-1", &[(minute, minute as f64)])).await.unwrap();
                    }
                }));
            }
            tasks.push(tokio::spawn({
                let store = store.clone();
                async move {
                    for _ in 0..20 {
                        store.rollup_settle().await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let page = fresh.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
        assert_eq!(page.rows.len(), 3 * 4 * 50);
        counts_documents(&fresh, 3 * 4 * 50).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_takes_nothing_with_it() {
    on_every_backend(|store| async move {
        let mut tasks = Vec::new();
        for step in 0..60i64 {
            let store = store.store.clone();
            tasks.push(tokio::spawn(async move {
                let mut document = power("gw-1", &[(step, 1.0)]);
                if step % 3 == 0 {
                    document.series[0].sensor = 7;
                }
                (step, store.document_write(document).await.is_ok())
            }));
        }
        for task in tasks {
            let (step, stored) = task.await.unwrap();
            assert_eq!(stored, step % 3 != 0);
        }
        let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
        assert_eq!(page.rows.len(), 40);
    })
    .await;
}

#[test]
fn many_may_open_one_folder_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..50).all(|_| {
                        let root = Store::open(StoreUrl::sqlite(folder.path().join("data")));
                        root.and_then(|root| root.provider(&ProviderId::parse("sunrise").unwrap())).is_ok()
                    })
                })
            })
            .collect();
        openers.into_iter().all(|opener| opener.join().unwrap())
    });
    assert!(opened);
}
