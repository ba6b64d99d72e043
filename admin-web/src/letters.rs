//! Mails about somebody's way in, which are ordered here and written by the mailer.

use heliograph_domain::OutboxId;
use heliograph_store::{Letter, LetterKind, ProviderStore, StoreError, UserRecord};

use crate::panel::Panel;
use crate::token;

/// Whether a link can be sent: what a request says about where the panel is may come
/// from anybody, so that only the setting counts.
pub(crate) fn can_send_links(panel: &Panel) -> bool {
    panel.settings().links_by_mail && panel.settings().public_url.is_some()
}

/// Orders a mail to somebody, in the name of whoever has the store in hand; false where
/// the same was asked for a moment ago.
pub(crate) async fn order(panel: &Panel, store: &ProviderStore, user: &UserRecord, kind: LetterKind) -> Result<bool, StoreError> {
    let now = panel.now();
    let letter = Letter::to(user, kind, panel.settings().public_url.clone().filter(|_| can_send_links(panel)));
    store.letter_order(OutboxId::new(token::fresh_uuid(now)), user, &letter, now).await
}

/// Tells somebody what has become of their way in. That has happened: where the mail
/// cannot be kept, only the log says so.
pub(crate) async fn tell(panel: &Panel, user: &UserRecord, kind: LetterKind) {
    if let Err(error) = order(panel, panel.store(), user, kind).await {
        tracing::error!(%error, user = %user.id, mail = kind.as_str(), "mail cannot be ordered");
    }
}
