//! What there is to installers: the routes, and the one question that each of their
//! requests is asked before any handler sees it.
//!
//! A route that is not in the list does not exist for them, whatever extractor its
//! handler takes, and neither does a gateway or location that is not theirs. So a
//! handler that is new is closed to them, and one that is opened cannot forget to ask
//! where it is used. What a form names besides is asked by its handler, through
//! [`Actor::scope`].

use axum::RequestPartsExt as _;
use axum::extract::{MatchedPath, RawPathParams};
use axum::http::request::Parts;
use heliograph_domain::{GatewayId, LocationId};

use super::Actor;
use crate::error::Refusal;
use crate::panel::Panel;

/// The routes that there are to installers.
const ROUTES: [&str; 38] = [
    "/",
    "/logout",
    "/account",
    "/account/second-step",
    "/account/second-step/remove",
    "/account/sessions/end",
    "/account/sessions/{session}/end",
    "/locations/{location}",
    "/locations/{location}/report.csv",
    "/locations/{location}/report.xlsx",
    "/locations/{location}/report.json",
    "/locations/{location}/manage",
    "/locations/{location}/points",
    "/locations/{location}/points/{point}",
    "/locations/{location}/points/{point}/bind",
    "/locations/{location}/points/{point}/end",
    "/locations/{location}/points/{point}/unbind",
    "/locations/{location}/points/{point}/remove",
    "/locations/{location}/arrays",
    "/locations/{location}/arrays/{array}",
    "/locations/{location}/arrays/{array}/remove",
    "/gateways/{gateway}",
    "/gateways/{gateway}/report.csv",
    "/gateways/{gateway}/report.xlsx",
    "/gateways/{gateway}/report.json",
    "/gateways/{gateway}/live",
    "/gateways/{gateway}/manage",
    "/gateways/{gateway}/rename",
    "/gateways/{gateway}/sensor",
    "/gateways/{gateway}/clock",
    "/gateways/{gateway}/keys",
    "/gateways/{gateway}/keys/{credential}/end",
    "/gateways/{gateway}/keys/{credential}/revoke",
    "/gateways/{gateway}/corrections",
    "/gateways/{gateway}/corrections/{correction}/revert",
    "/gateways/{gateway}/replace",
    "/waiting",
    "/waiting/commission",
];

/// Lets an installer's request through where it is about what is theirs.
pub(super) async fn admit(parts: &mut Parts, panel: &Panel, actor: &Actor) -> Result<(), Refusal> {
    let route: MatchedPath = parts.extract().await.map_err(|_| Refusal::NotFound)?;
    if !ROUTES.contains(&route.as_str()) {
        return Err(Refusal::NotFound);
    }
    let named: RawPathParams = parts.extract().await.map_err(|_| Refusal::NotFound)?;
    let (scope, now) = (actor.scope(panel).await?, panel.now());
    let is_theirs = |(name, value): (&str, &str)| match name {
        "gateway" => GatewayId::parse(value).is_ok_and(|gateway| scope.window(&gateway, now).is_some()),
        "location" => LocationId::parse(value).is_ok_and(|location| scope.has_location(location)),
        // What else a path names belongs to the gateway or location before it.
        _ => true,
    };
    if named.iter().all(is_theirs) { Ok(()) } else { Err(Refusal::NotFound) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::visits;

    #[test]
    fn what_is_listed_is_served() {
        let served: Vec<&str> = visits().iter().map(|visit| visit.path).collect();
        for route in ROUTES {
            assert!(served.contains(&route), "{route}");
        }
    }

    #[test]
    fn a_path_names_nothing_that_nobody_asks_about() {
        let asked = ["gateway", "location", "session", "point", "array", "credential", "correction"];
        for route in ROUTES {
            let names = route.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            for (place, name) in names.enumerate() {
                assert!(asked.contains(&name), "{route}: {name}");
                assert!(place > 0 || ["gateway", "location", "session"].contains(&name), "{route}");
            }
        }
    }
}
