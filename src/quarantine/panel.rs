//! How the panel tries documents of the quarantine again: as the command does.

use heliograph_admin_web::{Changed, Replay, Tried, Try};
use heliograph_domain::QuarantineId;
use heliograph_ingest::{ClientCertificates, Proof, Replayer, Verdict};
use heliograph_store::{Difference, DocumentWrite, ProviderStore, StoreError, Was};

use super::retry::{Counts, Report, named, retry};

/// For a panel; where certificates are required, a key that came with a document is not
/// enough.
pub(crate) fn replay(clients: ClientCertificates) -> Replay {
    Replay::new(move |store, entry, how| Box::pin(tried(store, clients, entry, how)))
}

async fn tried(
    store: ProviderStore,
    clients: ClientCertificates,
    entry: QuarantineId,
    how: Try,
) -> Result<Option<Tried>, StoreError> {
    let replayer = Replayer::open(store, None, clients == ClientCertificates::Required).await?;
    let report = retry(&replayer, entry, Proof::Key, how == Try::DryRun).await?;
    Ok(report.map(|report| told(&report)))
}

fn told(report: &Report) -> Tried {
    let Counts { new, repeated, .. } = report.counts();
    let stays = report.stays().map(|(code, reason)| (code, reason.to_owned()));
    let Verdict::Take { document, .. } = &report.judged.verdict else { return Tried { stays, ..Tried::default() } };
    let changes = report.differences.iter().filter_map(|difference| changed(document, difference));
    let refusals = report.refusals().iter().map(super::retry::refusal);
    Tried {
        gateway: Some(document.gateway.to_string()),
        stays,
        new,
        repeated,
        changes: changes.collect(),
        refusals: refusals.collect(),
    }
}

fn changed(document: &DocumentWrite, difference: &Difference) -> Option<Changed> {
    let (stored, stays) = match difference.was {
        Was::Other(stored) => (stored, false),
        Was::Later(stored) => (stored, true),
        Was::Nothing | Was::Same => return None,
    };
    let (sensor, metric, unit) = named(document, difference)?;
    let (series, unit) = (format!("{sensor} {metric}"), unit.to_owned());
    Some(Changed { time: difference.time, series, unit, stored, value: difference.value, stays })
}
