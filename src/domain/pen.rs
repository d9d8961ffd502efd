//! Room for a whole text, made once, into which its pieces are written one behind the other: none of them has to ask for more.

/// Writes into the room that is left. Whoever writes much has a pen of its own, and hands it back: then it stays in registers, where
/// one that is shared would be kept in memory, and be waited for at every piece.
pub(super) struct Pen<'r> {
    left: &'r mut [u8],
}

/// The longest array of which a part is written: it is written whole.
const MOST_OF_A_PART: usize = 32;

/// Why a piece may be taken to fit.
const ENOUGH: &str = "the room was made for all pieces";

/// Overwrites `out` with what `write` writes: at most `most` bytes.
///
/// # Panics
/// They are more.
pub(super) fn overwrite(out: &mut Vec<u8>, most: usize, write: impl for<'r> FnOnce(Pen<'r>) -> Pen<'r>) {
    let room = most + MOST_OF_A_PART;
    if out.len() < room {
        out.resize(room, 0);
    }
    let whole = out.len();
    let left = write(Pen::new(out)).left.len();
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
        const { assert!(N <= MOST_OF_A_PART) };
        let left = std::mem::take(&mut self.left);
        *left.first_chunk_mut().expect(ENOUGH) = *bytes;
        self.left = left.get_mut(length..).expect(ENOUGH);
    }
}
