//! What went wrong with a customer's gateways while they were theirs: alerts, and
//! documents that were refused.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use heliograph_domain::{Alert, Commission, CustomerId, Timestamp};
use heliograph_store::{ProviderStore, QuarantineNew, QuarantineRow, StoreError};
use serde_json::{Value, json};

use super::{create, make_folder, write_json};

/// Entries of the quarantine read at once.
const PAGE: usize = 500;

/// The commission that a gateway was under at a time.
fn under<'a>(commissions: &'a [Commission], gateway: &str, at: Timestamp) -> Option<&'a Commission> {
    commissions.iter().find(|commission| commission.gateway.as_str() == gateway && commission.window.contains(at))
}

/// Alerts that were raised about the gateways, without who did what about them.
pub(super) async fn alerts(store: &ProviderStore, commissions: &[Commission]) -> anyhow::Result<Value> {
    let all = store.alert_list().await.context("read alerts")?;
    let theirs = all.iter().filter_map(|alert| {
        let gateway = alert.key.subject.gateway()?;
        Some(described(alert, under(commissions, gateway.as_str(), alert.raised)?))
    });
    Ok(theirs.collect())
}

/// An alert, its time cut to that of the commission; its figures are of the time before
/// it was raised, so that where it began earlier they are left out.
fn described(alert: &Alert, commission: &Commission) -> Value {
    let window = &commission.window;
    let is_theirs = |at: &Timestamp| window.contains(*at);
    let comments = alert.comments.iter().filter(|comment| is_theirs(&comment.at));
    json!({
        "id": alert.id, "kind": alert.key.kind, "about": alert.key.subject,
        "since": alert.since.max(window.from).to_string(),
        "raised": alert.raised.to_string(),
        "figures": is_theirs(&alert.since).then_some(&alert.cause),
        "acknowledged": alert.acknowledged.map(|taken_up| taken_up.at).filter(is_theirs).map(|at| at.to_string()),
        "resolved": alert.resolved.map(|end| end.at).filter(is_theirs).map(|at| at.to_string()),
        "comments": comments.map(|comment| json!({ "at": comment.at.to_string(), "text": comment.text })).collect::<Vec<_>>(),
    })
}

/// Writes what is held of the gateways' documents: a list, and each as it came; answers
/// how many they are. What others pushed in their name is not theirs.
pub(super) async fn write_refused(
    store: &ProviderStore,
    folder: &Path,
    customer: CustomerId,
    commissions: &[Commission],
) -> anyhow::Result<usize> {
    let owners = store.commission_list().await.context("read commissions")?;
    make_folder(&folder.join("quarantine"))?;
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let page = store.quarantine_page(before, PAGE).await.context("read the quarantine")?;
        let Some(last) = page.last() else { break };
        before = Some((last.entry.received, last.entry.id));
        for row in page.iter().filter(|row| row.entry.trusted) {
            let QuarantineNew { received, gateway: Some(gateway), .. } = &row.entry else { continue };
            if under(commissions, gateway, *received).is_none() {
                continue;
            }
            // What comes late may have been measured when the gateway was another one's.
            let is_older = |other: &Commission| other.window.from < *received && other.customer != customer;
            let was_others = owners.iter().any(|other| other.gateway.as_str() == gateway && is_older(other));
            let is_whole = !was_others && write_document(store, folder, row).await?;
            listed.push(refused(row, is_whole));
        }
    }
    write_json(&folder.join("quarantine.json"), &listed.clone().into())?;
    Ok(listed.len())
}

fn refused(row: &QuarantineRow, is_whole: bool) -> Value {
    let QuarantineNew { id, received, gateway, address, code, reason, .. } = &row.entry;
    json!({
        "id": id, "received": received.to_string(), "gateway": gateway, "address": address, "code": code, "reason": reason,
        "bytes": row.bytes, "document": is_whole.then(|| format!("quarantine/{id}.txt"))
    })
}

/// Writes a document as it came; false where it is not there any more or is damaged.
async fn write_document(store: &ProviderStore, folder: &Path, row: &QuarantineRow) -> anyhow::Result<bool> {
    let id = row.entry.id;
    match store.quarantine_fetch(id).await {
        Ok(found) => {
            create(&folder.join("quarantine").join(format!("{id}.txt")))?
                .write_all(&found.entry.raw)
                .context("write a document")?;
            Ok(true)
        }
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(StoreError::Damaged(problem)) => {
            tracing::error!(document = %id, problem, "a refused document is damaged and left out");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
