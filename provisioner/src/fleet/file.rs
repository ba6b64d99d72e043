//! The fleet file on disk: read whole, written by replacing it whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Fleet, FleetError};

/// What a fleet file begins with when `add` makes it.
const TEMPLATE: &str = "\
# Which providers run here. `heliograph provider plan` shows what would change,
# `heliograph provider apply` does it. docs/operations.md explains every setting.
image = \"heliograph:dev\"
";

/// A fleet file at its path.
#[derive(Debug, Clone)]
pub struct FleetFile {
    path: PathBuf,
}

/// Why the fleet file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FleetFileError {
    /// There is none.
    #[error("{} does not exist; `heliograph provider add ID` makes it, --fleet names another", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It does not say what a fleet file may say.
    #[error("{} cannot be used:\n{}", path.display(), indent(error))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every reason.
        error: FleetError,
    },
}

fn indent(error: &FleetError) -> String {
    error.problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

impl FleetFile {
    /// The file at a path, which need not exist yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that relative paths inside the file start from.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// Reads its text.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub fn text(&self) -> Result<String, FleetFileError> {
        fs::read_to_string(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => FleetFileError::Missing { path: self.path.clone() },
            _ => self.io("read", source),
        })
    }

    /// Reads its text, or the text of a new fleet where there is no file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text_or_template(&self) -> Result<String, FleetFileError> {
        match self.text() {
            Err(FleetFileError::Missing { .. }) => Ok(TEMPLATE.to_owned()),
            other => other,
        }
    }

    /// Reads the fleet.
    ///
    /// # Errors
    /// When it is missing, cannot be read or is not a fleet.
    pub fn fleet(&self) -> Result<Fleet, FleetFileError> {
        self.checked(&self.text()?)
    }

    /// Reads a text as this file's content.
    ///
    /// # Errors
    /// When it is not a fleet.
    pub fn checked(&self, text: &str) -> Result<Fleet, FleetFileError> {
        Fleet::parse(text).map_err(|error| FleetFileError::Invalid { path: self.path.clone(), error })
    }

    /// Replaces the file, so that a reader sees the old or the new text and
    /// nothing between, a power loss included.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn write(&self, text: &str) -> Result<(), FleetFileError> {
        // A link is followed, so that the file it names is what changes.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = target.with_file_name(name);
        Self::write_new(&target, &new, text).map_err(|source| {
            // The half-written copy is of no use; that it may stay changes nothing.
            drop(fs::remove_file(&new));
            self.io("write", source)
        })
    }

    fn write_new(target: &Path, new: &Path, text: &str) -> io::Result<()> {
        let mut file = fs::File::create(new)?;
        file.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(target) {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(new, target)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    }

    fn io(&self, verb: &'static str, source: io::Error) -> FleetFileError {
        FleetFileError::Io { verb, path: self.path.clone(), source }
    }
}
