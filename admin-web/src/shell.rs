//! What stands around every page: the provider's name and colour, who has signed
//! in, where they can go.

use heliograph_domain::{AlertState, GatewayState, ProviderSettings, UserRole};
use serde::Deserialize;

use crate::access::Actor;
use crate::assets;
use crate::error::Refusal;
use crate::logo;
use crate::panel::Panel;

/// The provider as pages show it.
#[derive(Debug, Clone)]
pub(crate) struct Brand {
    /// Its name.
    pub(crate) name: String,
    /// The version of the style sheet.
    pub(crate) style: &'static str,
    /// The version of the script.
    pub(crate) script: &'static str,
    /// The version of the theme made from its colour.
    pub(crate) theme: String,
    /// Where its logo is; empty where it has none.
    pub(crate) logo: String,
}

impl Brand {
    /// The brand as it is set, or a plain one where the store does not answer.
    pub(crate) async fn of(panel: &Panel) -> Self {
        let settings = panel.store().settings_fetch().await.unwrap_or_default();
        Self::from_settings(panel, &settings).await
    }

    async fn from_settings(panel: &Panel, settings: &ProviderSettings) -> Self {
        let name = match settings.name.trim() {
            "" => panel.store().provider().as_str(),
            name => name,
        };
        Self {
            name: name.to_owned(),
            style: assets::style_version(),
            script: assets::script_version(),
            theme: assets::theme_version(&settings.colour),
            logo: logo::path(panel).await,
        }
    }
}

/// Where a page stands in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Fleet,
    Alerts,
    Waiting,
    Customers,
    Quarantine,
    Mails,
    People,
    Audit,
    Settings,
    Account,
}

/// An entry of the navigation.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) label: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) current: bool,
    pub(crate) count: usize,
    /// What is counted.
    pub(crate) counted: &'static str,
}

/// Everything around a page for somebody who has signed in.
pub(crate) struct Shell {
    pub(crate) brand: Brand,
    pub(crate) settings: ProviderSettings,
    pub(crate) who: String,
    /// The address with which they sign in.
    pub(crate) email: String,
    pub(crate) role: UserRole,
    pub(crate) entries: Vec<Entry>,
    pub(crate) notice: &'static str,
    /// Alerts that nobody has taken up.
    pub(crate) open_alerts: usize,
}

/// What was just done, in the address that a form redirects to.
#[derive(Debug, Deserialize, Default)]
pub(crate) struct Done {
    #[serde(default)]
    done: String,
}

impl Done {
    /// Fixed texts only: the address is anybody's to write.
    fn text(&self) -> &'static str {
        match self.done.as_str() {
            "saved" => "Saved.",
            "logo-gone" => "The logo is taken away.",
            "acknowledged" => "You take care of it: nobody is told of it again.",
            "resolved" => "Resolved.",
            "commented" => "The comment is added.",
            "alert-stands" => "Somebody was faster: this is how it stands.",
            "work-ended" => "Ended. From now on it is judged again.",
            "replayed" => "It is stored and has left the quarantine.",
            "unmapped" => "The mapping is removed.",
            "password" => "Your password is changed. Everywhere else you are signed out.",
            "signed-out" => "Signed out there.",
            "signed-out-of" => "They are signed out everywhere.",
            "one-step" => "Your password alone signs you in again.",
            "one-step-of" => "The second step is taken away. Their password alone signs them in.",
            "token-ended" => "The token is ended. Requests that use it are refused from now on.",
            "invited" => "A mail with a link is on its way to them. The list of mails says when it is sent.",
            "removed" => "Removed. They are signed out everywhere.",
            "revoked" => "The key is revoked. Pushes that use it are refused from now on.",
            "moved" => "The gateway is moved.",
            "retired" => "The gateway is retired. Its history stays.",
            "commissioned" => "The gateway is commissioned to this customer.",
            "point-added" => "The point is added.",
            "bound" => "The sensor stands for the point from then on.",
            "unbound" => "That is taken back, as if it had never been.",
            "taken-away" => "It is taken away. Readings stay as they are.",
            "corrected" => "The correction is made. Reports follow it; readings stay as they are.",
            "reverted" => "The correction is taken back. It stays on record.",
            "replaced" => "The gateway is replaced. Its history stays.",
            "ended" => "The commission is ended. The customer sees nothing of the gateway any more.",
            "cancelled" => "The planned commission is cancelled.",
            _ => "",
        }
    }
}

