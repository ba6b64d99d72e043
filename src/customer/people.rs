//! The people of a customer: who they are, where they are signed in, which tokens
//! programs have of them, and what the audit trail says of all that.

use std::collections::HashSet;

use anyhow::Context as _;
use heliograph_admin_web::SignedIn;
use heliograph_domain::{Actor, Commission, CustomerId, Timestamp};
use heliograph_store::{ApiToken, AuditRow, ProviderStore, SessionRow, StoreError, UserRecord};
use serde_json::{Value, json};

/// Entries of the trail read at once.
const PAGE: usize = 1_000;

pub(super) async fn tokens_of(store: &ProviderStore, people: &[UserRecord]) -> Result<Vec<ApiToken>, StoreError> {
    let all = store.api_token_list().await?;
    Ok(all.into_iter().filter(|token| people.iter().any(|user| user.id == token.user)).collect())
}

/// Everybody, without what they prove themselves with.
pub(super) async fn described(
    store: &ProviderStore,
    people: &[UserRecord],
    tokens: &[ApiToken],
    now: Timestamp,
) -> anyhow::Result<Value> {
    let mut found = Vec::new();
    for user in people {
        let sessions = store.session_list(user.id, now).await.context("read sessions")?;
        let second_step = store.second_factor_fetch(user.id).await.context("read whether a second step is set")?;
        let theirs = tokens.iter().filter(|token| token.user == user.id);
        found.push(json!({
            "id": user.id, "email": user.email, "name": user.name, "role": user.role, "added": user.created.to_string(),
            "has_password": user.password_hash.is_some(),
            "second_step_since": second_step.map(|factor| factor.since.to_string()),
            "sessions": sessions.iter().map(session).collect::<Vec<_>>(),
            "api_tokens": theirs.map(token).collect::<Vec<_>>(),
        }));
    }
    Ok(found.into())
}

fn session(row: &SessionRow) -> Value {
    let SignedIn { at, address, agent } = SignedIn::of(row);
    json!({ "began": at.to_string(), "ends": row.expires.to_string(), "address": address, "browser": agent })
}

fn token(token: &ApiToken) -> Value {
    json!({
        "id": token.id, "name": token.name, "scopes": token.scopes, "made": token.created.to_string(),
        "ends": token.expires.to_string(), "used": token.used.map(|used| used.to_string())
    })
}

/// What the trail knows a customer by.
pub(super) struct Theirs {
    actors: HashSet<String>,
    objects: HashSet<String>,
    /// Stands in entries about people who were removed since.
    customer: String,
}

impl Theirs {
    pub(super) fn new(customer: CustomerId, people: &[UserRecord], tokens: &[ApiToken], commissions: &[Commission]) -> Self {
        let mut objects: HashSet<String> = people.iter().map(|user| format!("user:{}", user.id)).collect();
        objects.extend(tokens.iter().map(|token| format!("api-token:{}", token.id)));
        objects.extend(commissions.iter().map(|commission| format!("commission:{}", commission.id)));
        objects.insert(format!("customer:{customer}"));
        let actors = people.iter().map(|user| Actor::User(user.id).to_string()).collect();
        Self { actors, objects, customer: customer.to_string() }
    }

    fn concerns(&self, row: &AuditRow) -> bool {
        self.actors.contains(&row.actor) || self.objects.contains(&row.object) || row.detail.contains(&self.customer)
    }

    /// The entries by or about them, in order.
    pub(super) async fn trail(&self, store: &ProviderStore) -> anyhow::Result<Value> {
        let (mut found, mut from) = (Vec::new(), 1);
        loop {
            let rows = store.audit_list(from, PAGE).await.context("read the audit trail")?;
            let Some(last) = rows.last() else { return Ok(found.into()) };
            from = last.seq + 1;
            found.extend(rows.iter().filter(|row| self.concerns(row)).map(entry));
        }
    }
}

fn entry(row: &AuditRow) -> Value {
    let AuditRow { seq, at, actor, action, object, detail, .. } = row;
    let detail: Value = serde_json::from_str(detail).unwrap_or_else(|_| detail.as_str().into());
    json!({ "seq": seq, "at": at.to_string(), "actor": actor, "action": action, "object": object, "detail": detail })
}
