//! Who may use which route.

use axum::http::Method;

use super::E::{self, Done, Form, In, No, None as Nothing, Ok as Page};
use crate::world::{
    ALERT, ANAS, ARRAY, BENS, BENS_COMMISSION, COMMISSION, CORRECTION, KEY, LOCATION, MAIL, NEW_KEY, PASSWORD, POINT, REFUSED,
    UNKNOWN, VIEWER, WINDOW,
};

/// Nobody, customer, other customer, viewer, operator, owner, another provider's owner.
pub(super) type Row = [E; 7];

const EVERYBODY: Row = [Page; 7];
const READERS: Row = [In, Nothing, Nothing, Page, Page, Page, In];
const STAFF: Row = [In, Nothing, Nothing, No, Page, Page, In];
const STAFF_DONE: Row = [In, Nothing, Nothing, No, Done, Done, In];
const STAFF_NOTHING: Row = [In, Nothing, Nothing, No, Nothing, Nothing, In];
const STAFF_FORM: Row = [In, Nothing, Nothing, No, Form, Form, In];
const OWNER: Row = [In, Nothing, Nothing, No, No, Page, In];
const OWNER_DONE: Row = [In, Nothing, Nothing, No, No, Done, In];
const OWNER_NOTHING: Row = [In, Nothing, Nothing, No, No, Nothing, In];
const NOT_FOR_ANYBODY: Row = [In, Nothing, Nothing, Nothing, Nothing, Nothing, In];
const HERS: Row = [In, Page, Nothing, Page, Page, Page, In];
const HIS: Row = [In, Nothing, Page, Page, Page, Page, In];

/// What is open to installers at the locations where they work.
const IN_THE_FIELD: [&str; 38] = [
    "/",
    "/account",
    "/account/second-step",
    "/account/second-step/remove",
    "/account/sessions/end",
    "/account/sessions/{session}/end",
    "/gateways/{gateway}",
    "/gateways/{gateway}/clock",
    "/gateways/{gateway}/corrections",
    "/gateways/{gateway}/corrections/{correction}/revert",
    "/gateways/{gateway}/keys",
    "/gateways/{gateway}/keys/{credential}/end",
    "/gateways/{gateway}/keys/{credential}/revoke",
    "/gateways/{gateway}/live",
    "/gateways/{gateway}/manage",
    "/gateways/{gateway}/rename",
    "/gateways/{gateway}/replace",
    "/gateways/{gateway}/report.csv",
    "/gateways/{gateway}/report.json",
    "/gateways/{gateway}/report.xlsx",
    "/gateways/{gateway}/sensor",
    "/locations/{location}",
    "/locations/{location}/arrays",
    "/locations/{location}/arrays/{array}",
    "/locations/{location}/arrays/{array}/remove",
    "/locations/{location}/manage",
    "/locations/{location}/points",
    "/locations/{location}/points/{point}",
    "/locations/{location}/points/{point}/bind",
    "/locations/{location}/points/{point}/end",
    "/locations/{location}/points/{point}/remove",
    "/locations/{location}/points/{point}/unbind",
    "/locations/{location}/report.csv",
    "/locations/{location}/report.json",
    "/locations/{location}/report.xlsx",
    "/logout",
    "/waiting",
    "/waiting/commission",
];

/// What an installer gets who works where `gw-1` and `gw-2` stand: what an owner gets, of
/// what is open to installers.
pub(super) fn in_the_field(pattern: &str, path: &str, row: &Row) -> E {
    let [nobody, .., owner, _] = *row;
    let is_waiting = path.starts_with("/gateways/gw-3");
    // The one that there is corrects what was measured before the gateway stood there.
    let is_earlier = pattern == "/gateways/{gateway}/corrections/{correction}/revert";
    match IN_THE_FIELD.contains(&pattern) && !is_waiting && !is_earlier {
        true => owner,
        false if nobody == owner => owner,
        false => Nothing,
    }
}

/// A mapping that compiles.
pub(crate) const MAPPING: &str = "name = 'greenhouse'\nroot = 'station'\n[[reading]]\neach = '/station/t'\nsensor = 'roof'\nmetric = 'temperature'\nvalue = '{.}'\n";

