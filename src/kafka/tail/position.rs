//! Where a follower stands in a verdict topic, and its written form, the cursor (DESIGN §2): {log, topic's id, and of
//! each partition the next offset, e, and the input offset that counted last}. It stands in requests' heads, so it is
//! kept short: e and the last offset are written as their distance from the next offset, all of it in base64url.
//!
//! Invariant: what [`Positions::cursor`] writes, [`Positions::parse`] reads back equal; a cursor that was cut or
//! altered, or is of an older form, is refused. Whether the positions fit a topic is for `open` to judge.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::xxh3_64;

use crate::kafka::topic_id::TopicId;

/// The first byte of every cursor.
const VERSION: u8 = 2;
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
            put(&mut bytes, position.next.max(0) as u64);
            put(&mut bytes, distance(position.next, position.epoch));
            put(&mut bytes, distance(position.next, position.last));
        }
        bytes.extend_from_slice(&check(&bytes));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor.
    ///
    /// # Errors
    /// It is none, or not whole.
    pub fn parse(cursor: &str) -> Result<Self, NoCursor> {
        let shown = || NoCursor(cursor.chars().take(16).collect());
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor.trim()).map_err(|_| shown())?;
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
            let next = i64::try_from(take(&mut body)?).ok()?;
            let epoch = at_distance(next, take(&mut body)?, 0)?;
            let last = at_distance(next, take(&mut body)?, -1)?;
            Some(Position { partition: i32::try_from(partition).ok()?, next, epoch, last })
        })
        .collect::<Option<_>>()?;
    let topic = TopicId::from_bytes(*topic)?;
    body.is_empty().then_some(Positions { topic, log: (*has_log == 1).then_some(*log), partitions })
}

/// `None` as 0; else how far the offset lies below `next`, or above it, as ZigZag has it (0, -1, 1, -2, …), plus 1.
fn distance(next: i64, offset: Option<i64>) -> u64 {
    offset.map_or(0, |offset| {
        let below = next.saturating_sub(offset);
        ((below << 1) ^ (below >> 63)) as u64 + 1
    })
}

/// The offset at that distance, where it is one: `least` or more.
fn at_distance(next: i64, distance: u64, least: i64) -> Option<Option<i64>> {
    let Some(zigzag) = distance.checked_sub(1) else { return Some(None) };
    let below = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    next.checked_sub(below).filter(|offset| *offset >= least).map(Some)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Positions> {
        let position = (0..i64::MAX / 4, prop::option::of(0..i64::MAX / 4), prop::option::of(-1..i64::MAX / 4));
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
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(Positions::parse(&String::from_utf8(altered).expect("ASCII")).is_err());
            prop_assert!(Positions::parse(&cursor[..at]).is_err());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            drop(Positions::parse(&text));
        }
    }

    /// As many partitions as that, a billion verdicts in each, its owner since long ago.
    fn usual(partitions: i32) -> Positions {
        let next = |partition: i32| 1_000_000_000 + i64::from(partition) * 7_919;
        let position = |partition: i32| {
            let next = next(partition);
            Position { partition, next, epoch: Some(next - 90_000_000), last: Some(next - 12) }
        };
        let topic = TopicId::from_bytes([7; 16]).expect("not zero");
        Positions { topic, log: Some([1, 2, 3, 4]), partitions: (0..partitions).map(position).collect() }
    }

    #[test]
    fn a_cursor_costs_some_fourteen_characters_a_partition() {
        let short = usual(32).cursor().len();
        assert!(short < 32 * 14 + 40, "{short} characters of 32 partitions");
        let most = (1..).find(|partitions| usual(*partitions).cursor().len() > 7_168).expect("at some time");
        assert!((500..560).contains(&most), "{most} partitions fill 7 KiB, as the README says of heads of 8");
    }

    #[test]
    fn a_cursor_of_the_older_form_is_refused() {
        let old = "01070707070707070707070707070707070101020304018094ebdc0380a8d6b907e8ebdc03b15a2c11";
        assert!(Positions::parse(old).is_err());
        let mut bytes = vec![1_u8];
        bytes.extend_from_slice(&[7; 21]);
        bytes.push(0);
        bytes.extend_from_slice(&check(&bytes));
        assert!(Positions::parse(&BASE64_URL_SAFE_NO_PAD.encode(bytes)).is_err(), "whole, and of another version");
    }
}
