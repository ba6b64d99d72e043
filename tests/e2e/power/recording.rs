//! What a process does to its files and what it answers, as strace sees it.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use crate::binary::HELIOGRAPH;

/// What changes files, and what answers. Memory maps are not seen: SQLite writes
/// only its `-shm` file that way, which nothing is read from after a power loss.
const CALLS: &str = "open,openat,creat,mkdir,mkdirat,unlink,unlinkat,rmdir,rename,renameat,renameat2,link,linkat,write,pwrite64,\
                     writev,pwritev,pwritev2,ftruncate,fallocate,lseek,fsync,fdatasync,sync_file_range,copy_file_range,sendto,sendmsg";

/// Paths are those below the recorded folder.
#[derive(Debug)]
pub(super) enum Event {
    Opened {
        path: PathBuf,
        truncated: bool,
    },
    FolderMade {
        path: PathBuf,
    },
    Removed {
        path: PathBuf,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    /// At the end of the file where there is no offset.
    Written {
        path: PathBuf,
        offset: Option<usize>,
        data: Rc<[u8]>,
    },
    Resized {
        path: PathBuf,
        length: usize,
    },
    SyncBegins {
        id: u64,
        path: PathBuf,
    },
    SyncEnds {
        id: u64,
    },
    /// What it covered is taken for written by the kernel, and need not be.
    SyncFails {
        id: u64,
    },
    /// An ack has begun to leave.
    Acked {
        seq: String,
    },
}

#[derive(Debug)]
pub(super) struct Recording {
    pub(super) events: Vec<Event>,
}

impl Recording {
    /// How often files were synced whose names end so.
    pub(super) fn syncs(&self, suffix: &str) -> usize {
        let synced = |event: &&Event| matches!(event, Event::SyncBegins { path, .. } if path.to_string_lossy().ends_with(suffix));
        self.events.iter().filter(synced).count()
    }

    /// Where syncs of files failed whose names end so.
    pub(super) fn failed_syncs(&self, suffix: &str) -> Vec<usize> {
        let mut begun = HashSet::new();
        let mut failed = Vec::new();
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::SyncBegins { id, path } if path.to_string_lossy().ends_with(suffix) => drop(begun.insert(id)),
                Event::SyncFails { id } if begun.contains(id) => failed.push(at),
                _ => {}
            }
        }
        failed
    }

    /// Documents acked from an event on.
    pub(super) fn acked_after(&self, at: usize) -> usize {
        self.acks_after(at).count()
    }

    /// Where acks have left from an event on.
    pub(super) fn acks_after(&self, at: usize) -> impl DoubleEndedIterator<Item = usize> {
        (at..self.events.len()).filter(|at| matches!(self.events[*at], Event::Acked { .. }))
    }

    /// What was written to files whose names end so, between the sync before and one that
    /// failed; with it where that was.
    pub(super) fn written_for_failed_syncs(&self, suffix: &str) -> Vec<(usize, Vec<Rc<[u8]>>)> {
        let is_one = |path: &Path| path.to_string_lossy().ends_with(suffix);
        let (mut written, mut begun, mut failed) = (Vec::new(), HashMap::new(), Vec::new());
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Written { path, data, .. } if is_one(path) => written.push(Rc::clone(data)),
                Event::SyncBegins { id, path } if is_one(path) => drop(begun.insert(*id, std::mem::take(&mut written))),
                Event::SyncFails { id } => failed.extend(begun.remove(id).map(|written| (at, written))),
                _ => {}
            }
        }
        failed
    }
}

/// A process under strace.
pub(super) struct Tracer {
    strace: Child,
    output: PathBuf,
}

