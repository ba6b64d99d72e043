//! What the spool asks of the disk, in one place, so that tests can let each of
//! these operations fail.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// EIO, as the kernel numbers it: the disk itself has failed.
pub(crate) const DISK_ERROR: i32 = 5;

/// Does something on the disk, which takes its time, beside everything else.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::other(error)))
}

/// The disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: faults::Faults,
}

impl Disk {
    /// Makes a folder and those above it, for its owner alone. Their names survive a
    /// power loss when this returns, and so does that of the folder above: whoever
    /// made it may have been killed before it was synced.
    pub(crate) fn make_folder(&self, path: &Path) -> Result<()> {
        self.operation("make_folder")?;
        let missing = path.ancestors().take_while(|folder| !folder.exists()).count();
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for above in path.ancestors().skip(1).take(missing.max(2)) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            self.sync_folder(above)?;
        }
        Ok(())
    }

    /// Makes a file that must not be there yet, for its owner alone.
    pub(crate) fn create(&self, path: &Path) -> Result<File> {
        self.operation("create")?;
        OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(path)
    }

    pub(crate) fn write(&self, mut file: &File, bytes: &[u8]) -> Result<()> {
        self.operation("write")?;
        file.write_all(bytes)
    }

    /// Returns when the bytes of a file survive a power loss.
    pub(crate) fn sync(&self, file: &File) -> Result<()> {
        self.operation("sync")?;
        file.sync_data()
    }

    /// Returns when the names in a folder survive a power loss.
    pub(crate) fn sync_folder(&self, path: &Path) -> Result<()> {
        self.operation("sync_folder")?;
        File::open(path)?.sync_all()
    }

    /// What is in a folder, in the order of the names.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        self.operation("list")?;
        let mut paths = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    /// Cuts a file off behind so many bytes.
    pub(crate) fn cut(&self, file: &File, bytes: u64) -> Result<()> {
        self.operation("cut")?;
        file.set_len(bytes)
    }

    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.operation("read")?;
        std::fs::read(path)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.operation("rename")?;
        std::fs::rename(from, to)
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        self.operation("remove")?;
        std::fs::remove_file(path)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests let it fail")]
    const fn operation(&self, _name: &'static str) -> Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn operation(&self, name: &'static str) -> Result<()> {
        self.faults.operation(name)
    }
}

#[cfg(test)]
pub(crate) mod faults {
    use std::collections::HashSet;
    use std::io::{Error, Result};
    use std::sync::{Arc, Mutex};
    use std::thread::ThreadId;

    /// Which operations fail, and which there were.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Faults(Arc<Mutex<State>>);

    #[derive(Debug, Default)]
    struct State {
        seen: Vec<&'static str>,
        threads: HashSet<ThreadId>,
        fail: Option<usize>,
    }

    impl Faults {
        /// Lets the operation after so many more fail, once.
        pub(crate) fn fail_after(&self, operations: usize) {
            let mut state = self.0.lock().unwrap();
            state.fail = Some(state.seen.len() + operations);
        }

        /// The operations since the start.
        pub(crate) fn seen(&self) -> Vec<&'static str> {
            self.0.lock().unwrap().seen.clone()
        }

        /// The threads that have waited for the disk.
        pub(crate) fn threads(&self) -> HashSet<ThreadId> {
            self.0.lock().unwrap().threads.clone()
        }

        pub(super) fn operation(&self, name: &'static str) -> Result<()> {
            let mut state = self.0.lock().unwrap();
            state.threads.insert(std::thread::current().id());
            let number = state.seen.len();
            state.seen.push(name);
            if state.fail == Some(number) { Err(Error::other(format!("{name} fails in this test"))) } else { Ok(()) }
        }
    }
}
