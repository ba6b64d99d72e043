//! Mails as files, for demos and for people who look before they send.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use heliograph_store::OutboxMail;

use super::{Failure, FailureKind};
use crate::preview::preview;

/// A folder that takes mails.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes the message as it would go over the wire, and its HTML beside it
    /// with the images inside. A repeated attempt replaces the files.
    pub(crate) async fn send(&self, mail: &OutboxMail) -> Result<String, Failure> {
        let (folder, name, message) = (self.path.clone(), file_name(mail), mail.message.clone());
        let written = tokio::task::spawn_blocking(move || write_both(&folder, &name, &message)).await;
        let failed = |problem: String| {
            let reason = format!("write to folder {}: {problem}", self.path.display());
            Failure::new(FailureKind::Unreachable, &reason)
        };
        match written {
            Ok(Ok(path)) => Ok(format!("written to {}", path.display())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn write_both(folder: &Path, name: &str, message: &[u8]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    if let Some(html) = preview(message).html {
        write_whole(folder, &format!("{name}.html"), html.as_bytes())?;
    }
    let path = write_whole(folder, &format!("{name}.eml"), message)?;
    File::open(folder)?.sync_all()?;
    Ok(path)
}

/// Writes beside, then renames: nobody ever sees half a file. Mails are personal:
/// the file is its owner's alone, also where an interrupted attempt left one.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let (beside, path) = (folder.join(format!(".{name}.tmp")), folder.join(name));
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, &path)?;
    Ok(path)
}

/// `<period>-<report>-<recipient>-<short id>`, of harmless characters only. The
/// id's end is its random part; its beginning is the time.
fn file_name(mail: &OutboxMail) -> String {
    let key = &mail.row.key;
    let id = mail.row.id.as_uuid().simple().to_string();
    let short = id.get(id.len() - 8..).unwrap_or(&id);
    format!("{}-{}-{}-{short}", harmless(&key.period), harmless(key.report_name()), harmless(key.recipient.as_str()))
}

/// Keeps letters, digits and a few marks; a name never holds a separator, never
/// begins with a dot and stays short enough for any file system.
fn harmless(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "@+-_.".contains(c) { c } else { '_' };
    let kept: String = text.chars().take(64).map(keep).collect();
    kept.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_leave_the_folder() {
        assert_eq!(harmless("anna.o'neil+pv@sun.example"), "anna.o_neil+pv@sun.example");
        assert_eq!(harmless("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(harmless("a\0b\\c/d"), "a_b_c_d");
        assert_eq!(harmless("用户@例え.example"), "__@__.example");
        assert_eq!(harmless(&"x".repeat(300)).len(), 64);
    }
}
