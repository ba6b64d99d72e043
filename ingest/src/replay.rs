//! Documents of the quarantine, tried again: by the same decoding and the same
//! checks as when they came, with what is known now.
//!
//! Who sent a document has to be proven as it had to be then. The key itself was not
//! kept, but its digest bound to the entry; a document that was stored in part had
//! proved itself. So nobody gets a document into a gateway by guessing its id. An
//! operator may vouch for an entry instead.

use std::sync::Arc;

use heliograph_dialects::{Mapping, Refused, loss_by_mask};
use heliograph_domain::{GatewayId, KeyDigest, QuarantineId, RefusalCode, Timestamp};
use heliograph_store::{Difference, DocumentWrite, ProviderStore, QuarantineNew, QuarantineRow, StoreError, Versions};

use crate::adoption::Adoptions;
use crate::apart::apart;
use crate::arrival::Arrival;
use crate::decoding::{Content, decode_for, reasons};
use crate::directory::{Directory, Standing};

/// Whose word it takes that a document is from whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The key that came with it has to be one of the gateway's.
    Key,
    /// Somebody vouches for it.
    Vouched,
}

/// Tries documents of the quarantine again.
pub struct Replayer {
    store: ProviderStore,
    directory: Arc<Directory>,
    /// Of what is in force; none where somebody else keeps it new.
    versions: Option<Versions>,
    /// Goes before those that the provider has.
    mapping: Option<Arc<Mapping>>,
    /// Whether a key is not enough.
    needs_certificate: bool,
    adoptions: Adoptions,
}

/// An entry that has been judged anew.
#[derive(Debug)]
pub struct Judged {
    /// The entry.
    pub row: QuarantineRow,
    /// What would become of it.
    pub verdict: Verdict,
}

/// What would become of an entry.
#[derive(Debug)]
pub enum Verdict {
    /// It is stored, but for the readings that are still refused.
    Take {
        /// What is written.
        document: Box<DocumentWrite>,
        /// What is still refused.
        refused: Vec<Refused>,
    },
    /// There is nothing in it to be stored, as in a `hello`: it goes.
    Nothing,
    /// It stays as it is.
    Refuse {
        /// Why.
        code: RefusalCode,
        /// Why, in words.
        reason: String,
    },
}

impl Verdict {
    fn refuse(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self::Refuse { code, reason: reason.into() }
    }
}

