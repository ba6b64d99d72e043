//! What every handler has at hand: the provider's store, the clock, the limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::Timestamp;
use heliograph_store::ProviderStore;
use tokio_util::sync::CancellationToken;

use crate::api::ApiLimits;
use crate::audit::Verification;
use crate::fleet::board::Board;
use crate::live::Crowd;
use crate::login::LoginLimits;
use crate::replay::Replay;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a panel is set up by whoever runs it; what the provider sets for itself
/// lives in its store.
#[derive(Debug, Clone)]
pub struct PanelSettings {
    /// The address that people type, such as `https://panel.example.com`. With
    /// `https` cookies are `Secure` and browsers are told to insist on it.
    pub public_url: Option<String>,
    /// A session ends after this long without a request.
    pub session_idle: Duration,
    /// A session ends after this long, whatever happens in it.
    pub session_absolute: Duration,
    /// Whether a proxy stands in front that appends the peer's address to
    /// `X-Forwarded-For`. Without one, anybody could write that header.
    pub behind_proxy: bool,
    /// Connections served at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// The longest that one request may take.
    pub request_timeout: Duration,
    /// Whether a mailer sends links to people: not where mails go to a folder, in which
    /// working links would lie.
    pub links_by_mail: bool,
    /// How documents of the quarantine are tried again; without it only the command does.
    pub replay: Option<Replay>,
}

impl Default for PanelSettings {
    fn default() -> Self {
        Self {
            public_url: None,
            session_idle: Duration::from_hours(12),
            session_absolute: Duration::from_hours(7 * 24),
            behind_proxy: false,
            max_connections: 512,
            request_timeout: Duration::from_secs(30),
            links_by_mail: true,
            replay: None,
        }
    }
}

impl PanelSettings {
    /// Whether people reach the panel over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// The state behind the router. Cheap to clone.
#[derive(Clone)]
pub struct Panel {
    inner: Arc<Inner>,
}

struct Inner {
    store: ProviderStore,
    settings: PanelSettings,
    clock: Clock,
    limits: LoginLimits,
    code_limits: LoginLimits,
    forgot_limits: LoginLimits,
    api_limits: ApiLimits,
    crowd: Crowd,
    ending: CancellationToken,
    board: Board,
    verification: Verification,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Panel {
    /// `ending` ends what would go on for as long as somebody looks.
    pub(crate) fn new(store: ProviderStore, settings: PanelSettings, clock: Clock, ending: CancellationToken) -> Self {
        let crowd = Crowd::new(settings.max_connections);
        Self {
            inner: Arc::new(Inner {
                crowd,
                ending,
                store,
                settings,
                clock,
                limits: LoginLimits::default(),
                code_limits: LoginLimits::default(),
                forgot_limits: LoginLimits::default(),
                api_limits: ApiLimits::default(),
                board: Board::default(),
                verification: Verification::default(),
            }),
        }
    }

    pub(crate) fn store(&self) -> &ProviderStore {
        &self.inner.store
    }

    pub(crate) fn settings(&self) -> &PanelSettings {
        &self.inner.settings
    }

    pub(crate) fn limits(&self) -> &LoginLimits {
        &self.inner.limits
    }

    /// Those on codes, which nobody uses up who has not proven a password.
    pub(crate) fn code_limits(&self) -> &LoginLimits {
        &self.inner.code_limits
    }

    /// Those on links for new passwords, which keep nobody from signing in.
    pub(crate) fn forgot_limits(&self) -> &LoginLimits {
        &self.inner.forgot_limits
    }

    /// Those on requests of programs.
    pub(crate) fn api_limits(&self) -> &ApiLimits {
        &self.inner.api_limits
    }

    /// Who looks at pages that are live.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.inner.crowd
    }

    /// Cancelled when the panel is to end.
    pub(crate) fn ending(&self) -> &CancellationToken {
        &self.inner.ending
    }

    /// The figures of the whole fleet, for who may see all of it.
    pub(crate) fn board(&self) -> &Board {
        &self.inner.board
    }

    /// What is known of the audit trail as a whole.
    pub(crate) fn verification(&self) -> &Verification {
        &self.inner.verification
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    /// The address of a path as people outside would type it, or the path alone
    /// where no public address is set.
    pub(crate) fn link(&self, path: &str) -> String {
        let base = self.settings().public_url.as_deref().unwrap_or_default();
        format!("{}{path}", base.trim_end_matches('/'))
    }
}