/// The files of a gateway's and of a location's report.
const REPORT_FILES: [(&str, &str); 3] = [
    ("/gateways/{gateway}/report.csv", "/locations/{location}/report.csv"),
    ("/gateways/{gateway}/report.xlsx", "/locations/{location}/report.xlsx"),
    ("/gateways/{gateway}/report.json", "/locations/{location}/report.json"),
];

pub(super) type Fields = &'static [(&'static str, &'static str)];

pub(super) fn rows() -> Vec<(Method, &'static str, String, Fields, Row)> {
    let mut rows = Vec::new();
    let mut show = |pattern: &'static str, path: String, row: Row| rows.push((Method::GET, pattern, path, &[][..], row));
    show("/", "/".into(), [In, Page, Page, Page, Page, Page, In]);
    show("/login", "/login".into(), EVERYBODY);
    show("/welcome/{token}", "/welcome/a-link".into(), EVERYBODY);
    show("/welcome/{token}", "/welcome/another".into(), [Nothing; 7]);
    show("/forgot", "/forgot".into(), EVERYBODY);
    show("/login/code", "/login/code".into(), [In; 7]);
    show("/account", "/account".into(), [In, Page, Page, Page, Page, Page, In]);
    show("/account/second-step", "/account/second-step".into(), [In, Page, Page, Page, Page, Page, In]);
    show("/account/tokens", "/account/tokens".into(), [In, Page, Page, Page, Page, Page, In]);
    show("/people/tokens", "/people/tokens".into(), OWNER);
    show("/api/v1/", "/api/v1/".into(), [In, Page, Page, Page, Page, Page, In]);
    show("/api/v1/openapi.json", "/api/v1/openapi.json".into(), EVERYBODY);
    show("/locations/new", "/locations/new".into(), STAFF);
    show("/locations/{location}", format!("/locations/{LOCATION}"), READERS);
    show("/locations/{location}", format!("/locations/{UNKNOWN}"), NOT_FOR_ANYBODY);
    show("/locations/{location}", "/locations/none".into(), NOT_FOR_ANYBODY);
    show("/locations/{location}/edit", format!("/locations/{LOCATION}/edit"), STAFF);
    show("/locations/{location}/edit", format!("/locations/{UNKNOWN}/edit"), STAFF_NOTHING);
    show("/gateways/{gateway}", "/gateways/gw-1".into(), HERS);
    show("/gateways/{gateway}", "/gateways/gw-2".into(), HIS);
    show("/gateways/{gateway}", "/gateways/gw-3".into(), READERS);
    show("/gateways/{gateway}", "/gateways/gw-9".into(), NOT_FOR_ANYBODY);
    show("/gateways/{gateway}", "/gateways/gw-1'%20OR%20''='".into(), NOT_FOR_ANYBODY);
    show("/gateways/{gateway}", "/gateways/..%2f..%2fetc%2fpasswd".into(), NOT_FOR_ANYBODY);
    show("/gateways/{gateway}", "/gateways/gw-1%0d%0aSet-Cookie:%20x=1".into(), NOT_FOR_ANYBODY);
    for (gateway, location) in REPORT_FILES {
        show(gateway, gateway.replace("{gateway}", "gw-1"), HERS);
        show(gateway, gateway.replace("{gateway}", "gw-2"), HIS);
        show(gateway, gateway.replace("{gateway}", "gw-3"), READERS);
        show(gateway, gateway.replace("{gateway}", "gw-9"), NOT_FOR_ANYBODY);
        show(location, location.replace("{location}", LOCATION), READERS);
        show(location, location.replace("{location}", UNKNOWN), NOT_FOR_ANYBODY);
    }
    show("/gateways/{gateway}/live", "/gateways/gw-9/live".into(), NOT_FOR_ANYBODY);
    show("/gateways/{gateway}/manage", "/gateways/gw-1/manage".into(), READERS);
    show("/gateways/{gateway}/manage", "/gateways/gw-9/manage".into(), NOT_FOR_ANYBODY);
    show("/waiting", "/waiting".into(), READERS);
    show("/waiting/commission", "/waiting/commission?gateway=gw-3".into(), STAFF);
    show("/waiting/register", "/waiting/register".into(), STAFF);
    show("/customers", "/customers".into(), READERS);
    show("/customers/new", "/customers/new".into(), STAFF);
    show("/customers/{customer}", format!("/customers/{ANAS}"), READERS);
    show("/customers/{customer}", format!("/customers/{UNKNOWN}"), NOT_FOR_ANYBODY);
    show("/people", "/people".into(), OWNER);
    show("/people/new", "/people/new".into(), OWNER);
    show("/people/{user}/edit", format!("/people/{VIEWER}/edit"), OWNER);
    show("/people/{user}/edit", format!("/people/{UNKNOWN}/edit"), OWNER_NOTHING);
    show("/settings", "/settings".into(), READERS);
    show("/alerts", "/alerts".into(), READERS);
    show("/alerts", "/alerts?page=9".into(), NOT_FOR_ANYBODY);
    show("/alerts/{alert}", format!("/alerts/{ALERT}"), READERS);
    show("/alerts/{alert}", format!("/alerts/{UNKNOWN}"), NOT_FOR_ANYBODY);
    show("/alerts/{alert}", "/alerts/none".into(), NOT_FOR_ANYBODY);
    show("/alerts/maintenance", "/alerts/maintenance".into(), READERS);
    show("/alerts/settings", "/alerts/settings".into(), READERS);
    show("/quarantine", "/quarantine".into(), READERS);
    show("/quarantine/{entry}", format!("/quarantine/{REFUSED}"), READERS);
    show("/quarantine/{entry}", format!("/quarantine/{UNKNOWN}"), NOT_FOR_ANYBODY);
    show("/mappings", "/mappings".into(), READERS);
    show("/mappings/edit", "/mappings/edit".into(), STAFF);
    show("/mappings/edit", "/mappings/edit?profile=kostal".into(), STAFF);
    show("/mappings/edit", "/mappings/edit?name=none".into(), STAFF_NOTHING);
    show("/mails", "/mails".into(), READERS);
    show("/mails/{mail}", format!("/mails/{MAIL}"), READERS);
    show("/mails/{mail}", format!("/mails/{UNKNOWN}"), NOT_FOR_ANYBODY);
    show("/mails/{mail}/preview", format!("/mails/{MAIL}/preview"), READERS);
    show("/mails/{mail}/preview", format!("/mails/{UNKNOWN}/preview"), NOT_FOR_ANYBODY);
    show("/audit", "/audit".into(), OWNER);
    show("/locations/{location}/manage", format!("/locations/{LOCATION}/manage"), READERS);
    show("/locations/{location}/manage", format!("/locations/{UNKNOWN}/manage"), NOT_FOR_ANYBODY);
    let (point, array) = ("/locations/{location}/points/{point}", "/locations/{location}/arrays/{array}");
    for (pattern, part, known) in [(point, "points", POINT), (array, "arrays", ARRAY)] {
        show(pattern, format!("/locations/{LOCATION}/{part}/{known}"), READERS);
        show(pattern, format!("/locations/{LOCATION}/{part}/{UNKNOWN}"), NOT_FOR_ANYBODY);
        show(pattern, format!("/locations/{UNKNOWN}/{part}/{known}"), NOT_FOR_ANYBODY);
    }
    show("/gateways/{gateway}/corrections", "/gateways/gw-1/corrections".into(), READERS);
    show("/gateways/{gateway}/corrections", "/gateways/gw-1/corrections?kind=scale".into(), READERS);
    show("/gateways/{gateway}/corrections", "/gateways/gw-9/corrections".into(), NOT_FOR_ANYBODY);
    show("/gateways/{gateway}/replace", "/gateways/gw-1/replace".into(), STAFF);
    show("/gateways/{gateway}/replace", "/gateways/gw-9/replace".into(), STAFF_NOTHING);
    show("/assets/logo/{name}", "/assets/logo/none.png".into(), [Nothing; 7]);
    show("/assets/panel.css", "/assets/panel.css".into(), EVERYBODY);
    show("/assets/theme.css", "/assets/theme.css".into(), EVERYBODY);
    show("/assets/live.js", "/assets/live.js".into(), EVERYBODY);
    show("/assets/icon.svg", "/assets/icon.svg".into(), EVERYBODY);

    let mut act =
        |pattern: &'static str, path: String, form: Fields, row: Row| rows.push((Method::POST, pattern, path, form, row));
    let password = &[("password", "another calm evening"), ("again", "another calm evening")];
    act("/login", "/login".into(), &[("email", "x@example.com"), ("password", "y")], [Form; 7]);
    act("/forgot", "/forgot".into(), &[("email", "mara@example.com")], EVERYBODY);
    act("/logout", "/logout".into(), &[], [In; 7]);
    act("/welcome/{token}", "/welcome/a-link".into(), password, [Done; 7]);
    act("/welcome/{token}", "/welcome/another".into(), password, [Nothing; 7]);
    act("/account", "/account".into(), password, [In, Form, Form, Form, Form, Form, In]);
    act("/login/code", "/login/code".into(), &[("code", "123456")], [In; 7]);
    let code = &[("secret", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), ("code", "123456"), ("password", "wrong")];
    act("/account/second-step", "/account/second-step".into(), code, [In, Form, Form, Form, Form, Form, In]);
    let wrong = &[("second_step_password", "wrong")];
    act("/account/second-step/remove", "/account/second-step/remove".into(), wrong, [In, Form, Form, Form, Form, Form, In]);
    act("/account/sessions/end", "/account/sessions/end".into(), &[], [In, Done, Done, Done, Done, Done, In]);
    let nobodys = [In, Nothing, Nothing, Nothing, Nothing, Nothing, In];
    act("/account/sessions/{session}/end", format!("/account/sessions/{}/end", "0".repeat(64)), &[], nobodys);
    let token = &[("name", "Job"), ("days", "90"), ("password", PASSWORD)];
    act("/account/tokens", "/account/tokens".into(), token, [In, Page, Page, Page, Page, Page, In]);
    act("/account/tokens/{token}/end", format!("/account/tokens/{UNKNOWN}/end"), &[], nobodys);
    act("/people/tokens/{token}/end", format!("/people/tokens/{UNKNOWN}/end"), &[], OWNER_NOTHING);
    let location = &[("name", "New"), ("zone", "UTC")];
    act("/locations/new", "/locations/new".into(), location, STAFF_DONE);
    act("/locations/{location}/edit", format!("/locations/{LOCATION}/edit"), location, STAFF_DONE);
    act("/locations/{location}/edit", format!("/locations/{UNKNOWN}/edit"), location, STAFF_NOTHING);
    act("/gateways/{gateway}/rename", "/gateways/gw-1/rename".into(), &[("label", "Roof")], STAFF_DONE);
    act("/gateways/{gateway}/rename", "/gateways/gw-9/rename".into(), &[("label", "Roof")], STAFF_NOTHING);
    act("/quarantine/{entry}", format!("/quarantine/{REFUSED}"), &[("action", "preview")], STAFF);
    act("/quarantine/{entry}", format!("/quarantine/{REFUSED}"), &[("action", "retry")], STAFF_DONE);
    act("/quarantine/{entry}", format!("/quarantine/{UNKNOWN}"), &[("action", "retry")], STAFF_NOTHING);
    for (deed, path) in [
        ("acknowledge", "/alerts/{alert}/acknowledge"),
        ("comment", "/alerts/{alert}/comment"),
        ("resolve", "/alerts/{alert}/resolve"),
    ] {
        act(path, format!("/alerts/{ALERT}/{deed}"), &[("text", "on my way")], STAFF_DONE);
        act(path, format!("/alerts/{UNKNOWN}/{deed}"), &[("text", "on my way")], STAFF_NOTHING);
    }
    let work = &[("about", "gateway:gw-1"), ("from", "2026-06-18T15:00"), ("until", "2026-06-19T15:00"), ("reason", "roof")];
    act("/alerts/maintenance", "/alerts/maintenance".into(), work, STAFF_DONE);
    let end = "/alerts/maintenance/{window}/end";
    act(end, format!("/alerts/maintenance/{WINDOW}/end"), &[], STAFF_DONE);
    act(end, format!("/alerts/maintenance/{UNKNOWN}/end"), &[], STAFF_NOTHING);
    act("/alerts/settings", "/alerts/settings".into(), &[("minutes", "90"), ("silent", "on")], STAFF_DONE);
    act("/gateways/{gateway}/clock", "/gateways/gw-1/clock".into(), &[("shift", "-1h")], STAFF_DONE);
    act("/gateways/{gateway}/clock", "/gateways/gw-9/clock".into(), &[("shift", "-1h")], STAFF_NOTHING);
    act("/gateways/{gateway}/move", "/gateways/gw-1/move".into(), &[("location", LOCATION)], STAFF_DONE);
    act("/gateways/{gateway}/move", "/gateways/gw-9/move".into(), &[("location", LOCATION)], STAFF_NOTHING);
    act("/gateways/{gateway}/retire", "/gateways/gw-1/retire".into(), &[], STAFF_DONE);
    act("/gateways/{gateway}/retire", "/gateways/gw-9/retire".into(), &[], STAFF_NOTHING);
    let sensor = &[("sensor", "inverter-1"), ("role", "inverter")];
    act("/gateways/{gateway}/sensor", "/gateways/gw-1/sensor".into(), sensor, STAFF_DONE);
    act("/gateways/{gateway}/sensor", "/gateways/gw-9/sensor".into(), sensor, STAFF_NOTHING);
    act("/gateways/{gateway}/sensor", "/gateways/gw-1/sensor".into(), &[("sensor", "x"), ("role", "other")], STAFF_NOTHING);
    act("/gateways/{gateway}/keys", "/gateways/gw-1/keys".into(), &[("credential", NEW_KEY)], STAFF);
    act("/gateways/{gateway}/keys", "/gateways/gw-9/keys".into(), &[("credential", NEW_KEY)], STAFF_NOTHING);
    let (end, until) = ("/gateways/{gateway}/keys/{credential}/end", &[("until", "2027-07-01T00:00")]);
    act(end, format!("/gateways/gw-1/keys/{KEY}/end"), until, STAFF_DONE);
    act(end, format!("/gateways/gw-2/keys/{KEY}/end"), until, STAFF_NOTHING);
    act(end, format!("/gateways/gw-1/keys/{UNKNOWN}/end"), until, STAFF_NOTHING);
    let revoke = "/gateways/{gateway}/keys/{credential}/revoke";
    act(revoke, format!("/gateways/gw-1/keys/{KEY}/revoke"), &[], STAFF_DONE);
    act(revoke, format!("/gateways/gw-2/keys/{KEY}/revoke"), &[], STAFF_NOTHING);
    act(revoke, format!("/gateways/gw-1/keys/{UNKNOWN}/revoke"), &[], STAFF_NOTHING);
    let commission = &[("gateway", "gw-3"), ("location", LOCATION), ("credential", NEW_KEY)];
    act("/waiting/commission", "/waiting/commission".into(), commission, STAFF);
    // What is no sheet is said so; registering.rs sends sheets.
    act("/waiting/register", "/waiting/register".into(), &[("text", "x")], STAFF_FORM);
    act("/customers/new", "/customers/new".into(), &[("name", "New")], STAFF_DONE);
    act("/customers/{customer}/edit", format!("/customers/{ANAS}/edit"), &[("name", "New")], STAFF_DONE);
    act("/customers/{customer}/edit", format!("/customers/{UNKNOWN}/edit"), &[("name", "New")], STAFF_NOTHING);
    let window = &[("gateway", "gw-1"), ("from", "2026-06-01T00:00"), ("until", "2026-06-02T00:00")];
    act("/customers/{customer}/commissions", format!("/customers/{BENS}/commissions"), window, STAFF_DONE);
    act("/customers/{customer}/commissions", format!("/customers/{UNKNOWN}/commissions"), window, STAFF_NOTHING);
    let end = "/customers/{customer}/commissions/{commission}/end";
    act(end, format!("/customers/{ANAS}/commissions/{COMMISSION}/end"), &[], STAFF_DONE);
    act(end, format!("/customers/{ANAS}/commissions/{BENS_COMMISSION}/end"), &[], STAFF_NOTHING);
    act(end, format!("/customers/{ANAS}/commissions/{UNKNOWN}/end"), &[], STAFF_NOTHING);
    let person = &[("person", "Nia"), ("address", "nia@example.com")];
    act("/customers/{customer}/people", format!("/customers/{ANAS}/people"), person, OWNER);
    act("/customers/{customer}/people", format!("/customers/{UNKNOWN}/people"), person, OWNER_NOTHING);
    let person = &[("name", "Nia"), ("email", "nia@example.com"), ("role", "viewer")];
    act("/people/new", "/people/new".into(), person, OWNER);
    // What was shown is not said; forms.rs saves.
    let change = &[("name", "Nia"), ("role", "operator")];
    act("/people/{user}/edit", format!("/people/{VIEWER}/edit"), change, [In, Nothing, Nothing, No, No, Form, In]);
    act("/people/{user}/edit", format!("/people/{UNKNOWN}/edit"), change, OWNER_NOTHING);
    act("/people/{user}/link", format!("/people/{VIEWER}/link"), &[], OWNER);
    act("/people/{user}/link", format!("/people/{UNKNOWN}/link"), &[], OWNER_NOTHING);
    act("/people/{user}/invite", format!("/people/{VIEWER}/invite"), &[], OWNER_DONE);
    act("/people/{user}/invite", format!("/people/{UNKNOWN}/invite"), &[], OWNER_NOTHING);
    act("/people/{user}/sign-out", format!("/people/{VIEWER}/sign-out"), &[], OWNER_DONE);
    act("/people/{user}/sign-out", format!("/people/{UNKNOWN}/sign-out"), &[], OWNER_NOTHING);
    let second_step = "/people/{user}/second-step/remove";
    act(second_step, format!("/people/{VIEWER}/second-step/remove"), &[], OWNER_NOTHING);
    act(second_step, format!("/people/{UNKNOWN}/second-step/remove"), &[], OWNER_NOTHING);
    act("/people/{user}/remove", format!("/people/{VIEWER}/remove"), &[], OWNER_DONE);
    act("/people/{user}/remove", format!("/people/{UNKNOWN}/remove"), &[], OWNER_NOTHING);
    let settings = &[
        ("name", "New"),
        ("colour", "#112233"),
        ("zone", "UTC"),
        ("currency", "GBP"),
        ("tariff", "0.1"),
        ("co2", "0.2"),
        ("unknown", "adopted"),
        ("ahead", "12"),
        ("retention", "400"),
    ];
    act("/audit", "/audit".into(), &[], OWNER);
    let point = "/locations/{location}/points/{point}";
    let (here, nowhere) = (format!("/locations/{LOCATION}/points/{POINT}"), format!("/locations/{LOCATION}/points/{UNKNOWN}"));
    let named = &[("point_name", "Barn"), ("point_role", "grid")];
    act("/locations/{location}/points", format!("/locations/{LOCATION}/points"), named, STAFF_DONE);
    act("/locations/{location}/points", format!("/locations/{UNKNOWN}/points"), named, STAFF_NOTHING);
    act(point, here.clone(), named, STAFF_DONE);
    act(point, nowhere.clone(), named, STAFF_NOTHING);
    let bound = &[("source", "gw-1/inverter-1"), ("since", "2026-06-10T00:00")];
    act("/locations/{location}/points/{point}/bind", format!("{here}/bind"), bound, STAFF_DONE);
    act("/locations/{location}/points/{point}/bind", format!("{nowhere}/bind"), bound, STAFF_NOTHING);
    act("/locations/{location}/points/{point}/end", format!("{here}/end"), &[("end_at", "2026-06-10T00:00")], STAFF_FORM);
    act("/locations/{location}/points/{point}/end", format!("{nowhere}/end"), &[("end_at", "2026-06-10T00:00")], STAFF_NOTHING);
    act("/locations/{location}/points/{point}/unbind", format!("{here}/unbind"), &[("begins", "0")], STAFF_NOTHING);
    act("/locations/{location}/points/{point}/remove", format!("{here}/remove"), &[], STAFF_DONE);
    act("/locations/{location}/points/{point}/remove", format!("{nowhere}/remove"), &[], STAFF_NOTHING);
    let array = &[("kwp", "4,5"), ("tilt", "30"), ("azimuth", "180")];
    act("/locations/{location}/arrays", format!("/locations/{LOCATION}/arrays"), array, STAFF_DONE);
    act("/locations/{location}/arrays", format!("/locations/{UNKNOWN}/arrays"), array, STAFF_NOTHING);
    let pattern = "/locations/{location}/arrays/{array}";
    act(pattern, format!("/locations/{LOCATION}/arrays/{ARRAY}"), array, STAFF_DONE);
    act(pattern, format!("/locations/{LOCATION}/arrays/{UNKNOWN}"), array, STAFF_NOTHING);
    let remove = "/locations/{location}/arrays/{array}/remove";
    act(remove, format!("/locations/{LOCATION}/arrays/{ARRAY}/remove"), &[], STAFF_DONE);
    act(remove, format!("/locations/{LOCATION}/arrays/{UNKNOWN}/remove"), &[], STAFF_NOTHING);
    let targets = "/locations/{location}/targets";
    act(targets, format!("/locations/{LOCATION}/targets"), &[("kwh_1", "-1")], STAFF_FORM);
    act(targets, format!("/locations/{UNKNOWN}/targets"), &[("kwh_1", "1")], STAFF_NOTHING);
    act("/locations/{location}/targets/remove", format!("/locations/{LOCATION}/targets/remove"), &[], STAFF_NOTHING);
    let shown = &[
        ("kind", "exclude"),
        ("series", "inverter-1/energy/Wh"),
        ("from", "2026-06-10T00:00"),
        ("until", "2026-06-11T00:00"),
        ("reason", "nonsense"),
    ];
    let saved = &[
        ("kind", "exclude"),
        ("series", "inverter-1/energy/Wh"),
        ("from", "2026-06-10T00:00"),
        ("until", "2026-06-11T00:00"),
        ("reason", "nonsense"),
        ("action", "save"),
    ];
    act("/gateways/{gateway}/corrections", "/gateways/gw-1/corrections".into(), shown, STAFF);
    act("/gateways/{gateway}/corrections", "/gateways/gw-1/corrections".into(), saved, STAFF_DONE);
    act("/gateways/{gateway}/corrections", "/gateways/gw-9/corrections".into(), saved, STAFF_NOTHING);
    let revert = "/gateways/{gateway}/corrections/{correction}/revert";
    act(revert, format!("/gateways/gw-2/corrections/{CORRECTION}/revert"), &[], STAFF_DONE);
    act(revert, format!("/gateways/gw-1/corrections/{CORRECTION}/revert"), &[], STAFF_NOTHING);
    act(revert, format!("/gateways/gw-2/corrections/{UNKNOWN}/revert"), &[], STAFF_NOTHING);
    let by = &[("by", "gw-2"), ("at", "2026-06-17T12:00")];
    act("/gateways/{gateway}/replace", "/gateways/gw-1/replace".into(), by, STAFF_FORM);
    act("/gateways/{gateway}/replace", "/gateways/gw-9/replace".into(), by, STAFF_NOTHING);
    act("/mappings/edit", "/mappings/edit".into(), &[("source", MAPPING), ("action", "save")], STAFF_DONE);
    act("/mappings/edit", "/mappings/edit".into(), &[("source", MAPPING), ("action", "try")], STAFF);
    act("/mappings/remove", "/mappings/remove".into(), &[("name", "none")], STAFF_NOTHING);
    // A form without a file; logos.rs sends one.
    act("/settings/logo", "/settings/logo".into(), &[("logo", "x")], STAFF_FORM);
    act("/settings/logo/remove", "/settings/logo/remove".into(), &[], STAFF_NOTHING);
    // What was shown is not said; forms.rs saves.
    act("/settings", "/settings".into(), settings, [In, Nothing, Nothing, No, Form, Form, In]);
    rows
}
