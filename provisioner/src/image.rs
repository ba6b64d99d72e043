//! The image that every role runs from: one static binary and two folders.

mod elf;

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::{Engine, EngineError};

use elf::Linkage;

/// The numeric user of everything that the containers may write.
const OWNER: u64 = 65_532;

/// An image that was built, or that was there already for the same binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Its tag.
    pub tag: String,
    /// Its id.
    pub id: String,
    /// The binary's size in bytes.
    pub binary_bytes: u64,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The binary cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no Linux program.
    #[error("{} is not a 64-bit ELF program", path.display())]
    NotElf {
        /// What was given.
        path: PathBuf,
    },
    /// It needs a loader and libraries, of which the image has none.
    #[error(
        "{} is linked dynamically (it asks for {interpreter}), and the image holds nothing but the binary.\n\
         Build a static one and name it with --binary:\n  \
         RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release --target x86_64-unknown-linux-gnu\n  \
         heliograph provider image build --binary target/x86_64-unknown-linux-gnu/release/heliograph",
        path.display()
    )]
    Dynamic {
        /// The binary.
        path: PathBuf,
        /// The loader it wants.
        interpreter: String,
    },
    /// The build context could not be put together.
    #[error("cannot pack the build context")]
    Pack(#[source] io::Error),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine built it and does not know it.
    #[error("the engine built {tag}, but holds no such image")]
    Vanished {
        /// The tag.
        tag: String,
    },
}

/// Builds the image from a static binary. The same binary gives the same image,
/// so that an image built again replaces no container.
///
/// # Errors
/// When the binary is not a static program, or the engine fails.
pub async fn build(engine: &Engine, binary: &Path, tag: &str, version: &str) -> Result<BuiltImage, ImageError> {
    let program = std::fs::read(binary).map_err(|source| ImageError::Read { path: binary.to_owned(), source })?;
    check_static(binary, &program)?;
    let context = pack(&program, version).map_err(ImageError::Pack)?;
    engine.build_image(tag, context).await?;
    let image = engine.observer().image(tag).await?.ok_or_else(|| ImageError::Vanished { tag: tag.to_owned() })?;
    Ok(BuiltImage { tag: tag.to_owned(), id: image.id, binary_bytes: program.len() as u64 })
}

fn check_static(path: &Path, program: &[u8]) -> Result<(), ImageError> {
    let path = path.to_owned();
    match elf::linkage(program) {
        None => Err(ImageError::NotElf { path }),
        Some(Linkage::Dynamic { interpreter }) => Err(ImageError::Dynamic { path, interpreter }),
        Some(Linkage::Static) => Ok(()),
    }
}

fn dockerfile(version: &str) -> String {
    format!(
        "FROM scratch\n\
         LABEL org.opencontainers.image.title=heliograph org.opencontainers.image.version={version}\n\
         COPY --chown={OWNER}:{OWNER} data /data\n\
         COPY --chown={OWNER}:{OWNER} tmp /tmp\n\
         COPY heliograph /heliograph\n\
         USER {OWNER}:{OWNER}\n\
         ENTRYPOINT [\"/heliograph\"]\n"
    )
}

fn pack(program: &[u8], version: &str) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::with_capacity(program.len() + 8192));
    append(&mut archive, "Dockerfile", tar::EntryType::Regular, 0o644, dockerfile(version).as_bytes())?;
    append(&mut archive, "data/", tar::EntryType::Directory, 0o750, &[])?;
    append(&mut archive, "tmp/", tar::EntryType::Directory, 0o1777, &[])?;
    append(&mut archive, "heliograph", tar::EntryType::Regular, 0o755, program)?;
    archive.into_inner()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}
