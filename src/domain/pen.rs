//! Room for a whole text, made once, into which its pieces are written one behind the other: none of them has to ask for more.

use std::mem::MaybeUninit;

/// Writes into the room that is left. Whoever writes much has a pen of its own, and hands it back: then it stays in registers, where
/// one that is shared would be kept in memory, and be waited for at every piece.
pub(super) struct Pen<'r> {
    left: &'r mut [MaybeUninit<u8>],
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
    out.clear();
    out.reserve(most + MOST_OF_A_PART);
    let room = out.spare_capacity_mut();
    let all = room.len();
    let written = all - write(Pen { left: room }).left.len();
    // SAFETY: a pen leaves nothing behind it that it did not write, and no other pen is to be had here.
    unsafe { out.set_len(written) };
}

impl Pen<'_> {
    /// Writes bytes whose number the compiler knows: as words, not by a copy in a loop.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        let (to, left) = std::mem::take(&mut self.left).split_first_chunk_mut().expect(ENOUGH);
        *to = bytes.map(MaybeUninit::new);
        self.left = left;
    }

    /// Writes any number of bytes.
    #[inline(always)]
    pub(super) fn put_all(&mut self, bytes: &[u8]) {
        let (to, left) = std::mem::take(&mut self.left).split_at_mut_checked(bytes.len()).expect(ENOUGH);
        self.left = left;
        // Few bytes are copied by two words that may overlap, which is sooner done than a call.
        if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
            && bytes.len() <= 16
        {
            to[..8].copy_from_slice(&first.map(MaybeUninit::new));
            to[bytes.len() - 8..].copy_from_slice(&last.map(MaybeUninit::new));
            return;
        }
        // SAFETY: bytes that are written are also bytes that may not be.
        to.copy_from_slice(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) });
    }

    /// Writes the first `length` bytes of an array.
    #[inline(always)]
    pub(super) fn put_part<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        const { assert!(N <= MOST_OF_A_PART) };
        let left = std::mem::take(&mut self.left);
        *left.first_chunk_mut().expect(ENOUGH) = bytes.map(MaybeUninit::new);
        // Never more than was written.
        self.left = left.get_mut(length.min(N)..).expect(ENOUGH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_stand_one_behind_the_other() {
        let bytes: Vec<u8> = (0..100).collect();
        for length in 0..=bytes.len() {
            let mut out = b"of an earlier text".to_vec();
            overwrite(&mut out, length + 8, |mut pen| {
                pen.put(b"head");
                pen.put_all(&bytes[..length]);
                pen.put_part(b"tail, of which a part is written", 4);
                pen
            });
            assert_eq!(out, [b"head", &bytes[..length], b"tail"].concat());
        }
    }

    #[test]
    #[should_panic(expected = "the room was made for all pieces")]
    fn what_has_no_room_is_not_written() {
        overwrite(&mut Vec::new(), 0, |mut pen| {
            (0..1_000).for_each(|_| pen.put_all(&[7; 100]));
            pen
        });
    }
}
