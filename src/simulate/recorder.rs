//! The journal's writing side: one task, one sync for as many entries as wait.

use std::fs::File;
use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::journal::Entry;

/// Entries that may wait.
const WAITING: usize = 4096;

/// Where gateways write to.
#[derive(Debug, Clone)]
pub(super) struct Recorder(mpsc::Sender<(Entry, oneshot::Sender<()>)>);

impl Recorder {
    /// Writes until every handle is gone. A journal that cannot be written ends the
    /// task, and with it the run.
    pub(super) fn start(mut file: File) -> (Self, JoinHandle<io::Result<()>>) {
        let (sender, mut waiting) = mpsc::channel::<(Entry, oneshot::Sender<()>)>(WAITING);
        let task = tokio::task::spawn_blocking(move || {
            while let Some(first) = waiting.blocking_recv() {
                let (mut lines, mut written) = (first.0.line()?, vec![first.1]);
                while let Ok((entry, told)) = waiting.try_recv() {
                    lines.extend(entry.line()?);
                    written.push(told);
                }
                file.write_all(&lines)?;
                file.sync_data()?;
                for told in written {
                    // Who does not wait any more needs no word.
                    let _ = told.send(());
                }
            }
            Ok(())
        });
        (Self(sender), task)
    }

    /// Whether the journal takes nothing any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Writes an entry down; `false` where the journal takes nothing any more.
    pub(super) async fn write(&self, entry: Entry) -> bool {
        let (told, written) = oneshot::channel();
        self.0.send((entry, told)).await.is_ok() && written.await.is_ok()
    }
}
