//! Every address of the panel, and the layers around them all.

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use heliograph_report::export::Format;
use heliograph_store::ProviderStore;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument as _;

use crate::panel::{Clock, Panel, PanelSettings};
use crate::{
    account, alert, api, api_token, assets, audit, commissioning, customer, error, fleet, forgot, gateway, live, location, login,
    logo, mail, mapping, people, quarantine, second_step, settings,
};

/// The largest form, in bytes.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// One thing that can be asked of the panel: a verb and a path with
/// `{placeholders}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// `GET` or `POST`.
    pub method: Method,
    /// The path.
    pub path: &'static str,
}

struct Route {
    path: &'static str,
    verbs: Vec<Method>,
    methods: MethodRouter<Panel>,
}

impl Route {
    fn show<H: Handler<T, Panel>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { path, verbs: vec![Method::GET], methods: get(handler) }
    }

    fn act<H: Handler<T, Panel>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { path, verbs: vec![Method::POST], methods: post(handler) }
    }

    /// Takes more than a form has.
    fn up_to(self, bytes: usize) -> Self {
        Self { methods: self.methods.route_layer(DefaultBodyLimit::max(bytes)), ..self }
    }

    fn and_act<H: Handler<T, Panel>, T: 'static>(mut self, handler: H) -> Self {
        self.verbs.push(Method::POST);
        Self { methods: self.methods.post(handler), ..self }
    }

    /// Takes larger forms than others do, in bytes.
    fn taking(self, bytes: usize) -> Self {
        Self { methods: self.methods.layer(DefaultBodyLimit::max(bytes)), ..self }
    }
}

