//! Headers of tar members. Ours depend on name and size alone, so that a changed
//! one is found by making it again.

use ::tar::Header;

use super::failed;
use crate::error::StoreError;

pub(super) const BLOCK: usize = 512;

/// The header of a member.
pub(super) fn header(name: &str, size: u64) -> Result<[u8; BLOCK], StoreError> {
    let mut header = Header::new_ustar();
    header.set_path(name).map_err(|error| failed("name a member", &error))?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Name and size of the member that a header announces; `None` where no member of
/// ours has it.
pub(super) fn parse(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let header = Header::from_byte_slice(block);
    let size = header.entry_size().ok()?;
    let name = String::from_utf8(header.path_bytes().into_owned()).ok()?;
    (self::header(&name, size).ok()? == *block).then_some((name, size))
}

/// Zeros that fill a member's last block.
pub(super) fn padding(size: u64) -> usize {
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if rest == 0 { 0 } else { BLOCK - rest }
}
