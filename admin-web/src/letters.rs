//! Mails about somebody's way in, which are ordered here and written by the mailer.

use heliograph_domain::OutboxId;
use heliograph_store::{Letter, LetterKind, StoreError, UserRecord};

use crate::panel::Panel;
use crate::token;

/// Whether a link can be sent: what a request says about where the panel is may come
/// from anybody, so that only the setting counts.
pub(crate) fn can_send_links(panel: &Panel) -> bool {
    panel.settings().public_url.is_some()
}

/// Orders a mail to somebody; false where the same was asked for a moment ago.
pub(crate) async fn order(panel: &Panel, user: &UserRecord, kind: LetterKind) -> Result<bool, StoreError> {
    let now = panel.now();
    let letter = Letter { kind, user: user.id, panel: panel.settings().public_url.clone() };
    panel.store().letter_order(OutboxId::new(token::fresh_uuid(now)), &letter, user.email.clone(), now).await
}

/// Tells somebody what has become of their way in. That has happened: where the mail
/// cannot be kept, only the log says so.
pub(crate) async fn tell(panel: &Panel, user: &UserRecord, kind: LetterKind) {
    if let Err(error) = order(panel, user, kind).await {
        tracing::error!(%error, user = %user.id, mail = kind.as_str(), "mail cannot be ordered");
    }
}