/// The whole panel: what changes something is a `POST`, what shows something a
/// `GET`, and there is nothing else.
fn routes() -> Vec<Route> {
    vec![
        Route::show("/", fleet::show),
        Route::show("/login", login::show).and_act(login::submit),
        Route::act("/logout", login::leave),
        Route::show("/welcome/{token}", login::welcome).and_act(login::accept),
        Route::show("/forgot", forgot::show).and_act(forgot::submit),
        Route::show("/login/code", second_step::show).and_act(second_step::submit),
        Route::show("/account", account::show).and_act(account::change_password),
        Route::show("/account/second-step", second_step::new).and_act(second_step::create),
        Route::act("/account/second-step/remove", second_step::remove),
        Route::act("/account/sessions/end", account::end_other_sessions),
        Route::act("/account/sessions/{session}/end", account::end_session),
        Route::show("/account/tokens", api_token::show).and_act(api_token::create),
        Route::act("/account/tokens/{token}/end", api_token::end),
        Route::show("/people/tokens", api_token::list),
        Route::act("/people/tokens/{token}/end", api_token::end_of),
        Route::show("/api/v1/", api::page),
        Route::show("/api/v1/openapi.json", api::description),
        Route::show("/locations/new", location::new).and_act(location::create),
        Route::show("/locations/{location}", location::show),
        Route::show("/locations/{location}/edit", location::edit).and_act(location::save),
        Route::show("/locations/{location}/report.csv", |panel, actor, of, query| {
            location::file(Format::Csv, panel, actor, of, query)
        }),
        Route::show("/locations/{location}/report.xlsx", |panel, actor, of, query| {
            location::file(Format::Xlsx, panel, actor, of, query)
        }),
        Route::show("/locations/{location}/report.json", |panel, actor, of, query| {
            location::file(Format::Json, panel, actor, of, query)
        }),
        Route::show("/gateways/{gateway}", gateway::show),
        Route::show("/gateways/{gateway}/report.csv", |panel, actor, of, query| {
            gateway::file(Format::Csv, panel, actor, of, query)
        }),
        Route::show("/gateways/{gateway}/report.xlsx", |panel, actor, of, query| {
            gateway::file(Format::Xlsx, panel, actor, of, query)
        }),
        Route::show("/gateways/{gateway}/report.json", |panel, actor, of, query| {
            gateway::file(Format::Json, panel, actor, of, query)
        }),
        Route::show("/gateways/{gateway}/live", live::gateway),
        Route::show("/gateways/{gateway}/manage", gateway::manage),
        Route::act("/gateways/{gateway}/rename", gateway::rename),
        Route::act("/gateways/{gateway}/move", gateway::relocate),
        Route::act("/gateways/{gateway}/retire", gateway::retire),
        Route::act("/gateways/{gateway}/sensor", gateway::save_sensor),
        Route::act("/gateways/{gateway}/clock", gateway::correct_clock),
        Route::act("/gateways/{gateway}/keys", gateway::add_key),
        Route::act("/gateways/{gateway}/keys/{credential}/end", gateway::end_key),
        Route::act("/gateways/{gateway}/keys/{credential}/revoke", gateway::revoke_key),
        Route::show("/waiting", commissioning::list),
        Route::show("/waiting/commission", commissioning::form).and_act(commissioning::submit),
        Route::show("/waiting/register", commissioning::register_form)
            .and_act(commissioning::register)
            .taking(commissioning::MAX_FORM_BYTES),
        Route::show("/customers", customer::list),
        Route::show("/customers/new", customer::new).and_act(customer::create),
        Route::show("/customers/{customer}", customer::show),
        Route::act("/customers/{customer}/edit", customer::save),
        Route::act("/customers/{customer}/commissions", customer::commission),
        Route::act("/customers/{customer}/commissions/{commission}/end", customer::end_commission),
        Route::act("/customers/{customer}/people", customer::invite),
        Route::show("/people", people::list),
        Route::show("/people/new", people::new).and_act(people::create),
        Route::show("/people/{user}/edit", people::edit).and_act(people::save),
        Route::act("/people/{user}/link", people::link),
        Route::act("/people/{user}/invite", people::invite),
        Route::act("/people/{user}/sign-out", people::sign_out),
        Route::act("/people/{user}/second-step/remove", second_step::remove_of),
        Route::act("/people/{user}/remove", people::remove),
        Route::show("/settings", settings::show).and_act(settings::save),
        Route::show("/alerts", alert::list),
        Route::show("/alerts/{alert}", alert::show),
        Route::act("/alerts/{alert}/acknowledge", alert::acknowledge),
        Route::act("/alerts/{alert}/comment", alert::comment),
        Route::act("/alerts/{alert}/resolve", alert::resolve),
        Route::show("/alerts/maintenance", alert::maintenance::show).and_act(alert::maintenance::add),
        Route::act("/alerts/maintenance/{window}/end", alert::maintenance::end),
        Route::show("/alerts/settings", alert::settings::show).and_act(alert::settings::save),
        Route::show("/quarantine", quarantine::list),
        Route::show("/quarantine/{entry}", quarantine::show).and_act(quarantine::retry),
        Route::show("/mappings", mapping::list),
        Route::show("/mappings/edit", mapping::edit).and_act(mapping::submit),
        Route::act("/mappings/remove", mapping::remove),
        Route::show("/mails", mail::list),
        Route::show("/mails/{mail}", mail::show),
        Route::show("/mails/{mail}/preview", mail::preview),
        Route::show("/audit", audit::show).and_act(audit::verify),
        Route::show("/locations/{location}/manage", location::manage),
        Route::act("/locations/{location}/points", location::add_point),
        Route::show("/locations/{location}/points/{point}", location::show_point).and_act(location::save_point),
        Route::act("/locations/{location}/points/{point}/bind", location::bind_point),
        Route::act("/locations/{location}/points/{point}/end", location::end_point),
        Route::act("/locations/{location}/points/{point}/unbind", location::unbind_point),
        Route::act("/locations/{location}/points/{point}/remove", location::remove_point),
        Route::act("/locations/{location}/arrays", location::add_array),
        Route::show("/locations/{location}/arrays/{array}", location::show_array).and_act(location::save_array),
        Route::act("/locations/{location}/arrays/{array}/remove", location::remove_array),
        Route::act("/locations/{location}/targets", location::save_targets),
        Route::act("/locations/{location}/targets/remove", location::remove_targets),
        Route::show("/gateways/{gateway}/corrections", gateway::corrections).and_act(gateway::correct),
        Route::act("/gateways/{gateway}/corrections/{correction}/revert", gateway::revert),
        Route::show("/gateways/{gateway}/replace", gateway::replace).and_act(gateway::replace_by),
        Route::act("/settings/logo", logo::save).up_to(logo::MOST_BODY_BYTES),
        Route::act("/settings/logo/remove", logo::remove),
        Route::show("/assets/logo/{name}", logo::show),
        Route::show("/assets/panel.css", assets::style),
        Route::show("/assets/theme.css", assets::theme),
        Route::show("/assets/icon.svg", assets::icon),
        Route::show("/assets/live.js", assets::script),
    ]
}

