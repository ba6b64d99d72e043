//! Whether a program needs a loader: the one question asked of an ELF file
//! (System V ABI, chapters 4 and 5; 64-bit, little or big endian).

/// How a program is linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Linkage {
    /// It needs nothing but the kernel.
    Static,
    /// It names a loader.
    Dynamic {
        /// The loader's path.
        interpreter: String,
    },
}

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const BIG_ENDIAN: u8 = 2;
const TYPE_EXEC: u64 = 2;
const TYPE_DYN: u64 = 3;
const PT_INTERP: u64 = 3;

/// Reads the program headers; `None` when this is no 64-bit ELF program.
pub(super) fn linkage(file: &[u8]) -> Option<Linkage> {
    if file.get(..4)? != MAGIC || *file.get(4)? != CLASS_64 {
        return None;
    }
    let reader = Reader { file, big_endian: *file.get(5)? == BIG_ENDIAN };
    if !matches!(reader.number(16, 2)?, TYPE_EXEC | TYPE_DYN) {
        return None;
    }
    let (table, size, count) = (reader.number(32, 8)?, reader.number(54, 2)?, reader.number(56, 2)?);
    for index in 0..count {
        let header = table.checked_add(index * size)?;
        if reader.number(header, 4)? == PT_INTERP {
            let (offset, length) = (reader.number(header.checked_add(8)?, 8)?, reader.number(header.checked_add(32)?, 8)?);
            let name = reader.bytes(offset, length)?;
            let interpreter = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
            return Some(Linkage::Dynamic { interpreter });
        }
    }
    Some(Linkage::Static)
}

struct Reader<'a> {
    file: &'a [u8],
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn bytes(&self, offset: u64, length: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = usize::try_from(offset.checked_add(length)?).ok()?;
        self.file.get(start..end)
    }

    fn number(&self, offset: u64, width: u64) -> Option<u64> {
        let bytes = self.bytes(offset, width)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of nothing but headers, little endian, with one program header.
    fn program(kind: u16, header: u32) -> Vec<u8> {
        let mut file = vec![0u8; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&kind.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&1u16.to_le_bytes());
        file[64..68].copy_from_slice(&header.to_le_bytes());
        file[72..80].copy_from_slice(&120u64.to_le_bytes());
        file[96..104].copy_from_slice(&12u64.to_le_bytes());
        file.extend_from_slice(b"/lib/ld.so.2\0");
        file
    }

    #[test]
    fn a_loader_makes_a_program_dynamic() {
        assert_eq!(linkage(&program(2, 1)), Some(Linkage::Static));
        assert_eq!(linkage(&program(3, 2)), Some(Linkage::Static), "position independent without a loader is static");
        assert_eq!(linkage(&program(3, 3)), Some(Linkage::Dynamic { interpreter: "/lib/ld.so.2".to_owned() }));
    }

    #[test]
    fn other_files_are_no_programs() {
        let mut bits32 = program(2, 1);
        bits32[4] = 1;
        let object = program(1, 1);
        for file in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF", &bits32, &object] {
            assert_eq!(linkage(file), None);
        }
    }

    #[test]
    fn a_cut_file_is_refused_and_never_panics() {
        let whole = program(3, 3);
        for length in 0..whole.len() - 1 {
            assert_eq!(linkage(&whole[..length]), None, "{length} bytes");
        }
    }
}
