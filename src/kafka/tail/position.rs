//! Where a follower stands in a verdict topic, and its written form, the cursor (DESIGN §2): {log, topic's id, and of
//! each partition the next offset, e, and the input offset that counted last}.
//!
//! Invariant: what [`Positions::cursor`] writes, [`Positions::parse`] reads back equal; a cursor that was cut or
//! altered is refused. Whether the positions fit a topic is for `open` to judge.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use crate::kafka::topic_id::TopicId;

/// The first byte of every cursor.
const VERSION: u8 = 1;
/// Bytes of the check at a cursor's end.
const CHECK_BYTES: usize = 4;
/// The most partitions a cursor may name, as many as a topic of Sentra's may have.
const MOST_PARTITIONS: u64 = 4_096;

/// Where a follower stands in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub next: i64,
    /// e of the reader's rule, once known.
    pub epoch: Option<i64>,
    /// The input offset of the verdict that counted last, once one did; -1 before the very first.
    pub last: Option<i64>,
}

/// Where a follower stands in a whole verdict topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The verdict topic's id.
    pub topic: TopicId,
    /// The short id of the transaction topic, once a verdict named it.
    pub log: Option<[u8; 4]>,
    /// Each partition, from 0 on.
    pub partitions: Vec<Position>,
}

/// A cursor that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cursor, or a part of one is missing: paste it whole, or say earliest or latest")]
pub struct NoCursor(String);

impl Positions {
    /// The opaque text that [`Self::parse`] reads.
    pub fn cursor(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.push(u8::from(self.log.is_some()));
        bytes.extend_from_slice(&self.log.unwrap_or_default());
        put(&mut bytes, self.partitions.len() as u64);
        for position in &self.partitions {
            put(&mut bytes, shifted(Some(position.next), 0));
            put(&mut bytes, shifted(position.epoch, 1));
            put(&mut bytes, shifted(position.last, 2));
        }
        bytes.extend_from_slice(&check(&bytes));
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads a cursor.
    ///
    /// # Errors
    /// It is none, or not whole.
    pub fn parse(cursor: &str) -> Result<Self, NoCursor> {
        let shown = || NoCursor(cursor.chars().take(16).collect());
        let bytes = unhex(cursor.trim()).ok_or_else(shown)?;
        let (body, end) = bytes.split_at_checked(bytes.len().saturating_sub(CHECK_BYTES)).ok_or_else(shown)?;
        if end != check(body) {
            return Err(shown());
        }
        read(body).ok_or_else(shown)
    }
}

fn read(body: &[u8]) -> Option<Positions> {
    let (version, body) = body.split_first()?;
    let (topic, body) = body.split_first_chunk::<16>()?;
    let (has_log, body) = body.split_first()?;
    let (log, mut body) = body.split_first_chunk::<4>()?;
    if *version != VERSION {
        return None;
    }
    let count = take(&mut body).filter(|count| *count <= MOST_PARTITIONS)?;
    let partitions = (0..count)
        .map(|partition| {
            Some(Position {
                partition: i32::try_from(partition).ok()?,
                next: i64::try_from(take(&mut body)?).ok()?,
                epoch: unshifted(take(&mut body)?, 1)?,
                last: unshifted(take(&mut body)?, 2)?,
            })
        })
        .collect::<Option<_>>()?;
    let topic = TopicId::from_bytes(*topic)?;
    body.is_empty().then_some(Positions { topic, log: (*has_log == 1).then_some(*log), partitions })
}

/// `None` as 0, and the least value (0 for e, -1 for the last offset) as 1.
fn shifted(value: Option<i64>, by: i64) -> u64 {
    value.map_or(0, |value| value.saturating_add(by).max(0) as u64)
}

fn unshifted(value: u64, by: i64) -> Option<Option<i64>> {
    match value {
        0 => Some(None),
        value => Some(Some(i64::try_from(value).ok()? - by)),
    }
}

/// An integer in groups of seven bits, the lowest first (LEB128).
fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    (xxh3_64(body) as u32).to_be_bytes()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Positions> {
        let position = (0..i64::MAX / 2, prop::option::of(0..i64::MAX / 2), prop::option::of(-1..i64::MAX / 2));
        let id = any::<[u8; 16]>().prop_filter_map("not zero", TopicId::from_bytes);
        (id, any::<Option<[u8; 4]>>(), prop::collection::vec(position, 0..70)).prop_map(|(topic, log, found)| {
            let partitions = (0..).zip(found);
            let partitions =
                partitions.map(|(partition, (next, epoch, last))| Position { partition, next, epoch, last });
            Positions { topic, log, partitions: partitions.collect() }
        })
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_equal(positions in positions()) {
            prop_assert_eq!(Positions::parse(&positions.cursor()), Ok(positions));
        }

        #[test]
        fn a_cursor_with_a_character_changed_or_its_end_cut_is_refused(positions in positions(), at in any::<usize>()) {
            let cursor = positions.cursor();
            let at = at % cursor.len();
            let mut altered = cursor.clone().into_bytes();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            prop_assert!(Positions::parse(&String::from_utf8(altered).expect("hex")).is_err());
            prop_assert!(Positions::parse(&cursor[..at]).is_err());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            drop(Positions::parse(&text));
        }
    }
}
