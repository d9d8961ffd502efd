//! Room for a whole text, made once, into which its pieces are written one behind the other: none of them has to ask for more.

use std::io;

/// Writes into the room that is left.
pub(super) struct Pen<'r> {
    left: &'r mut [u8],
}

/// Why a piece may be taken to fit.
const ENOUGH: &str = "the room was made for all pieces";

/// Overwrites `out` with what `write` writes, in at most `most` bytes and seven more.
///
/// # Panics
/// It writes more.
pub(super) fn overwrite(out: &mut Vec<u8>, most: usize, write: impl FnOnce(&mut Pen<'_>)) {
    // A word is written whole, whatever of it is meant.
    let room = most + size_of::<u64>() - 1;
    if out.len() < room {
        out.resize(room, 0);
    }
    let whole = out.len();
    let mut pen = Pen::new(out);
    write(&mut pen);
    let left = pen.left.len();
    out.truncate(whole - left);
}

impl<'r> Pen<'r> {
    pub(super) fn new(room: &'r mut [u8]) -> Self {
        Self { left: room }
    }

    /// Writes bytes whose number the compiler knows: as words, not by a copy in a loop.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        let (to, left) = std::mem::take(&mut self.left).split_first_chunk_mut().expect(ENOUGH);
        *to = *bytes;
        self.left = left;
    }

    /// Writes any number of bytes.
    #[inline(always)]
    pub(super) fn put_all(&mut self, bytes: &[u8]) {
        // Few bytes are copied by two words that may overlap, which is sooner done than a call.
        if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
            && bytes.len() <= 16
        {
            let (to, left) = std::mem::take(&mut self.left).split_at_mut_checked(bytes.len()).expect(ENOUGH);
            to[..8].copy_from_slice(first);
            to[bytes.len() - 8..].copy_from_slice(last);
            self.left = left;
            return;
        }
        let (to, left) = std::mem::take(&mut self.left).split_at_mut_checked(bytes.len()).expect(ENOUGH);
        to.copy_from_slice(bytes);
        self.left = left;
    }

    /// Writes the first `length` bytes of an array.
    #[inline(always)]
    pub(super) fn put_part<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        let left = std::mem::take(&mut self.left);
        *left.first_chunk_mut().expect(ENOUGH) = *bytes;
        self.left = left.get_mut(length..).expect(ENOUGH);
    }
}

impl io::Write for Pen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