impl Shell {
    /// Says what was just done.
    pub(crate) fn saying(self, done: &Done) -> Self {
        Self { notice: done.text(), ..self }
    }

    /// Gathers it.
    pub(crate) async fn of(panel: &Panel, actor: &Actor, section: Section) -> Result<Self, Refusal> {
        let waiting = if actor.user.role.sees_locations() { count_waiting(panel).await? } else { 0 };
        Self::around(panel, actor, section, waiting).await
    }

    /// The same where it is known how many gateways wait.
    pub(crate) async fn around(panel: &Panel, actor: &Actor, section: Section, waiting: usize) -> Result<Self, Refusal> {
        let settings = panel.store().settings_fetch().await?;
        let role = actor.user.role;
        let open_alerts = if role.sees_everything() { count_open(panel).await } else { 0 };
        Ok(Self {
            brand: Brand::from_settings(panel, &settings).await,
            settings,
            who: actor.user.name.clone(),
            email: actor.user.email.to_string(),
            role,
            entries: entries(role, section, waiting, open_alerts),
            notice: "",
            open_alerts,
        })
    }

    /// Whether to offer what changes things.
    pub(crate) const fn may_change(&self) -> bool {
        self.role.may_change()
    }

    /// Whether to offer what is done at a location.
    pub(crate) const fn may_install(&self) -> bool {
        self.role.may_install()
    }

    /// Whether to offer what concerns people and their ways in.
    pub(crate) fn is_owner(&self) -> bool {
        self.role == UserRole::Owner
    }
}

async fn count_waiting(panel: &Panel) -> Result<usize, Refusal> {
    let gateways = panel.store().gateway_list().await?;
    Ok(gateways.iter().filter(|gateway| gateway.state == GatewayState::Waiting).count())
}

/// A count in the navigation is no reason to show no page at all.
async fn count_open(panel: &Panel) -> usize {
    match panel.store().alert_list().await {
        Ok(alerts) => alerts.iter().filter(|alert| alert.state() == AlertState::Open).count(),
        Err(error) => {
            tracing::error!(%error, "open alerts cannot be counted");
            0
        }
    }
}

fn entries(role: UserRole, section: Section, waiting: usize, open_alerts: usize) -> Vec<Entry> {
    let all = [
        (Section::Fleet, "/", if role.sees_everything() { "Fleet" } else { "My gateways" }, "fleet"),
        (Section::Alerts, "/alerts", "Alerts", "alerts"),
        (Section::Waiting, "/waiting", "Waiting", "waiting"),
        (Section::Customers, "/customers", "Customers", "customers"),
        (Section::Mails, "/mails", "Mails", "mails"),
        (Section::Quarantine, "/quarantine", "Quarantine", "quarantine"),
        (Section::People, "/people", "People", "people"),
        (Section::Audit, "/audit", "Audit", "audit"),
        (Section::Settings, "/settings", "Settings", "settings"),
    ];
    let offered = |target: Section| match target {
        Section::Fleet | Section::Account => true,
        Section::People | Section::Audit => role == UserRole::Owner,
        Section::Waiting => role.sees_locations(),
        _ => role.sees_everything(),
    };
    all.into_iter()
        .filter(|(target, ..)| offered(*target))
        .map(|(target, path, label, icon)| {
            let (count, counted) = match target {
                Section::Waiting => (waiting, "waiting"),
                Section::Alerts => (open_alerts, "open"),
                _ => (0, ""),
            };
            Entry { path, label, icon, current: target == section, count, counted }
        })
        .collect()
}

/// Percent-encodes a text so that it can stand as one segment of a path or one
/// value of a query (RFC 3986: only unreserved characters stay).
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_devices_stay_one_segment() {
        assert_eq!(encode("gw-0001"), "gw-0001");
        assert_eq!(encode("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
        assert_eq!(encode("größe"), "gr%C3%B6%C3%9Fe");
    }
}
