//! Reading an archive: every byte is hashed on its way, and nothing that was
//! changed, cut or added passes the end.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use sha2::{Digest as _, Sha256};

use super::tables::{Cell, Table, to_hex};
use super::trail::ArchivedTrail;
use super::{ArchiveHeader, ArchiveMember, ArchiveSummary, FORMAT, VERSION, failed, tar};
use crate::error::StoreError;

/// A member is at most this large: larger ones are not ours.
const MEMBER_BYTES: u64 = 256 << 20;
/// A line is at most this long.
const LINE_BYTES: u64 = 64 << 20;

/// An archive as it is read.
pub(crate) struct ArchiveReader<R> {
    archive: R,
    digest: Sha256,
    header: ArchiveHeader,
    members: Vec<ArchiveMember>,
    /// Whether the list of members came and was right.
    listed: bool,
    trail: ArchivedTrail,
}

fn broken(problem: &str) -> StoreError {
    StoreError::Archive(format!("it is broken: {problem}"))
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the first member.
    pub(super) fn open(archive: R) -> Result<Self, StoreError> {
        let (format, nobody) = (FORMAT.to_owned(), heliograph_domain::ProviderId::parse("0")?);
        let header = ArchiveHeader { format, version: VERSION, provider: nobody, created: heliograph_domain::Timestamp::MIN };
        let mut reader =
            Self { archive, digest: Sha256::new(), header, members: Vec::new(), listed: false, trail: ArchivedTrail::default() };
        let (name, bytes) = reader.member().map_err(|_| StoreError::Archive("it is not an archive of this kind".to_owned()))?;
        let version = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok()?.get("version")?.as_u64();
        if name != "heliograph.json" {
            return Err(StoreError::Archive("it is not an archive of this kind".to_owned()));
        }
        if version(&bytes).is_some_and(|version| version > u64::from(VERSION)) {
            return Err(StoreError::Archive("it was written by a newer release: upgrade this one".to_owned()));
        }
        reader.header = serde_json::from_slice(&bytes).map_err(|_| broken("its header cannot be read"))?;
        if reader.header.format != FORMAT || reader.header.version != VERSION {
            return Err(StoreError::Archive("it is not an archive of this kind".to_owned()));
        }
        Ok(reader)
    }

    /// Gives every row to `take`, with its table and how many of it there were.
    pub(super) fn rows(
        &mut self,
        mut take: impl FnMut(&'static Table, u64, Vec<Cell>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rows = (None, 0);
        loop {
            let (name, bytes) = self.member()?;
            if name == "manifest.json" {
                let listed: Vec<ArchiveMember> =
                    serde_json::from_slice(&bytes).map_err(|_| broken("its list of members cannot be read"))?;
                self.listed = listed == self.members;
                return if self.listed { Ok(()) } else { Err(broken("its members are not those of its list")) };
            }
            let table = name.split('/').next().and_then(Table::find);
            let table = table.ok_or_else(|| broken("it has a member of an unknown name"))?;
            if rows.0 != Some(table.name) {
                rows = (Some(table.name), 0);
            }
            let before = rows.1;
            lines(table, &bytes, |cells| {
                rows.1 += 1;
                self.trail.take(table, &cells);
                take(table, rows.1, cells)
            })?;
            let sha256 = to_hex(&Sha256::digest(&bytes));
            self.members.push(ArchiveMember { name, bytes: bytes.len() as u64, sha256, rows: rows.1 - before });
        }
    }

    /// Reads the digest and the end.
    pub(super) fn finish(mut self) -> Result<ArchiveSummary, StoreError> {
        let expected = format!("{}\n", to_hex(&self.digest.clone().finalize()));
        let (name, bytes) = self.member()?;
        if !self.listed || name != "digest.sha256" || bytes != expected.as_bytes() {
            return Err(broken("it does not match its digest"));
        }
        let mut end = Vec::new();
        let limit = 4 * tar::BLOCK as u64;
        self.archive.by_ref().take(limit).read_to_end(&mut end).map_err(|error| failed("read", &error))?;
        if end.len() != 2 * tar::BLOCK || end.iter().any(|byte| *byte != 0) {
            return Err(broken("it has no proper end"));
        }
        Ok(ArchiveSummary { header: self.header, members: self.members, audit: self.trail.end() })
    }

    fn member(&mut self) -> Result<(String, Vec<u8>), StoreError> {
        let mut block = [0; tar::BLOCK];
        self.fill(&mut block)?;
        let (name, size) = tar::parse(&block).ok_or_else(|| broken("a member's header is not as it was written"))?;
        if size > MEMBER_BYTES {
            return Err(broken("a member is larger than any"));
        }
        let mut bytes = Vec::new();
        self.archive.by_ref().take(size).read_to_end(&mut bytes).map_err(|error| failed("read", &error))?;
        if bytes.len() as u64 != size {
            return Err(broken("it is cut"));
        }
        self.digest.update(&bytes);
        let mut padding = vec![0; tar::padding(size)];
        self.fill(&mut padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(broken("it does not match its digest"));
        }
        Ok((name, bytes))
    }

    fn fill(&mut self, block: &mut [u8]) -> Result<(), StoreError> {
        self.archive.read_exact(block).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => broken("it is cut"),
            _ => failed("read", &error),
        })?;
        self.digest.update(&*block);
        Ok(())
    }
}

/// The rows of a member.
fn lines(table: &Table, bytes: &[u8], mut take: impl FnMut(Vec<Cell>) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let unreadable = |_| broken("a member cannot be decompressed");
    let mut text = BufReader::new(zstd::Decoder::new(bytes).map_err(unreadable)?);
    let (mut line, mut first) = (String::new(), true);
    loop {
        line.clear();
        if text.by_ref().take(LINE_BYTES).read_line(&mut line).map_err(unreadable)? == 0 {
            return if first { Err(broken("a member has no columns")) } else { Ok(()) };
        }
        if first {
            let names: Vec<String> = serde_json::from_str(&line).map_err(|_| broken("a member has no columns"))?;
            if !names.iter().eq(table.columns.iter().map(|(name, _)| name)) {
                return Err(broken("a member has other columns than its table"));
            }
            first = false;
        } else {
            take(table.parse(&line)?)?;
        }
    }
}
