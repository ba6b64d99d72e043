//! Taking over what other processes have left in their folders of the spool.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::disk::{Disk, blocking};
use super::folder::{Folder, Found};
use super::task::SpoolTask;

/// How often other processes' folders are looked for.
pub(super) const ADOPT: Duration = Duration::from_secs(5);

impl SpoolTask {
    /// Takes other processes' folders over and, where one holds segments, puts the
    /// spool into use before anything new is written. The segments are read later.
    pub(super) async fn find_what_is_left(&mut self) {
        let (root, disk) = (self.place.root.clone(), self.place.disk.clone());
        let found = blocking(move || {
            disk.make_folder(&root)?;
            look(&disk, &root, &[])
        });
        match found.await {
            Ok((folders, left)) => {
                if left {
                    self.shared.gate.begin();
                    tracing::info!(folder = %self.place.root.display(), "spool holds documents of an earlier run, they drain first");
                }
                let disk = self.place.disk.clone();
                self.adopting = Some(tokio::task::spawn_blocking(move || read_folders(&disk, folders)));
            }
            Err(error) => {
                tracing::error!(%error, folder = %self.place.root.display(), "spool folder cannot be used: while the store is away nothing is taken");
            }
        }
    }

    /// Leaves a folder of another process once its last segment is gone.
    pub(super) async fn leave_folder_of(&mut self, segment: &Path) {
        let of = |other: &Path| other.parent() == segment.parent();
        if self.backlog.iter().any(|segment| of(&segment.path)) {
            return;
        }
        let place = self.adopted.iter().position(|folder| Some(folder.path.as_path()) == segment.parent());
        if let Some(place) = place {
            let folder = self.adopted.swap_remove(place);
            self.leave_adopted(folder).await;
        }
    }

    async fn leave_adopted(&mut self, folder: Folder) {
        let disk = self.place.disk.clone();
        let left = blocking(move || Ok(folder.leave(&disk))).await;
        self.adopted.extend(left.ok().flatten());
    }

    /// Looks for folders that others have left, now and then, and once more for what
    /// could not be read before.
    pub(super) async fn begin_adoption(&mut self) {
        if self.adopting.is_some() || Instant::now() < self.adopt_at {
            return;
        }
        self.adopt_at = Instant::now() + ADOPT;
        let ours = self.folder.iter().chain(&self.adopted).chain(&self.unread);
        let ours = ours.map(|folder| folder.path.clone()).collect::<Vec<_>>();
        let (root, disk) = (self.place.root.clone(), self.place.disk.clone());
        // Looking is quick; where there is something, the next turn waits for it.
        let found = blocking(move || look(&disk, &root, &ours)).await;
        let (mut folders, left) = found.unwrap_or_else(|error| {
            tracing::debug!(%error, "spool folder cannot be looked at");
            (Vec::new(), false)
        });
        if left {
            tracing::info!(folders = folders.len(), "adopting what another replica has left in its spool");
            self.shared.gate.begin();
        }
        folders.append(&mut self.unread);
        if !folders.is_empty() {
            let disk = self.place.disk.clone();
            self.adopting = Some(tokio::task::spawn_blocking(move || read_folders(&disk, folders)));
        }
    }

    fn knows(&self, path: &Path) -> bool {
        self.backlog.iter().any(|known| known.path == path) || self.draining.as_ref().is_some_and(|known| known.path == path)
    }

    /// Takes over what was found.
    pub(super) async fn end_adoption(&mut self, adopted: Adopted) {
        self.adopting = None;
        match adopted {
            Ok(folders) => {
                let mut found = VecDeque::new();
                for (folder, Found { mut segments, again }) in folders {
                    // Of a folder that is looked through once more some are known.
                    segments.retain(|segment| !self.knows(&segment.path));
                    if again {
                        self.unread.push(folder);
                    } else if segments.is_empty() {
                        // What cannot be drained stays ours, so that it is looked at once.
                        self.leave_adopted(folder).await;
                    } else {
                        self.adopted.push(folder);
                    }
                    found.extend(segments);
                }
                // What others have left is older than what is ours.
                found.append(&mut self.backlog);
                self.backlog = found;
            }
            Err(error) => tracing::error!(%error, "what another replica has left cannot be read, it stays where it is"),
        }
    }
}

/// Folders of others, and what is in them.
pub(super) type Adopted = io::Result<Vec<(Folder, Found)>>;

pub(super) async fn join_adoption(adopting: &mut Option<JoinHandle<Adopted>>) -> Adopted {
    match adopting {
        Some(task) => task.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

/// Takes folders that nobody holds; tells whether one of them holds something.
fn look(disk: &Disk, root: &Path, except: &[PathBuf]) -> io::Result<(Vec<Folder>, bool)> {
    let folders = Folder::adopt(disk, root, except)?;
    let left = folders.iter().any(|folder| folder.holds_segments(disk));
    Ok((folders, left))
}

fn read_folders(disk: &Disk, folders: Vec<Folder>) -> Adopted {
    folders.into_iter().map(|folder| folder.segments(disk).map(|found| (folder, found))).collect()
}
