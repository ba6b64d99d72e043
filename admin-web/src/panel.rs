//! What every handler has at hand: the provider's store, the clock, the limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::Timestamp;
use heliograph_store::ProviderStore;

use crate::fleet::board::Board;
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
    board: Board,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Panel {
    pub(crate) fn new(store: ProviderStore, settings: PanelSettings, clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                settings,
                clock,
                limits: LoginLimits::default(),
                code_limits: LoginLimits::default(),
                board: Board::default(),
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

    /// The figures of the whole fleet, for who may see all of it.
    pub(crate) fn board(&self) -> &Board {
        &self.inner.board
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
