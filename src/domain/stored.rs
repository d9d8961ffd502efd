//! State as bytes: what a snapshot holds of one value. Little-endian, no padding, lengths before lists.
//!
//! Reading is total: any bytes give a value that its own code could have written, or [`Damaged`]; never a panic.
//! Frames, checksums and compression are the snapshot's, not here.

use bytes::{Buf, BufMut, TryGetError};
use thiserror::Error;

/// Bytes that no value is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Damaged(pub &'static str);

impl From<TryGetError> for Damaged {
    fn from(_: TryGetError) -> Self {
        Self("it ends too early")
    }
}

/// A value that stands in snapshots.
pub trait Stored: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes the value from the front.
    ///
    /// # Errors
    /// The bytes are none that [`Stored::put`] writes.
    fn take(from: &mut &[u8]) -> Result<Self, Damaged>;
}

/// Appends a value that may be absent.
pub fn put_option<T: Stored>(value: Option<&T>, out: &mut Vec<u8>) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        value.put(out);
    }
}

/// Takes a value that may be absent.
///
/// # Errors
/// The bytes are none that [`put_option`] writes.
pub fn take_option<T: Stored>(from: &mut &[u8]) -> Result<Option<T>, Damaged> {
    match from.try_get_u8()? {
        0 => Ok(None),
        1 => T::take(from).map(Some),
        _ => Err(Damaged("a value is neither there nor absent")),
    }
}

/// How many of a list's entries follow, where `from` has room for so many of at least `least` bytes.
///
/// # Errors
/// It has not: the length is damaged, and nothing is allocated for it.
pub fn take_length(from: &mut &[u8], least: usize) -> Result<usize, Damaged> {
    let length = from.try_get_u32_le()? as usize;
    if length.saturating_mul(least) > from.len() {
        return Err(Damaged("a list is longer than what follows"));
    }
    Ok(length)
}

/// Writes a list's length; state holds no list near 2^32 entries.
pub fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32_le(u32::try_from(length).expect("bounded far below by memory"));
}
