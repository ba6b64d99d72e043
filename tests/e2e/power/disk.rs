//! A folder on a disk that may lose power: what was synced stays, of the rest
//! any part does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::recording::Event;

/// What a disk writes at once, or not at all.
const SECTOR: usize = 512;

/// Files and folders, by their path below the folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    files: Vec<File>,
    /// What a process sees.
    names: Names,
    /// What is found after a power loss, at least.
    durable_names: Names,
    /// Changes of names since, in order, with the folder each is in.
    changes: Vec<(PathBuf, Change)>,
    /// Syncs under way: what they will have made durable.
    syncs: BTreeMap<u64, Covered>,
}

/// `None` is a folder.
type Names = BTreeMap<PathBuf, Option<usize>>;

#[derive(Debug, Clone)]
enum Change {
    Made(PathBuf, Option<usize>),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf),
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Rc<Vec<u8>>,
    /// Since, in order.
    pending: Vec<Op>,
    /// Pending operations that were made durable so far, over its life.
    done: usize,
    /// How far writes reached that were given up.
    forgotten: usize,
}

#[derive(Debug, Clone)]
enum Op {
    Write(usize, Rc<[u8]>),
    Resize(usize),
}

#[derive(Debug, Clone)]
enum Covered {
    /// A file's operations up to this many over its life.
    File(usize, usize),
    Folder(PathBuf),
}

impl Disk {
    /// A folder as it is, all of it durable.
    pub(super) fn of(folder: &Path) -> Self {
        let mut disk = Self::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(folder).unwrap().to_owned();
                if path.is_dir() {
                    disk.names.insert(name, None);
                    folders.push(path);
                } else {
                    disk.names.insert(name, Some(disk.files.len()));
                    disk.files.push(File { durable: Rc::new(std::fs::read(&path).unwrap()), ..File::default() });
                }
            }
        }
        disk.durable_names = disk.names.clone();
        disk
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Acked { .. } => {}
            Event::Opened { path, truncated } => match self.names.get(path) {
                Some(Some(file)) if *truncated => self.files[*file].pending.push(Op::Resize(0)),
                Some(_) => {}
                None => {
                    self.files.push(File::default());
                    self.change(path, Change::Made(path.clone(), Some(self.files.len() - 1)));
                }
            },
            Event::FolderMade { path } => self.change(path, Change::Made(path.clone(), None)),
            Event::Removed { path } => self.change(path, Change::Removed(path.clone())),
            Event::Renamed { from, to } => self.change(to, Change::Renamed(from.clone(), to.clone())),
            Event::Written { path, offset, data } => {
                let offset = offset.unwrap_or_else(|| self.length(path));
                self.push(path, Op::Write(offset, Rc::clone(data)));
            }
            Event::Resized { path, length } => self.push(path, Op::Resize(*length)),
            Event::SyncBegins { id, path } => {
                let covered = match self.names.get(path) {
                    Some(Some(file)) => Covered::File(*file, self.files[*file].done + self.files[*file].pending.len()),
                    _ => Covered::Folder(path.clone()),
                };
                self.syncs.insert(*id, covered);
            }
            Event::SyncFails { id } => {
                if let Some(Covered::File(file, until)) = self.syncs.remove(id) {
                    self.files[file].forget(until);
                }
            }
            Event::SyncEnds { id } => match self.syncs.remove(id) {
                Some(Covered::File(file, until)) => self.files[file].sync(until),
                Some(Covered::Folder(path)) => {
                    let changes = std::mem::take(&mut self.changes);
                    for (folder, change) in changes {
                        if folder == path {
                            change.apply(&mut self.durable_names);
                        } else {
                            self.changes.push((folder, change));
                        }
                    }
                }
                None => {}
            },
        }
    }

    /// How long a process sees a file to be.
    fn length(&self, path: &Path) -> usize {
        let Some(Some(file)) = self.names.get(path) else { return 0 };
        let file = &self.files[*file];
        file.pending.iter().fold(file.durable.len().max(file.forgotten), |length, op| match op {
            Op::Write(offset, data) => length.max(offset + data.len()),
            Op::Resize(length) => *length,
        })
    }

    /// What is written to a file without a name is of no consequence.
    fn push(&mut self, path: &Path, op: Op) {
        if let Some(Some(file)) = self.names.get(path) {
            self.files[*file].pending.push(op);
        }
    }

    fn change(&mut self, path: &Path, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push((path.parent().unwrap().to_owned(), change));
    }

    /// Writes what is left into an empty folder. Names change in order, so that
    /// some of the last changes are missing; of the bytes any sectors are.
    pub(super) fn lose_power(mut self, folder: &Path, random: &mut StdRng) {
        let kept = random.random_range(0..=self.changes.len());
        for (_, change) in self.changes.drain(..kept) {
            change.apply(&mut self.durable_names);
        }
        self.leave(folder, |file| file.left(random));
    }

    /// Writes what was synced into an empty folder, and nothing else.
    pub(super) fn keep_synced(&self, folder: &Path) {
        self.leave(folder, |file| Vec::clone(&file.durable));
    }

    fn leave(&self, folder: &Path, mut bytes: impl FnMut(&File) -> Vec<u8>) {
        for (path, file) in &self.durable_names {
            let path = folder.join(path);
            // What is in a folder that is not there is not there either.
            if !path.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match file {
                Some(file) => std::fs::write(path, bytes(&self.files[*file])).unwrap(),
                None => std::fs::create_dir(path).unwrap(),
            }
        }
    }
}

