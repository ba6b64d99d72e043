//! Folders of replicas below the spool folder: each belongs to whoever holds the
//! lock on a file in it. A process that ends, however, leaves a folder whose lock
//! is free, and another one adopts it.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::disk::{DISK_ERROR, Disk};
use super::segment::{EXTENSION, Segment};

const LOCK: &str = "lock";

/// What is in a folder.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) segments: Vec<Segment>,
    /// Whether some could not be read now, for want of resources say: they are to be
    /// looked for again.
    pub(crate) again: bool,
}

/// A folder that this process owns until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes a folder of our own.
    pub(crate) fn claim(disk: &Disk, root: &Path, name: &str) -> io::Result<Self> {
        let path = root.join(name);
        disk.make_folder(&path)?;
        Self::make(disk, root, &path).inspect_err(|_| {
            drop(std::fs::remove_file(path.join(LOCK)));
            drop(std::fs::remove_dir(&path));
        })
    }

    fn make(disk: &Disk, root: &Path, path: &Path) -> io::Result<Self> {
        disk.sync_folder(root)?;
        let lock = disk.create(&path.join(LOCK))?;
        // Whoever looks for abandoned folders may have been quicker.
        Self::locked(path.to_owned(), lock)?
            .ok_or_else(|| io::Error::other("another replica has taken the folder that was just made"))
    }

    /// Takes what other processes have left; of several that try, one gets it.
    pub(crate) fn adopt(disk: &Disk, root: &Path, except: &[PathBuf]) -> io::Result<Vec<Self>> {
        let mut folders = Vec::new();
        for path in disk.list(root)? {
            if !path.is_dir() || except.contains(&path) {
                continue;
            }
            let opened = File::options().create(true).truncate(false).write(true).open(path.join(LOCK));
            match opened.and_then(|lock| Self::locked(path.clone(), lock)) {
                Ok(Some(folder)) => folders.push(folder),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, folder = %path.display(), "spool folder cannot be looked at"),
            }
        }
        Ok(folders)
    }

    fn locked(path: PathBuf, lock: File) -> io::Result<Option<Self>> {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The folder may have been emptied and removed since the file was opened.
        let (held, there) = (lock.metadata()?, std::fs::metadata(path.join(LOCK)));
        let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
        Ok(same.then_some(Self { path, _lock: lock }))
    }

    /// Whether there is anything to drain, or may be.
    pub(crate) fn holds_segments(&self, disk: &Disk) -> bool {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == EXTENSION);
        disk.list(&self.path).map_or(true, |paths| paths.iter().any(is_segment))
    }

    /// Its segments, the oldest first. One of another release stays where it is, and
    /// so does one that cannot be read.
    pub(crate) fn segments(&self, disk: &Disk) -> io::Result<Found> {
        let mut found = Found { segments: Vec::new(), again: false };
        for path in disk.list(&self.path)? {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            match Segment::found(disk, &path) {
                Ok(Some(segment)) => found.segments.push(segment),
                Ok(None) if extension.starts_with("spool") && extension != EXTENSION => {
                    tracing::error!(segment = %path.display(), "segment was written by another release, which has to drain it");
                }
                Ok(None) => {}
                Err(error) if error.raw_os_error() == Some(DISK_ERROR) => {
                    tracing::error!(%error, segment = %path.display(), "segment cannot be read, it stays where it is");
                }
                Err(error) => {
                    tracing::warn!(%error, segment = %path.display(), "segment cannot be read now");
                    found.again = true;
                }
            }
        }
        Ok(found)
    }

    /// Removes the folder where nothing is left in it; else gives it back.
    pub(crate) fn leave(self, disk: &Disk) -> Option<Self> {
        let is_lock = |path: &PathBuf| path.file_name().is_some_and(|name| name == LOCK);
        if !disk.list(&self.path).is_ok_and(|left| left.iter().all(is_lock)) {
            return Some(self);
        }
        drop(std::fs::remove_file(self.path.join(LOCK)));
        drop(std::fs::remove_dir(&self.path));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_adopted_once_and_only_when_its_owner_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let first = Folder::claim(&disk, root.path(), "a").unwrap();
        std::fs::write(first.path.join("something"), "left").unwrap();
        assert!(Folder::adopt(&disk, root.path(), &[]).unwrap().is_empty());
        drop(first);
        let adopted = Folder::adopt(&disk, root.path(), &[]).unwrap();
        assert_eq!(adopted.len(), 1);
        assert!(Folder::adopt(&disk, root.path(), &[]).unwrap().is_empty());
        assert!(adopted.into_iter().all(|folder| folder.leave(&disk).is_some()));
        assert!(root.path().join("a/something").exists());
        std::fs::remove_file(root.path().join("a/something")).unwrap();
        let adopted = Folder::adopt(&disk, root.path(), &[]).unwrap();
        assert!(adopted.into_iter().all(|folder| folder.leave(&disk).is_none()));
        assert!(!root.path().join("a").exists());
    }

    #[test]
    fn of_many_that_adopt_at_once_one_wins() {
        let (root, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        for round in 0..50 {
            drop(Folder::claim(&disk, root.path(), "left").unwrap());
            let winners: usize = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| Folder::adopt(&disk, root.path(), &[]).unwrap())).collect();
                let adopted: Vec<Vec<Folder>> = tries.into_iter().map(|adopting| adopting.join().unwrap()).collect();
                adopted.iter().map(Vec::len).sum()
            });
            assert_eq!(winners, 1, "round {round}");
            assert!(Folder::adopt(&disk, root.path(), &[]).unwrap().into_iter().all(|folder| folder.leave(&disk).is_none()));
        }
    }
}
