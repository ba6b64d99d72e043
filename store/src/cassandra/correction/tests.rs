//! Changes that take longer than the marks before them live.

use std::time::Duration;

use super::*;
use crate::cassandra::mark::Timing;
use crate::cassandra::rollup;
use crate::cassandra::trial::{openings, remove};

const TIMING: Timing = Timing {
    deadline: Duration::from_secs(2),
    reuse: Duration::from_millis(500),
    settled: Duration::from_secs(3),
    pause: Duration::ZERO,
};

#[tokio::test]
async fn a_change_that_outlives_its_marks_leaves_new_ones() {
    let [db, settler]: [Database; 2] = openings(TIMING).await;
    let (gateway, now) = (GatewayId::parse("gw-1").unwrap(), Timestamp::clamped(1_781_481_600_000));
    let marks = async || mark::of_gateway(&settler, &gateway).await.unwrap().marks.len();
    let mark = || mark::set_anew(&db, &gateway, [now].into_iter(), now).boxed();
    let change = async {
        assert_eq!(marks().await, 1);
        while marks().await > 0 {
            rollup::settle(&settler, now).await?;
        }
        Ok("changed")
    };
    assert_eq!(marked(&db, mark, change).await.unwrap(), "changed");
    assert_eq!(marks().await, 1);
    remove(&db).await;
}

#[tokio::test]
async fn a_change_that_is_refused_marks_nothing_once_more() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let marked_times = std::cell::Cell::new(0);
    let mark = || {
        marked_times.set(marked_times.get() + 1);
        std::future::ready(Ok(())).boxed()
    };
    let refused = marked(&db, mark, async { Err::<(), _>(StoreError::Conflict("no".to_owned())) }).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    assert_eq!(marked_times.get(), 1);
    // Of one that got no answer nobody knows.
    drop(marked(&db, mark, async { Err::<(), _>(StoreError::Unavailable("late".to_owned())) }).await);
    assert_eq!(marked_times.get(), 3);
    remove(&db).await;
}