impl Change {
    fn apply(self, names: &mut Names) {
        match self {
            Self::Made(path, file) => drop(names.insert(path, file)),
            Self::Removed(path) => drop(names.remove(&path)),
            Self::Renamed(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
        }
    }
}

impl File {
    /// A write that failed to reach the disk is not tried again by a later sync.
    fn forget(&mut self, until: usize) {
        let count = self.covered(until);
        for op in self.pending.drain(..count) {
            if let Op::Write(offset, data) = op {
                self.forgotten = self.forgotten.max(offset + data.len());
            }
        }
        self.done += count;
    }

    /// How many of the pending operations are among the first `until` of its life.
    fn covered(&self, until: usize) -> usize {
        until.saturating_sub(self.done).min(self.pending.len())
    }

    fn sync(&mut self, until: usize) {
        let count = self.covered(until);
        let durable = Rc::make_mut(&mut self.durable);
        for op in self.pending.drain(..count) {
            op.apply(durable, |_| true);
        }
        self.done += count;
    }

    fn left(&self, random: &mut StdRng) -> Vec<u8> {
        let mut bytes = Vec::clone(&self.durable);
        // Nothing, all, whole operations, single sectors, or all up to one.
        let manner = random.random_range(0..5);
        let last = random.random_range(0..=self.pending.len());
        for (number, op) in self.pending.iter().enumerate() {
            let whole: bool = random.random();
            let mut kept = |_: usize| match manner {
                0 => false,
                1 => true,
                2 => whole,
                3 => random.random(),
                _ => number < last || (number == last && random.random()),
            };
            op.apply(&mut bytes, &mut kept);
        }
        bytes
    }
}

impl Op {
    /// Applies the sectors that are kept; a length is kept or not as one.
    fn apply(&self, bytes: &mut Vec<u8>, mut kept: impl FnMut(usize) -> bool) {
        match self {
            Self::Resize(length) => {
                if kept(0) {
                    bytes.resize(*length, 0);
                }
            }
            Self::Write(offset, data) => {
                let mut from = 0;
                while from < data.len() {
                    let sector = (offset + from) / SECTOR;
                    let until = ((sector + 1) * SECTOR - offset).min(data.len());
                    if kept(sector) {
                        if bytes.len() < offset + until {
                            bytes.resize(offset + until, 0);
                        }
                        bytes[offset + from..offset + until].copy_from_slice(&data[from..until]);
                    }
                    from = until;
                }
            }
        }
    }
}
