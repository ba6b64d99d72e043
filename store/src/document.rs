//! Writing documents: the way that readings come in.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use heliograph_domain::{
    Classification, GatewayId, Kind, MetricName, Quantity, SensorId, SensorRole, Timestamp, Unit, classify, suggested_role,
};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::quarantine::QuarantineNew;
use crate::stamp::WriteStamp;
use crate::store::{Backend, ProviderStore};
use crate::{cassandra, sqlite};

/// A document, checked and in canonical units, as it is written: whole or not
/// at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentWrite {
    /// Who pushed it.
    pub gateway: GatewayId,
    /// When it arrived.
    pub received: Timestamp,
    /// Its place in the order of arrival: of two pushes of a key the one with the
    /// higher stamp wins.
    pub stamp: WriteStamp,
    /// Where it came from, `address:port`.
    pub address: String,
    /// The sensors it names.
    pub sensors: Vec<SensorSeen>,
    /// The series it names, each once.
    pub series: Vec<SeriesSeen>,
    /// The values. Of equal series and time the last one wins, over what is
    /// stored too.
    pub values: Vec<Value>,
    /// What of it was refused, if anything.
    pub quarantine: Option<QuarantineNew>,
}

/// A sensor as a document names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorSeen {
    /// Its id.
    pub id: SensorId,
    /// What it says it is.
    pub role: Option<SensorRole>,
}

/// A series as a document names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeriesSeen {
    /// Index into [`DocumentWrite::sensors`].
    pub sensor: usize,
    /// The metric.
    pub metric: MetricName,
    /// The canonical unit.
    pub unit: Unit,
    /// How its numbers behave, where the document says so.
    pub kind: Option<Kind>,
    /// What they mean, where the document says so.
    pub quantity: Option<Quantity>,
}

/// One value of a document.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Index into [`DocumentWrite::series`].
    pub series: usize,
    /// When it was measured.
    pub time: Timestamp,
    /// What was measured; finite.
    pub value: f64,
}

/// What a new sensor is taken for, by the first of its series.
pub(crate) fn role_of(sensor: &SensorSeen, series: &SeriesSeen) -> SensorRole {
    let suggested = || suggested_role(series.metric.as_str(), &series.unit, series.quantity);
    sensor.role.or_else(|| SensorRole::recognise(sensor.id.as_str())).or_else(suggested).unwrap_or(SensorRole::Other)
}

/// What a new series of such a sensor is taken for.
pub(crate) fn meaning(series: &SeriesSeen, role: SensorRole) -> Classification {
    let guess = classify(series.metric.as_str(), &series.unit, role);
    Classification { kind: series.kind.unwrap_or(guess.kind), quantity: series.quantity.unwrap_or(guess.quantity) }
}

impl ProviderStore {
    /// Series that one gateway may have. What is latest of each is one row, which
    /// every document of the gateway rewrites.
    pub const SERIES_OF_GATEWAY: usize = 2_000;
    /// Documents that a cluster is given again at once.
    const AGAIN_AT_ONCE: usize = 64;

    /// Writes a document. When this returns, it survives what the ack level
    /// says. A gateway that is not known yet is listed as waiting.
    ///
    /// # Errors
    /// When nothing of it was written; [`StoreError::TooManySeries`] where it
    /// names new series beyond [`Self::SERIES_OF_GATEWAY`].
    pub async fn document_write(&self, document: impl Into<Arc<DocumentWrite>>) -> Result<(), StoreError> {
        let document = document.into();
        match &self.backend {
            Backend::Sqlite(db) => db.write_document(document).await,
            // Boxed: a future of many kilobytes would else be copied for every document.
            Backend::Cassandra(db) => Box::pin(cassandra::document::write(db, &document, self.clock.now())).await,
        }
    }

    /// Writes documents, in their order, that may have been written before: from a
    /// spool, or after an attempt of which nobody knows how it ended. One whose
    /// stamp is not above those of its gateway's other documents is not counted
    /// as a further document.
    ///
    /// # Errors
    /// When they were not all written, as for [`Self::document_write`]; on SQLite
    /// none of them was.
    pub async fn document_write_again(&self, documents: Vec<Arc<DocumentWrite>>) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                let write = move |batch: &mut sqlite::Batch<'_>| sqlite::document::write_again(batch, &documents);
                db.write(write).await
            }
            Backend::Cassandra(db) => {
                // Stamps decide which of equal keys stays, so order is of no account.
                futures_util::stream::iter(documents.into_iter().map(Ok))
                    .try_for_each_concurrent(Self::AGAIN_AT_ONCE, async |document: Arc<DocumentWrite>| {
                        Box::pin(cassandra::document::write_again(db, &document, self.clock.now())).await
                    })
                    .await
            }
        }
    }

    /// Whether [`Self::document_write`] writes this document whole or not at all,
    /// whatever happens meanwhile.
    #[must_use]
    pub fn document_is_atomic(&self, document: &DocumentWrite) -> bool {
        match self.backend {
            Backend::Sqlite(_) => true,
            Backend::Cassandra(_) => cassandra::document::is_atomic(document),
        }
    }

    /// Whether the stamps of documents decide which push of a key is the later one,
    /// in whatever order they are written. Where they don't, the order of writing
    /// decides.
    #[must_use]
    pub const fn orders_by_stamp(&self) -> bool {
        match self.backend {
            Backend::Sqlite(_) => false,
            Backend::Cassandra(_) => true,
        }
    }
}
