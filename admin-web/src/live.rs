//! What changes of a gateway while somebody looks at it, sent as it changes
//! (server-sent events, WHATWG HTML 9.2).
//!
//! The first event of a stream says all there is, the next ones what is new, so that
//! nothing is missed by coming again. Looking prolongs no session: a page that is left
//! open is nobody at work. A stream ends with its session, its connection, the right to
//! see the gateway, the panel, or after some minutes, whatever comes first; the browser
//! then comes again.

mod crowd;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use heliograph_domain::{GatewayId, Timestamp, UserId, Zone};
use heliograph_report::GatewayLive;
use heliograph_store::{StoreError, UserRecord};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::access::{Actor, Onlooker};
use crate::error::{Refusal, read_id};
use crate::figures::Status;
use crate::form::local_text;
use crate::panel::Panel;
use crate::report_view::{latest_at, live_key, reading};
use crate::session;

pub(crate) use crowd::{Crowd, Seat};

/// How often the store is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often it is asked whether somebody may still look.
const ASKED_AGAIN: Duration = Duration::from_secs(20);
/// A sign of life for whatever stands in between.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The longest stream: less than a connection is put up with.
const LONGEST: Duration = Duration::from_secs(540);
/// After this long a browser comes again, ms.
const COME_AGAIN: Duration = Duration::from_secs(3);

/// What is shown, by the places of a page where it stands.
type Shown = BTreeMap<String, Value>;

/// `GET /gateways/{gateway}/live`
pub(crate) async fn gateway(
    State(panel): State<Panel>,
    Onlooker(actor): Onlooker,
    Path(gateway): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let gateway: GatewayId = read_id(&gateway)?;
    let shown = look(&panel, &actor, &gateway).await?;
    let seat = panel.crowd().seat(actor.user.id).ok_or_else(|| Refusal::Unavailable("too many live pages".to_owned()))?;
    let now = Instant::now();
    let watch = Watch { panel, actor, headers, gateway, said: Shown::new(), asked: now, until: now + LONGEST, _seat: seat };
    let events = stream::unfold((watch, Some(shown)), |(mut watch, first)| async move {
        let event = match first {
            Some(shown) => watch.news(shown)?,
            None => watch.next().await?,
        };
        Some((Ok::<_, Infallible>(event), (watch, None)))
    });
    // A proxy that gathers what is small would hold it back.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response())
}

/// Somebody who looks at a gateway.
struct Watch {
    panel: Panel,
    actor: Actor,
    headers: HeaderMap,
    gateway: GatewayId,
    /// What was said last.
    said: Shown,
    /// When it was asked last whether they may look.
    asked: Instant,
    until: Instant,
    _seat: Seat,
}

impl Watch {
    /// The next event, once there is something new; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                () = self.panel.ending().cancelled() => return None,
                () = tokio::time::sleep(EVERY) => {}
            }
            if Instant::now() >= self.until || !self.may_look().await {
                return None;
            }
            match look(&self.panel, &self.actor, &self.gateway).await {
                Ok(shown) => {
                    if let Some(event) = self.news(shown) {
                        return Some(event);
                    }
                }
                // A store that is away for a moment ends nothing.
                Err(Refusal::Unavailable(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// What is new, if anything is.
    fn news(&mut self, shown: Shown) -> Option<Event> {
        let new: Shown = shown.iter().filter(|(key, value)| self.said.get(*key) != Some(value)).map(own).collect();
        self.said = shown;
        (!new.is_empty()).then(|| Event::default().retry(COME_AGAIN).data(json!(new).to_string()))
    }

    /// Whether whoever looks is still signed in, as the same person with the same role.
    async fn may_look(&mut self) -> bool {
        if self.asked.elapsed() < ASKED_AGAIN {
            return true;
        }
        self.asked = Instant::now();
        match session::look_up(&self.panel, &self.headers).await {
            Ok(Some(user)) => self.is_the_same(user).await,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    async fn is_the_same(&self, user: UserId) -> bool {
        let known = &self.actor.user;
        match self.panel.store().user_fetch(user).await {
            Ok(user) => {
                let sees = |user: &UserRecord| (user.id, user.role, user.customer, user.assignment.clone());
                sees(&user) == sees(known)
            }
            Err(StoreError::NotFound(_)) => false,
            Err(_) => true,
        }
    }
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// What somebody may see of a gateway now, as its page spells it.
async fn look(panel: &Panel, actor: &Actor, gateway: &GatewayId) -> Result<Shown, Refusal> {
    let now = panel.now();
    let visible = actor.scope(panel).await?.window(gateway, now).ok_or(Refusal::NotFound)?;
    let store = panel.store();
    let record = store.gateway_fetch(gateway).await?;
    let zone = match record.location {
        Some(location) => store.location_fetch(location).await?.zone,
        None => store.settings_fetch().await?.zone,
    };
    let live = GatewayLive::of(&record, &store.sensor_list(gateway).await?, visible, now);
    Ok(spell(&live, &zone, now))
}

fn spell(live: &GatewayLive, zone: &Zone, now: Timestamp) -> Shown {
    let status = Status::of(live.state, live.reachability, live.last_seen, now);
    let seen_at = live.last_seen.map(|seen| local_text(seen, zone)).unwrap_or_default();
    let mut shown = Shown::from([
        ("state".to_owned(), json!([status.word, status.class])),
        ("seen".to_owned(), json!(status.seen)),
        ("seen-at".to_owned(), json!(seen_at)),
    ]);
    for (sensor, values) in &live.sensors {
        shown.insert(live_key(sensor, None), json!(latest_at(values, zone)));
        for value in values {
            shown.insert(live_key(sensor, Some(value)), json!(reading(value.sample.value, value.unit.as_str())));
        }
    }
    shown
}