/// Every verb and path that the panel answers, for tests that ask them all. What the API
/// answers besides is in its description.
#[must_use]
pub fn visits() -> Vec<Visit> {
    let pairs = |route: Route| route.verbs.into_iter().map(move |method| Visit { method, path: route.path });
    routes().into_iter().flat_map(pairs).collect()
}

/// The panel of the provider whose store this is.
pub fn router(store: ProviderStore, settings: PanelSettings, clock: Clock) -> Router {
    router_until(store, settings, clock, CancellationToken::new())
}

/// The panel; what is live ends with `ending`.
pub(crate) fn router_until(store: ProviderStore, settings: PanelSettings, clock: Clock, ending: CancellationToken) -> Router {
    let csrf = csrf_layer(&settings);
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, settings.request_timeout);
    let panel = Panel::new(store, settings, clock, ending);
    let pages = routes().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.methods));
    let around = ServiceBuilder::new()
        .map_request(without_foreign_id)
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(middleware::from_fn_with_state(panel.clone(), in_span))
        .layer(CompressionLayer::new().gzip(true))
        .layer(middleware::from_fn_with_state(panel.clone(), error::protect))
        .layer(middleware::from_fn_with_state(panel.clone(), error::dress))
        .layer(timeout)
        .layer(csrf)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES));
    let all = pages.merge(api::router());
    all.fallback(error::unknown_path).method_not_allowed_fallback(error::unknown_verb).layer(around).with_state(panel)
}

/// Refuses what another site sends with a person's cookies: by `Sec-Fetch-Site`,
/// and by `Origin` against `Host` where a browser sends no such header.
fn csrf_layer(settings: &PanelSettings) -> CsrfLayer {
    let Some(origin) = settings.public_url.as_deref().and_then(origin_of) else { return CsrfLayer::new() };
    match CsrfLayer::new().add_trusted_origin(origin) {
        Ok(layer) => layer,
        Err(error) => {
            tracing::warn!(%error, "public address is no origin: forms are checked against the host they are sent to");
            CsrfLayer::new()
        }
    }
}

fn origin_of(url: &str) -> Option<&str> {
    let authority = url.find("://")? + 3;
    let end = url.get(authority..)?.find('/').map_or(url.len(), |slash| authority + slash);
    url.get(..end)
}

/// Takes away an id that the client made up, so that each request has one of
/// ours: what stands in the log is then unique and free of foreign text.
fn without_foreign_id(mut request: Request) -> Request {
    request.headers_mut().remove(HeaderName::from_static("x-request-id"));
    request
}

/// Gives all log lines of a request its provider and id, and notes how it went.
/// The path is the pattern, not the text: a one-time link must not be logged.
async fn in_span(State(panel): State<Panel>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or("-").to_owned();
    let span = tracing::info_span!("request", provider = %panel.store().provider(), id, method = %request.method(), path);
    let response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "request answered"));
    response
}
