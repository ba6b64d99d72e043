//! Rollups: settling what has changed, and reading them within what somebody
//! may see.
//!
//! What has to be read, rolled up and written stands in the modules below, which
//! do neither read nor write; the backends do, as they are told.

pub(crate) mod correct;
pub(crate) mod edges;
pub(crate) mod gather;
pub(crate) mod series;
pub(crate) mod settle;
pub(crate) mod span;
pub(crate) mod view;

use heliograph_domain::{GatewayId, LocalSpan, Rollup, SensorId, SensorRole, SpanStep, TimeWindow, Timestamp};

use crate::error::StoreError;
use crate::sensor::SeriesRecord;
use crate::store::{Backend, ProviderStore};
use crate::{cassandra, sqlite};

/// A series and its 15-minute windows in time order; windows of which nothing
/// is known are not there.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRollups {
    /// The sensor.
    pub sensor: SensorId,
    /// What to call the sensor in front of people.
    pub sensor_name: String,
    /// What the sensor is to its site.
    pub role: SensorRole,
    /// The sensor's rated power in W.
    pub rated_w: Option<f64>,
    /// The series; its latest and first reading as far as they may be seen, the
    /// first one not before what may be seen begins.
    pub series: SeriesRecord,
    /// Its windows.
    pub windows: Vec<WindowRollup>,
}

/// The rollup of one window of 15 minutes, or of the part of it that may be seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowRollup {
    /// When the window begins, a whole quarter of an hour UTC.
    pub start: Timestamp,
    /// Its figures.
    pub rollup: Rollup,
}

/// A series and its local days or months in time order.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSpans {
    /// The sensor.
    pub sensor: SensorId,
    /// The series.
    pub series: SeriesRecord,
    /// Its spans; those of which nothing is known are not there.
    pub spans: Vec<SpanRollup>,
}

/// The rollup of a local day or month: the sum of its windows.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanRollup {
    /// The day or month, cut where the gateway moved to another zone.
    pub span: LocalSpan,
    /// Its figures.
    pub rollup: Rollup,
}

/// What of a gateway figures are made of, for whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sight {
    /// Readings outside of it have no part in any figure.
    pub part: TimeWindow,
    /// All that the reader may see, around `part`. Where `part` ends within it, what is
    /// stored of windows beside that end tells the reader nothing that is not theirs.
    pub all: TimeWindow,
}

impl Sight {
    /// Of everything, for whoever sees everything.
    pub const ALWAYS: Self = Self { part: TimeWindow::ALWAYS, all: TimeWindow::ALWAYS };

    /// A part of what a reader may see; `None` where they share nothing.
    #[must_use]
    pub fn part_of(all: TimeWindow, part: &TimeWindow) -> Option<Self> {
        Some(Self { part: all.intersect(part)?, all })
    }
}

impl From<TimeWindow> for Sight {
    /// All that a reader may see.
    fn from(all: TimeWindow) -> Self {
        Self { part: all, all }
    }
}

/// Whether the windows of a series of a sensor in that role are wanted.
pub type SeriesChoice = fn(SensorRole, &SeriesRecord) -> bool;

impl ProviderStore {
    /// The local days or months of a gateway that begin within a time, computed
    /// anew where readings or its zone have changed. They know nothing of
    /// commissions: they are for the provider's own people.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway.
    pub async fn span_list(
        &self,
        gateway: &GatewayId,
        step: SpanStep,
        within: TimeWindow,
    ) -> Result<Vec<SeriesSpans>, StoreError> {
        let db = match &self.backend {
            Backend::Sqlite(db) => db,
            Backend::Cassandra(db) => return Box::pin(cassandra::span::list(db, gateway, step, within, self.clock.now())).await,
        };
        settle_gateway(db, gateway).await?;
        let asked = gateway.clone();
        if db.read(move |connection| sqlite::span::is_stale(connection, &asked)).await? {
            while resume_spans(db, Some(gateway.clone())).await? > 0 {}
        }
        let asked = gateway.clone();
        db.read(move |connection| sqlite::span::list(connection, &asked, step, within)).await
    }

    /// The rollups of a gateway over a period, computed anew where readings
    /// have changed, as somebody sees them who may see only so much.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway.
    pub async fn rollup_list(
        &self,
        gateway: &GatewayId,
        period: TimeWindow,
        sight: impl Into<Sight> + Send,
    ) -> Result<Vec<SeriesRollups>, StoreError> {
        self.rollups(gateway, period, sight.into(), |_, _| true).await
    }

