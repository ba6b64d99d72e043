//! Another try for what was refused, or what it would come to.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use heliograph_dialects::Refused;
use heliograph_domain::{QuarantineId, RefusalCode, Timestamp, visible};
use heliograph_ingest::{ClientCertificates, Judged, Proof, Replayer, Verdict};
use heliograph_store::{Difference, DocumentWrite, ProviderStore, StoreError, Was};
use serde_json::{Value, json};

use super::Filter;
use crate::decode::read_mapping;
use crate::settings::{Settings, SettingsError};
use crate::{output, role};

/// Differences and refusals shown of an entry.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Retry {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The entries.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "gateway", "code"])]
    entries: Vec<QuarantineId>,
    /// All entries.
    #[arg(long, conflicts_with_all = ["gateway", "code"])]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Read what is of no dialect by this mapping, before those that the provider has.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take them as from the gateways that they name, whatever key came with them.
    #[arg(long)]
    trust: bool,
    /// One JSON object an entry.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Retry) -> anyhow::Result<ExitCode> {
    let is_chosen = args.all || args.filter.gateway.is_some() || args.filter.code.is_some() || !args.entries.is_empty();
    if !is_chosen {
        return Err(SettingsError::one("say which entries: their ids, --gateway, --code or --all").into());
    }
    let mapping = args.mapping.as_deref().map(read_mapping).transpose()?;
    let mut settings = args.place.settings()?;
    let clients = client_certificates(&mut settings);
    let store = args.place.open_by(&mut settings)?;
    let needs_certificate = clients == ClientCertificates::Required;
    let mut replayer = Replayer::open(store.clone(), mapping, needs_certificate).await?;
    let entries = chosen(&store, &args).await?;
    if !args.dry_run && !entries.is_empty() {
        store.quarantine_retry_noted(entries.len(), !args.trust).await?;
    }
    let mut sum = Sum::default();
    let mut out = output::standard();
    let proof = if args.trust { Proof::Vouched } else { Proof::Key };
    for entry in entries {
        replayer.renew().await?;
        let report = match retry(&replayer, entry, proof, args.dry_run).await {
            Ok(Some(report)) => report,
            Ok(None) => continue,
            // The others are none the worse for it.
            Err(StoreError::Damaged(problem)) => {
                tracing::error!(%entry, problem, "a document is damaged and stays");
                sum.stay += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        sum.add(&report);
        // Whoever reads may have gone; what was begun is done.
        output::ended(report.write(&mut out, args.json))?;
    }
    if !args.json {
        output::ended(writeln!(out, "{}", sum.line(args.dry_run)))?;
    }
    output::ended(out.flush())?;
    store.close().await;
    Ok(if sum.stay == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether gateways prove themselves by certificates; what is wrong with that is noted.
pub(crate) fn client_certificates(settings: &mut Settings) -> ClientCertificates {
    let clients = ClientCertificates::parse(settings.text("ingest.client_certificates"));
    clients.map_err(|problem| settings.problem("ingest.client_certificates", problem)).unwrap_or_default()
}

/// The entries that are meant, the newest first, as replaying wants them.
async fn chosen(store: &ProviderStore, args: &Retry) -> anyhow::Result<Vec<QuarantineId>> {
    let mut found: Vec<(Timestamp, QuarantineId)> = Vec::new();
    for entry in &args.entries {
        let row = super::fetch(store, *entry).await?;
        found.push((row.entry.received, *entry));
    }
    if args.entries.is_empty() {
        let take = |row: heliograph_store::QuarantineRow| {
            found.push((row.entry.received, row.entry.id));
            Ok(false)
        };
        args.filter.each(store, take).await?;
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// What has become, or would become, of an entry.
pub(super) struct Report {
    pub(super) judged: Judged,
    pub(super) differences: Vec<Difference>,
    /// Why the store itself refuses it.
    refused: Option<String>,
    dry_run: bool,
}

/// Tries one entry; `None` where it is gone meanwhile.
pub(super) async fn retry(
    replayer: &Replayer,
    entry: QuarantineId,
    proof: Proof,
    dry_run: bool,
) -> Result<Option<Report>, StoreError> {
    let judged = match replayer.judge(entry, proof, (role::clock())()).await {
        Ok(judged) => judged,
        Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let differences = match &judged.verdict {
        Verdict::Take { document, .. } => replayer.preview(document).await?,
        Verdict::Nothing | Verdict::Refuse { .. } => Vec::new(),
    };
    let refused = if dry_run { None } else { replayer.replay(&judged).await? };
    Ok(Some(Report { judged, differences, refused, dry_run }))
}

/// What becomes of the readings of entries.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) new: usize,
    pub(super) repeated: usize,
    changed: usize,
    /// Not written, for a later push of them is stored.
    older: usize,
    refused: usize,
}

impl Counts {
    fn of(differences: &[Difference], refused: usize) -> Self {
        let count = |is: fn(&Was) -> bool| differences.iter().filter(|difference| is(&difference.was)).count();
        Self {
            new: count(|was| matches!(was, Was::Nothing)),
            repeated: count(|was| matches!(was, Was::Same)),
            changed: count(|was| matches!(was, Was::Other(_))),
            older: count(|was| matches!(was, Was::Later(_))),
            refused,
        }
    }

    fn words(&self) -> String {
        let Self { new, repeated, changed, older, refused } = self;
        let mut words = vec![format!("{new} new"), format!("{repeated} repeated"), format!("{changed} changed")];
        words.extend((*older > 0).then(|| format!("{older} older than what is stored")));
        words.extend((*refused > 0).then(|| format!("{refused} refused")));
        words.join(", ")
    }
}

impl Report {
    pub(super) fn counts(&self) -> Counts {
        Counts::of(&self.differences, self.refusals().len())
    }

    /// The readings that are still refused.
    pub(super) fn refusals(&self) -> &[Refused] {
        match &self.judged.verdict {
            Verdict::Take { refused, .. } => refused,
            Verdict::Nothing | Verdict::Refuse { .. } => &[],
        }
    }

    /// Why all of it stays, where it does.
    pub(super) fn stays(&self) -> Option<(RefusalCode, &str)> {
        match (&self.judged.verdict, &self.refused) {
            (_, Some(reason)) => Some((RefusalCode::Unsupported, reason)),
            (Verdict::Refuse { code, reason }, None) => Some((*code, reason)),
            (Verdict::Take { .. } | Verdict::Nothing, None) => None,
        }
    }

    fn leaves(&self) -> bool {
        self.stays().is_none() && self.refusals().is_empty()
    }

    fn write(&self, out: &mut impl Write, json: bool) -> std::io::Result<()> {
        if json { writeln!(out, "{}", self.as_json()) } else { self.write_lines(out) }
    }

    fn write_lines(&self, out: &mut impl Write) -> std::io::Result<()> {
        let id = self.judged.row.entry.id;
        if let Some((code, reason)) = self.stays() {
            return writeln!(out, "{id}  stays: {code}: {}", visible(reason.as_bytes()));
        }
        let Verdict::Take { document, .. } = &self.judged.verdict else {
            return writeln!(out, "{id}  holds no readings: it {}", if self.dry_run { "would go" } else { "is gone" });
        };
        let did = if self.dry_run { "would store" } else { "stored" };
        writeln!(out, "{id}  {did} readings of {}: {}", visible(document.gateway.as_str().as_bytes()), self.counts().words())?;
        let changes: Vec<String> = self.differences.iter().filter_map(|difference| changed(document, difference)).collect();
        let refusals = self.refusals().iter().map(|refused| format!("refused  {}", refusal(refused)));
        for lines in [changes, refusals.collect()] {
            for line in lines.iter().take(SHOWN) {
                writeln!(out, "    {}", visible(line.as_bytes()))?;
            }
            if lines.len() > SHOWN {
                writeln!(out, "    and {} more", lines.len() - SHOWN)?;
            }
        }
        Ok(())
    }

    fn as_json(&self) -> Value {
        let Counts { new, repeated, changed, older, refused } = self.counts();
        let entry = &self.judged.row.entry;
        let document = match &self.judged.verdict {
            Verdict::Take { document, .. } => Some(document),
            Verdict::Nothing | Verdict::Refuse { .. } => None,
        };
        let changes: Vec<Value> = self
            .differences
            .iter()
            .filter_map(|difference| {
                let (was, stays) = match difference.was {
                    Was::Other(was) => (was, false),
                    Was::Later(was) => (was, true),
                    Was::Nothing | Was::Same => return None,
                };
                let (sensor, metric, unit) = named(document?, difference)?;
                Some(json!({
                    "time": difference.time.to_string(), "sensor": sensor, "metric": metric, "unit": unit,
                    "value": difference.value, "stored": was, "stays": stays,
                }))
            })
            .collect();
        let refusals: Vec<Value> = self
            .refusals()
            .iter()
            .map(|refused| json!({ "line": refused.line, "code": refused.code.as_str(), "reason": refused.reason }))
            .collect();
        json!({
            "id": entry.id, "gateway": document.map(|document| document.gateway.as_str()), "dry_run": self.dry_run,
            "leaves": self.leaves(), "new": new, "repeated": repeated, "changed": changed, "older": older, "refused": refused,
            "differences": changes, "refusals": refusals,
            "stays": self.stays().map(|(code, reason)| json!({ "code": code.as_str(), "reason": reason })),
        })
    }
}

/// Why a reading is refused.
pub(super) fn refusal(refused: &Refused) -> String {
    let line = if refused.line == 0 { String::new() } else { format!("line {}: ", refused.line) };
    format!("{line}{}: {}", refused.code, refused.reason)
}

/// Sensor, metric and unit of a value.
pub(super) fn named<'d>(document: &'d DocumentWrite, difference: &Difference) -> Option<(&'d str, &'d str, &'d str)> {
    let series = document.series.get(difference.series)?;
    let sensor = document.sensors.get(series.sensor)?;
    Some((sensor.id.as_str(), series.metric.as_str(), series.unit.as_str()))
}

fn changed(document: &DocumentWrite, difference: &Difference) -> Option<String> {
    let (sensor, metric, unit) = named(document, difference)?;
    let Difference { time, value, was, .. } = difference;
    match was {
        Was::Other(was) => Some(format!("changed  {time}  {sensor} {metric}  {was} to {value} {unit}")),
        Was::Later(was) => Some(format!("older    {time}  {sensor} {metric}  {was} {unit} stays, not {value}")),
        Was::Nothing | Was::Same => None,
    }
}

/// All entries together.
#[derive(Debug, Default)]
struct Sum {
    leave: usize,
    in_part: usize,
    stay: usize,
    counts: Counts,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        match (report.stays(), report.leaves()) {
            (Some(_), _) => self.stay += 1,
            (None, true) => self.leave += 1,
            (None, false) => self.in_part += 1,
        }
        let more = report.counts();
        if report.stays().is_none() {
            self.counts = Counts {
                new: self.counts.new + more.new,
                repeated: self.counts.repeated + more.repeated,
                changed: self.counts.changed + more.changed,
                older: self.counts.older + more.older,
                refused: self.counts.refused + more.refused,
            };
        }
    }

    fn line(&self, dry_run: bool) -> String {
        let Self { leave, in_part, stay, counts } = self;
        let go = if dry_run { "would leave" } else { "have left" };
        format!("{leave} {go} the quarantine, {in_part} in part, {stay} stay; readings: {}", counts.words())
    }
}