/// Starts a role under strace, in which calls may fail, with settings from the
/// environment.
pub(super) fn start(arguments: &[&str], settings: &[(&str, &str)], failure: Option<&str>, folder: &Path) -> Tracer {
    let output = folder.join("strace.txt");
    let strace = Command::new("strace")
        .args(failure.iter().flat_map(|failure| ["-e".to_owned(), format!("inject={failure}")]))
        .args(["-f", "-qq", "-y", "-xx", "-s", "16777216", "-e", &format!("trace={CALLS}"), "-e", "signal=none", "-o"])
        .arg(&output)
        .arg("--")
        .arg(HELIOGRAPH)
        .args(arguments)
        .envs(settings.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("strace does not run ({error}); install it: deploy/dev/install.sh"));
    Tracer { strace, output }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

impl Tracer {
    /// Asks the process to end, and reads what it did below a folder.
    pub(super) fn finish(mut self, folder: &Path) -> Recording {
        // The only child of strace is what it runs.
        let children = format!("/proc/{0}/task/{0}/children", self.strace.id());
        let child = std::fs::read_to_string(children).unwrap();
        assert!(Command::new("kill").args(["-TERM", child.trim()]).status().unwrap().success());
        assert!(self.strace.wait().unwrap().success());
        let mut reader =
            Reader { folder: folder.to_owned(), files: HashMap::new(), unfinished: HashMap::new(), syncs: 0, events: Vec::new() };
        let lines = BufReader::new(std::fs::File::open(&self.output).unwrap());
        for line in lines.lines() {
            reader.line(&line.unwrap());
        }
        Recording { events: reader.events }
    }
}

struct Reader {
    folder: PathBuf,
    /// Open files below the folder, by descriptor: path, position, whether appended to.
    files: HashMap<u32, (PathBuf, usize, bool)>,
    /// By thread, what it has begun.
    unfinished: HashMap<String, (String, Option<u64>)>,
    syncs: u64,
    events: Vec<Event>,
}

impl Reader {
    /// A call counts when it returns, save that an ack may have left as soon as it
    /// is written, and that a sync covers what was there when it began.
    fn line(&mut self, line: &str) {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if call.starts_with("+++") || call.starts_with("---") {
            return;
        }
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            let sync = self.begin(begun);
            self.unfinished.insert(thread.to_owned(), (begun.to_owned(), sync));
        } else if let Some(resumed) = call.strip_prefix("<... ") {
            let (begun, sync) = self.unfinished.remove(thread).unwrap();
            let rest = resumed.split_once(" resumed>").unwrap().1;
            self.end(&format!("{begun}{rest}"), sync);
        } else {
            let sync = self.begin(call);
            self.end(call, sync);
        }
    }

    fn begin(&mut self, call: &str) -> Option<u64> {
        let (name, arguments) = call.split_once('(').unwrap();
        match name {
            "sendto" | "sendmsg" | "write" | "writev" => {
                let sent = String::from_utf8_lossy(&strings(arguments).concat()).into_owned();
                for ack in sent.split("<ack seq=\"").skip(1) {
                    self.events.push(Event::Acked { seq: ack.split('"').next().unwrap().to_owned() });
                }
                None
            }
            "fsync" | "fdatasync" => {
                let path = self.below(&described(arguments)?.1)?;
                self.syncs += 1;
                self.events.push(Event::SyncBegins { id: self.syncs, path });
                Some(self.syncs)
            }
            _ => None,
        }
    }

    fn end(&mut self, call: &str, sync: Option<u64>) {
        let (name, rest) = call.split_once('(').unwrap();
        let (arguments, result) = rest.rsplit_once(" = ").unwrap();
        let arguments = arguments.trim_end().trim_end_matches(')');
        if result.starts_with('-') || result.starts_with('?') {
            self.extend(sync.map(|id| Event::SyncFails { id }));
            return;
        }
        let texts = || strings(arguments);
        let path = |index: usize| PathBuf::from(String::from_utf8(texts()[index].clone()).unwrap());
        match name {
            "open" | "openat" | "creat" => self.opened(&path(0), arguments, result),
            "mkdir" | "mkdirat" => self.extend(self.below(&path(0)).map(|path| Event::FolderMade { path })),
            "unlink" | "unlinkat" | "rmdir" => self.extend(self.below(&path(0)).map(|path| Event::Removed { path })),
            "rename" | "renameat" | "renameat2" => {
                if let (Some(from), Some(to)) = (self.below(&path(0)), self.below(&path(1))) {
                    // Whoever has it open writes to it under its new name.
                    self.files.values_mut().filter(|file| file.0 == from).for_each(|file| file.0.clone_from(&to));
                    self.events.push(Event::Renamed { from, to });
                }
            }
            "fsync" | "fdatasync" => self.extend(sync.map(|id| Event::SyncEnds { id })),
            "sendto" | "sendmsg" => {}
            _ => self.changed(name, arguments, result),
        }
    }

    fn opened(&mut self, path: &Path, arguments: &str, result: &str) {
        let Some((descriptor, _)) = described(result) else { return };
        let Some(path) = self.below(path) else {
            self.files.remove(&descriptor);
            return;
        };
        if !path.as_os_str().is_empty() && arguments.contains("O_CREAT") || arguments.contains("O_TRUNC") {
            self.events.push(Event::Opened { path: path.clone(), truncated: arguments.contains("O_TRUNC") });
        }
        self.files.insert(descriptor, (path, 0, arguments.contains("O_APPEND")));
    }

    /// A call on an open file.
    fn changed(&mut self, name: &str, arguments: &str, result: &str) {
        let Some((descriptor, _)) = described(arguments) else { return };
        let Some((path, position, appends)) = self.files.get_mut(&descriptor) else { return };
        let result: usize = result.split_whitespace().next().unwrap().parse().unwrap();
        let last = || -> usize { arguments.rsplit_once(", ").unwrap().1.parse().unwrap() };
        let event = match name {
            "lseek" => {
                *position = result;
                return;
            }
            "write" => {
                let offset = (!*appends).then_some(*position);
                *position += result;
                Event::Written { path: path.clone(), offset, data: strings(arguments)[0][..result].into() }
            }
            "pwrite64" => {
                Event::Written { path: path.clone(), offset: Some(last()), data: strings(arguments)[0][..result].into() }
            }
            "ftruncate" => Event::Resized { path: path.clone(), length: last() },
            _ => panic!("what {name} does to {} is not followed", path.display()),
        };
        self.events.push(event);
    }

    fn extend(&mut self, event: Option<Event>) {
        self.events.extend(event);
    }

    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.folder).ok().map(Path::to_owned)
    }
}

/// The descriptor that a text begins with, and its path.
fn described(text: &str) -> Option<(u32, PathBuf)> {
    let (number, rest) = text.split_once('<')?;
    let path = rest.split_once('>')?.0;
    Some((number.trim().parse().ok()?, PathBuf::from(String::from_utf8(unescape(path)).unwrap())))
}

/// The quoted texts of a call, as bytes.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    // In hexadecimal throughout, so that no quote stands inside of one.
    arguments.split('"').skip(1).step_by(2).map(unescape).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