    /// The rollups of a gateway as the provider's own people see them; only the
    /// series that are `chosen` have windows, which spares reading the others.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such gateway.
    pub async fn rollup_list_of(
        &self,
        gateway: &GatewayId,
        period: TimeWindow,
        chosen: SeriesChoice,
    ) -> Result<Vec<SeriesRollups>, StoreError> {
        self.rollups(gateway, period, Sight::ALWAYS, chosen).await
    }

    /// The rollups of several gateways, each over a period of its own, as
    /// [`Self::rollup_list_of`] gives them of one, read together. They come in the
    /// order in which they were asked for; a gateway that is not there is left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rollup_list_of_many(
        &self,
        asked: Vec<(GatewayId, TimeWindow)>,
        chosen: SeriesChoice,
    ) -> Result<Vec<(GatewayId, Vec<SeriesRollups>)>, StoreError> {
        let db = match &self.backend {
            Backend::Sqlite(db) => db,
            Backend::Cassandra(db) => return Box::pin(cassandra::rollup::list_many(db, asked, chosen, self.clock.now())).await,
        };
        settle_gateways(db, &asked).await?;
        db.read(move |connection| sqlite::rollup::list_many(connection, &asked, chosen)).await
    }

    async fn rollups(
        &self,
        gateway: &GatewayId,
        period: TimeWindow,
        sight: Sight,
        chosen: SeriesChoice,
    ) -> Result<Vec<SeriesRollups>, StoreError> {
        let db = match &self.backend {
            Backend::Sqlite(db) => db,
            Backend::Cassandra(db) => {
                return cassandra::rollup::list(db, gateway, (period, sight), chosen, self.clock.now()).await;
            }
        };
        // Looked at and read at once, for most often nothing is to be settled first.
        let asked = gateway.clone();
        let settled = db.read(move |connection| match sqlite::rollup::is_dirty(connection, &asked)? {
            true => Ok(None),
            false => sqlite::rollup::list(connection, &asked, (period, sight), chosen).map(Some),
        });
        if let Some(rollups) = settled.await? {
            return Ok(rollups);
        }
        settle_gateway(db, gateway).await?;
        let asked = gateway.clone();
        db.read(move |connection| sqlite::rollup::list(connection, &asked, (period, sight), chosen)).await
    }

    /// Computes rollups anew where readings have changed and, once that is done,
    /// days and months of gateways whose zone has; some of it at a time. Answers
    /// how many marks it has cleared, 0 when all is settled.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn rollup_settle(&self) -> Result<usize, StoreError> {
        let db = match &self.backend {
            Backend::Sqlite(db) => db,
            Backend::Cassandra(db) => return cassandra::rollup::settle(db, self.clock.now()).await,
        };
        match settle(db, None).await? {
            0 => resume_spans(db, None).await,
            settled => Ok(settled),
        }
    }

    /// How many marks [`Self::rollup_settle`] leaves for a while although it answers 0:
    /// on a cluster one goes only once it was seen unchanged for long enough. A file
    /// has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rollup_waiting(&self) -> Result<usize, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(0),
            Backend::Cassandra(db) => cassandra::rollup::waiting(db).await,
        }
    }
}

async fn settle_gateway(db: &sqlite::Database, gateway: &GatewayId) -> Result<(), StoreError> {
    let asked = gateway.clone();
    if db.read(move |connection| sqlite::rollup::is_dirty(connection, &asked)).await? {
        while settle(db, Some(gateway.clone())).await? > 0 {}
    }
    Ok(())
}

/// Settles the marks of several gateways, those of many in one transaction.
async fn settle_gateways(db: &sqlite::Database, asked: &[(GatewayId, TimeWindow)]) -> Result<(), StoreError> {
    let gateways: Vec<GatewayId> = asked.iter().map(|(gateway, _)| gateway.clone()).collect();
    let mut dirty = db.read(move |connection| sqlite::rollup::dirty_of(connection, &gateways)).await?;
    while !dirty.is_empty() {
        dirty = db.write(move |batch| sqlite::rollup::settle_some(batch, dirty)).await?;
    }
    Ok(())
}

async fn settle(db: &sqlite::Database, gateway: Option<GatewayId>) -> Result<usize, StoreError> {
    db.write(move |batch| sqlite::rollup::settle(batch, gateway.as_ref())).await
}

async fn resume_spans(db: &sqlite::Database, gateway: Option<GatewayId>) -> Result<usize, StoreError> {
    let resume = move |batch: &mut sqlite::Batch<'_>| match sqlite::quarter::resume(batch, gateway.as_ref())? {
        0 => sqlite::span::resume(batch, gateway.as_ref()),
        packed => Ok(packed),
    };
    db.write(resume).await
}
