//! What changes while somebody looks.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, StatusCode};
use futures_util::StreamExt as _;
use heliograph_domain::UserId;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::world::{Who, World, id, request, write_counter};

const PATIENCE: Duration = Duration::from_secs(30);

/// An open stream, and what was read of it.
struct Stream {
    body: BodyDataStream,
    read: String,
}

impl Stream {
    async fn open(world: &World, who: Who, gateway: &str) -> Result<Self, StatusCode> {
        let asked = request(Method::GET, &format!("/gateways/{gateway}/live"), who).body(Body::empty()).unwrap();
        let answer = world.router.clone().oneshot(asked).await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-cache");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        Ok(Self { body: answer.into_body().into_data_stream(), read: String::new() })
    }

    /// What the next event says; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let data =
                    event.lines().find_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap());
                self.read = rest.to_owned();
                match data {
                    Some(data) => return Some(data),
                    None => continue,
                }
            }
            let bytes = tokio::time::timeout(PATIENCE, self.body.next()).await.unwrap()?.unwrap();
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[tokio::test]
async fn the_first_event_says_all_and_the_next_ones_what_is_new() {
    let world = World::new().await;
    let mut stream = Stream::open(&world, Who::Owner, "gw-1").await.unwrap();
    let first = stream.next().await.unwrap();
    let page = world.get(Who::Owner, "/gateways/gw-1").await.body;
    let places: Vec<&str> = page.split("data-live=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(places.len() > 4, "{places:?}");
    for place in places {
        let said = first.get(place).unwrap_or_else(|| panic!("nothing is said of {place}"));
        let text = said.as_str().or_else(|| said.get(0)?.as_str()).unwrap();
        assert!(page.contains(&format!(">{text}<")), "{place}: {text} is not what the page says");
    }
    world.pass(1);
    write_counter(&world.store, "gw-1", "inverter-1", 0.0, world.now(), world.now()).await;
    let next = stream.next().await.unwrap();
    let energy = next["value/inverter-1/energy/Wh"].as_str().unwrap();
    assert_ne!(first["value/inverter-1/energy/Wh"], energy);
    assert!(world.get(Who::Owner, "/gateways/gw-1").await.body.contains(&format!(">{energy}<")), "{energy}");
    assert!(next.as_object().unwrap().len() < first.as_object().unwrap().len(), "{next}");
}

#[tokio::test]
async fn nobody_hears_of_what_is_not_theirs() {
    let world = World::new().await;
    for (who, gateway, status) in [
        (Who::Nobody, "gw-1", StatusCode::SEE_OTHER),
        (Who::OtherProvider, "gw-1", StatusCode::SEE_OTHER),
        (Who::OtherCustomer, "gw-1", StatusCode::NOT_FOUND),
        (Who::Customer, "gw-2", StatusCode::NOT_FOUND),
        (Who::Viewer, "none", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(Stream::open(&world, who, gateway).await.err(), Some(status), "{who:?} {gateway}");
    }
    assert!(Stream::open(&world, Who::Customer, "gw-1").await.unwrap().next().await.is_some());
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_prolongs_none() {
    let world = World::new().await;
    let viewer = UserId::new(id(5, 3));
    let before = world.store.session_list(viewer, world.now()).await.unwrap();
    world.pass(60);
    let mut stream = Stream::open(&world, Who::Viewer, "gw-1").await.unwrap();
    assert!(stream.next().await.is_some());
    let after = world.store.session_list(viewer, world.now()).await.unwrap();
    assert_eq!(before.iter().map(|row| row.expires).max(), after.iter().map(|row| row.expires).max());
    world.store.session_delete_by_user(viewer).await.unwrap();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_person_has_so_many_streams_and_gets_them_back() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Stream::open(&world, Who::Owner, "gw-1").await.unwrap());
    }
    assert_eq!(Stream::open(&world, Who::Owner, "gw-1").await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(Stream::open(&world, Who::Viewer, "gw-1").await.is_ok(), "others are not concerned");
    // Whoever closes a laptop: the connection ends, and with it the stream.
    streams.pop();
    assert!(Stream::open(&world, Who::Owner, "gw-1").await.is_ok());
}
