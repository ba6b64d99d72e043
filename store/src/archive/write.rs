//! Writing an archive: rows into compressed members, members into a tar file.

use std::io::Write;

use sha2::{Digest as _, Sha256};

use super::tables::{Cell, Table, to_hex};
use super::trail::ArchivedTrail;
use super::{ArchiveHeader, ArchiveMember, ArchiveStep, ArchiveSummary, Progress, failed, tar};
use crate::error::StoreError;

/// A member is closed when it has this many bytes, compressed: what lies in
/// memory.
const MEMBER_BYTES: usize = 4 << 20;
/// Or this many rows, of which it is looked at whether it has.
const LOOK_AFTER: u64 = 1_000;
/// Rows between two reports of progress.
const REPORT_AFTER: u64 = 10_000;
const LEVEL: i32 = 3;

/// An archive as it is written.
pub(crate) struct ArchiveWriter {
    out: Hashed,
    header: ArchiveHeader,
    members: Vec<ArchiveMember>,
    trail: ArchivedTrail,
    open: Option<OpenMember>,
    progress: Progress,
    step: ArchiveStep,
}

struct OpenMember {
    name: String,
    rows: u64,
    encoder: zstd::Encoder<'static, Vec<u8>>,
}

/// The file, and the digest of all that was written to it.
struct Hashed {
    out: Box<dyn Write + Send>,
    digest: Sha256,
}

impl Hashed {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.out.write_all(bytes).map_err(|error| failed("write", &error))
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(&tar::header(name, bytes.len() as u64)?)?;
        self.write(bytes)?;
        self.write(&vec![0; tar::padding(bytes.len() as u64)])
    }
}

impl ArchiveWriter {
    pub(super) fn new(out: impl Write + Send + 'static, header: ArchiveHeader, progress: Progress) -> Result<Self, StoreError> {
        let mut out = Hashed { out: Box::new(out), digest: Sha256::new() };
        let text = serde_json::to_string(&header).map_err(|error| failed("write header", &error))?;
        out.member("heliograph.json", text.as_bytes())?;
        let step = ArchiveStep { table: "heliograph.json", rows: 1, gateways: None };
        Ok(Self { out, header, members: Vec::new(), trail: ArchivedTrail::default(), open: None, progress, step })
    }

    /// Begins a table; its rows follow.
    pub(crate) fn begin(&mut self, table: &Table) -> Result<(), StoreError> {
        self.close_member()?;
        self.step = ArchiveStep::rows(table, 0);
        (self.progress)(self.step);
        self.open_member(table)
    }

    /// Notes how many gateways of how many are done in the table that was begun.
    pub(crate) fn gateways(&mut self, done: usize, all: usize) {
        self.step.gateways = Some((done, all));
        (self.progress)(self.step);
    }

    /// Adds a row of the table that was begun.
    pub(crate) fn row(&mut self, table: &Table, cells: &[Cell]) -> Result<(), StoreError> {
        let full = |open: &OpenMember| open.rows.is_multiple_of(LOOK_AFTER) && open.encoder.get_ref().len() >= MEMBER_BYTES;
        if self.open.as_ref().is_none_or(full) {
            self.close_member()?;
            self.open_member(table)?;
        }
        self.trail.take(table, cells);
        let values: Vec<serde_json::Value> = cells.iter().map(Cell::to_json).collect();
        self.line(&serde_json::Value::from(values))?;
        self.step.rows += 1;
        if self.step.rows.is_multiple_of(REPORT_AFTER) {
            (self.progress)(self.step);
        }
        if let Some(open) = &mut self.open {
            open.rows += 1;
        }
        Ok(())
    }

    fn line(&mut self, value: &serde_json::Value) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        writeln!(open.encoder, "{value}").map_err(|error| failed("compress", &error))
    }

    fn open_member(&mut self, table: &Table) -> Result<(), StoreError> {
        let earlier = self.members.iter().filter(|member| member.name.split('/').next() == Some(table.name)).count();
        let name = format!("{}/{:05}.jsonl.zst", table.name, earlier + 1);
        let encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|error| failed("compress", &error))?;
        self.open = Some(OpenMember { name, rows: 0, encoder });
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        self.line(&columns.into())
    }

    fn close_member(&mut self) -> Result<(), StoreError> {
        let Some(OpenMember { name, rows, encoder }) = self.open.take() else { return Ok(()) };
        let bytes = encoder.finish().map_err(|error| failed("compress", &error))?;
        self.out.member(&name, &bytes)?;
        let sha256 = to_hex(&Sha256::digest(&bytes));
        self.members.push(ArchiveMember { name, bytes: bytes.len() as u64, sha256, rows });
        Ok(())
    }

    /// Writes the list of members and the digest of all before it.
    pub(super) fn finish(mut self) -> Result<ArchiveSummary, StoreError> {
        self.close_member()?;
        let manifest = serde_json::to_vec(&self.members).map_err(|error| failed("write manifest", &error))?;
        self.out.member("manifest.json", &manifest)?;
        let digest = format!("{}\n", to_hex(&self.out.digest.clone().finalize()));
        self.out.member("digest.sha256", digest.as_bytes())?;
        self.out.write(&[0; 2 * tar::BLOCK])?;
        self.out.out.flush().map_err(|error| failed("write", &error))?;
        Ok(ArchiveSummary { header: self.header, members: self.members, audit: self.trail.end() })
    }
}
