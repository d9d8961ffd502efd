//! The verdict as it goes out (contract C5), and what readers of the verdict topic need of it again.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{
    amount::{AmountMinor, Currency},
    features::{Row, TABLE},
    flags::Flags,
    invalid::InvalidReason,
    phone::Phone,
    policy::{Recommendation, RiskLevel},
    reasons::Reason,
    signals::Signals,
    time::{EventTimeMs, TimeText, WallTimeUs},
    transaction::wire_enum,
};

/// The version both contracts bear.
pub const SCHEMA_VERSION: u32 = 1;

/// A verdict is below this many bytes whatever the transaction holds (a test builds the worst one);
/// `features` included. The topic's limit is 1 MiB.
pub const MAX_VERDICT_BYTES: usize = 16 * 1024;

wire_enum! {
    /// What a record of the verdict topic is.
    Kind {
        /// Judged, and inserted into its windows.
        Scored = "scored",
        /// Judged, but too old to be inserted.
        Late = "late",
        /// Judged, not inserted: its id stands for another payment already.
        Conflict = "conflict",
        /// The same payment again: the original's decision is repeated.
        Duplicate = "duplicate",
        /// No transaction.
        Invalid = "invalid",
        /// A new owner of the partition; no transaction.
        Owner = "owner",
        /// Input that was deleted before it was judged; no transaction. It stands in the chain as a verdict does.
        Lost = "lost",
    }
}

/// Where a verdict stands in the chain of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The first 4 bytes of the transaction topic's id in lower-case hex.
    pub log: &'a str,
    /// Partition of both topics.
    pub partition: i32,
    /// Input offset.
    pub offset: i64,
    /// Input offset of the verdict before it; -1 at the very first.
    pub previous_offset: i64,
    /// Verdict-topic offset of the owner record its writer holds.
    pub epoch: i64,
}

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("source", 5)?;
        fields.serialize_field("log", self.log)?;
        fields.serialize_field("partition", &self.partition)?;
        fields.serialize_field("offset", &self.offset)?;
        fields.serialize_field("previous_offset", &self.previous_offset)?;
        fields.serialize_field("epoch", &self.epoch)?;
        fields.end()
    }
}

/// One verdict, in wire order.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of schemas/verdict.schema.json, which describes each")]
pub struct Verdict<'a> {
    /// Of the letters that identifiers have, as the institution's is: none needs an escape.
    pub transaction_id: Option<&'a str>,
    pub risk_score: Option<u8>,
    pub risk_level: Option<RiskLevel>,
    pub signals: Option<Signals>,
    pub recommendation: Recommendation,
    pub processing_time_ms: u64,
    pub verdict_id: VerdictId<'a>,
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<i64>,
    pub reasons: &'a [Reason],
    pub phone_number: Option<Phone>,
    pub institution_id: Option<&'a str>,
    pub amount: Option<AmountMinor>,
    pub currency: Option<Currency>,
    pub event_time: Option<EventTimeMs>,
    pub decided_at: TimeText,
    pub model: Option<ModelRef<'a>>,
    pub policy_version: &'a str,
    /// Model and policy as `encode::written_maker` wrote them, where somebody keeps that.
    #[serde(skip)]
    pub maker: Option<&'a [u8]>,
    pub flags: Flags,
    pub source: Source<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Features<'a>>,
    pub feature_digest: Option<Digest>,
    pub schema_version: u32,
}

/// The model a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ModelRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// `<log>-<partition>-<offset>`: the same for every reader and after every restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictId<'a>(pub Source<'a>);

impl fmt::Display for VerdictId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.0.log, self.0.partition, self.0.offset)
    }
}

impl Serialize for VerdictId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The row as an object, name to number, a missing value as null.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a>(pub &'a Row);

impl Serialize for Features<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(TABLE.iter().map(|feature| feature.name).zip(self.0))
    }
}

/// A 64-bit hash as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of 16 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The record by which a new owner takes a partition.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of schemas/verdict.schema.json, which describes each")]
pub struct OwnerRecord<'a> {
    pub kind: Kind,
    pub source: OwnerSource<'a>,
    pub group: &'a str,
    pub instance: &'a str,
    pub version: &'a str,
    pub host: &'a str,
    pub engine_generation: u32,
    pub engine_hash: Digest,
    pub partitions: i32,
    pub decided_at: WallTimeUs,
    pub schema_version: u32,
}

/// Which log an owner record is about.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "as in Source")]
pub struct OwnerSource<'a> {
    pub log: &'a str,
    pub partition: i32,
}

/// The record that stands for input deleted before it was judged: behind `previous_offset`, up to `offset`.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of schemas/verdict.schema.json, which describes each")]
pub struct LostRecord<'a> {
    pub kind: Kind,
    pub source: Source<'a>,
    pub decided_at: WallTimeUs,
    pub schema_version: u32,
}

/// What a follower of the verdict topic reads of a record; all else is left alone.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of schemas/verdict.schema.json, which describes each")]
pub struct Head<'a> {
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub source: HeadSource<'a>,
    #[serde(default)]
    pub risk_score: Option<u8>,
    #[serde(borrow, default)]
    pub risk_level: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub recommendation: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub model: Option<HeadModel<'a>>,
    #[serde(borrow, default)]
    pub policy_version: Option<Cow<'a, str>>,
    /// Not read further unless asked for: settling reads millions of heads.
    #[serde(borrow, default)]
    pub reasons: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub feature_digest: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub group: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub instance: Option<Cow<'a, str>>,
    #[serde(default)]
    pub engine_generation: Option<u32>,
    #[serde(borrow, default)]
    pub engine_hash: Option<Cow<'a, str>>,
    #[serde(default)]
    pub partitions: Option<i32>,
}

/// A verdict's or an owner record's source; an owner's has neither offset nor epoch.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "as in Source")]
pub struct HeadSource<'a> {
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    pub partition: i32,
    #[serde(default)]
    pub offset: Option<i64>,
    #[serde(default)]
    pub previous_offset: Option<i64>,
    #[serde(default)]
    pub epoch: Option<i64>,
}

/// A reason's code.
#[derive(Deserialize)]
struct HeadReason<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

/// The model named in a verdict.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "as in ModelRef")]
pub struct HeadModel<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub version: Cow<'a, str>,
}

impl<'a> Head<'a> {
    /// Reads a record's value; `None` for a shape this version does not know, which readers skip and count.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// Why the record was no transaction, where it was none; `None` also for a reason unknown here.
    pub fn invalid_reason(&self) -> Option<InvalidReason> {
        if self.kind != Kind::Invalid.as_str() {
            return None;
        }
        let reasons: Vec<HeadReason<'_>> = serde_json::from_str(self.reasons?.get()).ok()?;
        InvalidReason::of_spelled(&reasons.first()?.code)
    }
}