impl Replayer {
    /// Judges by what the store says now, and by a mapping before those that the
    /// provider has. `needs_certificate`: a key is not enough, as for connections.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: ProviderStore, mapping: Option<Arc<Mapping>>, needs_certificate: bool) -> Result<Self, StoreError> {
        let versions = store.versions().await?;
        let directory = Arc::new(Directory::of(Directory::read(&store).await?, None));
        Ok(Self { versions: Some(versions), mapping, ..Self::of(store, directory, needs_certificate) })
    }

    pub(crate) fn of(store: ProviderStore, directory: Arc<Directory>, needs_certificate: bool) -> Self {
        Self { store, directory, versions: None, mapping: None, needs_certificate, adoptions: Adoptions::default() }
    }

    /// Judges from now on by what has changed since, so that a key that is revoked
    /// while many entries are tried lets no further one in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        let Some(known) = self.versions else { return Ok(()) };
        let versions = self.store.versions().await?;
        if versions.config != known.config {
            let read = Directory::read(&self.store).await?;
            self.directory = Arc::new(Directory::of(read, Some(&self.directory.mappings)));
            self.versions = Some(versions);
        }
        Ok(())
    }

    /// Judges an entry.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it is gone, or when the store cannot be read.
    pub async fn judge(&self, entry: QuarantineId, proof: Proof, now: Timestamp) -> Result<Judged, StoreError> {
        let row = self.store.quarantine_fetch(entry).await?;
        let presented = self.store.quarantine_presented(entry).await?;
        let verdict = apart(row.bytes, || self.verdict(&row.entry, presented, proof, now)).unwrap_or_else(|refused| refused);
        Ok(Judged { row, verdict })
    }

    /// What becomes of an entry; the way of an error is that of a refusal.
    fn verdict(
        &self,
        entry: &QuarantineNew,
        presented: Option<KeyDigest>,
        proof: Proof,
        now: Timestamp,
    ) -> Result<Verdict, Verdict> {
        if entry.raw.is_empty() {
            return Err(Verdict::refuse(entry.code, "nothing of it was kept"));
        }
        let named = entry.gateway.as_deref().and_then(|gateway| GatewayId::parse(gateway).ok());
        let mappings: Vec<_> = self.mapping.iter().chain(self.directory.mappings.list()).map(Arc::clone).collect();
        let decode = |bytes: &[u8]| decode_for(&self.directory, named.as_ref(), &mappings, bytes, entry.received);
        let decoded = decode(&entry.raw).map_err(|error| Verdict::refuse(error.code, error.message))?;
        if let Some(loss) = loss_by_mask(&entry.raw, &decoded, decode) {
            return Err(Verdict::refuse(RefusalCode::Unsupported, format!("it is not as it came: {loss}")));
        }
        let Some(gateway) = decoded.gateway.clone() else {
            return Err(Verdict::refuse(RefusalCode::UnknownGateway, "it names no gateway"));
        };
        // Of a document that was stored in part it was proven then.
        let was_proven = entry.trusted && entry.code.is_of_reading() && named.as_ref() == Some(&gateway);
        self.admit(&gateway, presented, entry, proof == Proof::Vouched || was_proven)?;
        if decoded.is_hello {
            return Ok(Verdict::Nothing);
        }
        let shift = self.directory.clock_shift(&gateway, entry.received);
        let content = Content::of(decoded, shift, &self.directory.settings.time_policy(), entry.received, now)
            .map_err(|error| Verdict::refuse(RefusalCode::Unsupported, error.to_string()))?;
        Ok(take(entry, gateway, content))
    }

    /// Whether a document may be stored as this gateway's.
    fn admit(
        &self,
        gateway: &GatewayId,
        presented: Option<KeyDigest>,
        entry: &QuarantineNew,
        is_proven: bool,
    ) -> Result<(), Verdict> {
        let is_right = |known: &KeyDigest| presented.is_some_and(|presented| known.bound_to(entry.id).matches(&presented));
        let unknown = |what: &str| Err(Verdict::refuse(RefusalCode::UnknownGateway, format!("gateway {gateway} {what}")));
        match self.directory.standing_by(gateway, entry.received, is_proven, self.needs_certificate, is_right) {
            Standing::Trusted(_) => Ok(()),
            Standing::Unknown => match self.adoptions.refusal(&self.directory, gateway) {
                Some(reason) => Err(Verdict::refuse(RefusalCode::UnknownGateway, reason)),
                None => Ok(()),
            },
            Standing::Retired => unknown("is no longer in use"),
            Standing::Imposter => {
                let what = match (presented.is_some(), self.needs_certificate) {
                    (true, false) => "the key that came with it is none of",
                    (false, false) => "no key came with it for",
                    (_, true) => "no certificate came with it that is registered with",
                };
                Err(Verdict::refuse(RefusalCode::BadKey, format!("{what} gateway {gateway}")))
            }
        }
    }

    /// What storing a document would change, value by value.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn preview(&self, document: &DocumentWrite) -> Result<Vec<Difference>, StoreError> {
        self.store.document_preview(document).await
    }

    /// Does what was judged. What is stored leaves the quarantine; what of it is still
    /// refused stays there with its reasons. Answers why, where the store itself
    /// refuses it.
    ///
    /// # Errors
    /// When the store cannot be written now; then the entry is there as it was.
    pub async fn replay(&self, judged: &Judged) -> Result<Option<String>, StoreError> {
        let row = &judged.row;
        let written = match &judged.verdict {
            Verdict::Take { document, .. } => self.store.document_replay((**document).clone(), row).await,
            Verdict::Nothing => self.store.quarantine_remove(row).await,
            Verdict::Refuse { .. } => Ok(()),
        };
        match written {
            Ok(()) => Ok(None),
            Err(error @ (StoreError::TooManySeries(_) | StoreError::Refused(_))) => {
                let reason = error.to_string();
                self.revise(row, RefusalCode::Unsupported, reason.clone()).await?;
                Ok(Some(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives an entry the reason for which it was refused again.
    pub(crate) async fn revise(&self, row: &QuarantineRow, code: RefusalCode, reason: String) -> Result<(), StoreError> {
        let entry = QuarantineNew { code, reason, raw: Vec::new(), ..row.entry.clone() };
        self.store.quarantine_revise(&QuarantineRow { entry, bytes: row.bytes }).await
    }
}

/// The document of an entry, as it would have been stored when it came.
fn take(entry: &QuarantineNew, gateway: GatewayId, content: Content) -> Verdict {
    let Content { sensors, series, values, refused } = content;
    let quarantine = refused.first().map(|first| QuarantineNew {
        code: first.code,
        reason: reasons(&refused),
        raw: Vec::new(),
        ..entry.clone()
    });
    let (received, address) = (entry.received, entry.address.clone());
    let stamp = Arrival::stamp_of(entry);
    let document = DocumentWrite { gateway, received, stamp, address, sensors, series, values, quarantine };
    Verdict::Take { document: Box::new(document), refused }
}
