//! One frame of the live stream, shared by all sessions, with what filters and cursors need of it.
//!
//! Invariant: a text is a whole JSON frame; a verdict's bytes stand in it unchanged. A verdict is read and put into a
//! frame once, by the first session that looks at it: where nobody watches, it costs its place in the backlog alone.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;

use super::{
    filter::is_alert,
    follow::Accepted,
    frame::{Frame, Stats},
};
use crate::{
    domain::{phone::Phone, policy::RiskLevel},
    kafka::tail::{Position, Positions},
};

/// What an item weighs beside its text.
const OVERHEAD_BYTES: usize = 256;

/// One frame of the live stream.
#[derive(Debug)]
pub struct Item {
    /// Its number in this process's stream.
    pub seq: u64,
    /// What it is.
    pub body: Body,
}

/// What a frame is.
#[derive(Debug)]
pub enum Body {
    /// A verdict that counts.
    Verdict(Verdict),
    /// The second's figures, with the cursor after all frames before it.
    Stats {
        /// The figures.
        stats: Stats,
        /// The cursor that the text bears.
        cursor: Arc<str>,
        /// The frame as it goes out.
        text: Utf8Bytes,
    },
    /// Verdicts are missing in the topic itself: the frame as it goes out.
    Gap(Utf8Bytes),
}

/// A verdict on its way to those who watch.
#[derive(Debug)]
pub struct Verdict {
    accepted: Arc<Accepted>,
    level: Option<RiskLevel>,
    tags: OnceLock<Tags>,
    text: OnceLock<Option<Utf8Bytes>>,
}

/// What filters and cursors need of a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Partition of both topics.
    pub partition: i32,
    /// Offset in the verdict topic.
    pub offset: i64,
    /// Offset of the transaction.
    pub source: i64,
    /// e after it.
    pub epoch: i64,
    /// The short id of the transaction topic.
    pub log: Option<[u8; 4]>,
    /// Its level; none where it is invalid.
    pub level: Option<RiskLevel>,
    /// Its score; none where it is invalid.
    pub score: Option<u8>,
    /// Whose it is.
    pub institution: Option<Box<str>>,
    /// Which phone's.
    pub phone: Option<Phone>,
}

/// What is read of a verdict for [`Tags`]; anything odd counts as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown<'a> {
    risk_score: Option<u8>,
    #[serde(borrow)]
    risk_level: Option<Cow<'a, str>>,
    #[serde(borrow)]
    institution_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    phone_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Source<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
}

impl Tags {
    /// Reads a verdict's tags.
    pub fn of(verdict: &Accepted, calling_code: &str) -> Self {
        let shown = shown(&verdict.value);
        Self {
            partition: verdict.partition,
            offset: verdict.offset,
            source: verdict.source,
            epoch: verdict.epoch,
            log: shown.log(),
            level: shown.level(),
            score: shown.risk_score,
            institution: shown.institution_id.as_deref().map(Box::from),
            phone: shown.phone_number.and_then(|phone| Phone::parse(&phone, calling_code).ok()),
        }
    }

    /// Moves positions past this verdict.
    pub fn pass(&self, positions: &mut Positions) {
        let Self { partition, offset, source, epoch, log, .. } = *self;
        pass(positions, Position { partition, next: offset + 1, epoch: Some(epoch), last: Some(source) }, || log);
    }
}

impl Verdict {
    /// Of what the follower tells; only its level is looked at.
    pub fn new(accepted: Arc<Accepted>) -> Self {
        let level = level(&accepted.value);
        Self { accepted, level, tags: OnceLock::new(), text: OnceLock::new() }
    }

    /// Its level; none where it is invalid.
    pub fn level(&self) -> Option<RiskLevel> {
        self.level
    }

    /// Partition and offset in the verdict topic.
    pub fn place(&self) -> (i32, i64) {
        (self.accepted.partition, self.accepted.offset)
    }

    /// What filters want to know of it.
    pub fn tags(&self, calling_code: &str) -> &Tags {
        self.tags.get_or_init(|| Tags::of(&self.accepted, calling_code))
    }

    /// Its frame; none where its bytes are not UTF-8.
    pub fn text(&self) -> Option<Utf8Bytes> {
        self.text.get_or_init(|| verdict_text(&self.accepted)).clone()
    }

    /// Moves positions past it.
    pub fn pass(&self, positions: &mut Positions) {
        let Accepted { partition, offset, source, epoch, .. } = *self.accepted;
        let position = Position { partition, next: offset + 1, epoch: Some(epoch), last: Some(source) };
        pass(positions, position, || shown(&self.accepted.value).log());
    }
}

/// Puts a partition behind a verdict: e and the last offset that counted are that one's. `log` is asked once a log.
fn pass(positions: &mut Positions, position: Position, log: impl FnOnce() -> Option<[u8; 4]>) {
    positions.log = positions.log.or_else(log);
    let at = usize::try_from(position.partition).ok().and_then(|at| positions.partitions.get_mut(at));
    if let Some(at) = at {
        *at = position;
    }
}

impl Item {
    /// What it weighs in memory, a verdict's frame included that may yet be made.
    pub fn bytes(&self) -> usize {
        let own = match &self.body {
            Body::Verdict(verdict) => 2 * verdict.accepted.value.len(),
            Body::Stats { text, .. } | Body::Gap(text) => text.len(),
        };
        own + OVERHEAD_BYTES
    }

    /// Whether it goes to clients that get only alerts.
    pub fn is_for_alerts(&self) -> bool {
        match &self.body {
            Body::Verdict(verdict) => verdict.level.is_some_and(is_alert),
            Body::Stats { .. } | Body::Gap(_) => true,
        }
    }
}

/// The frame of a verdict; `None` where its bytes are not UTF-8, which no verdict of Sentra's is.
pub fn verdict_text(verdict: &Accepted) -> Option<Utf8Bytes> {
    let value = std::str::from_utf8(&verdict.value).ok()?;
    let Accepted { partition, offset, .. } = verdict;
    Some(Utf8Bytes::from(format!(
        r#"{{"type":"verdict","partition":{partition},"offset":{offset},"verdict":{value}}}"#
    )))
}

/// The frame of a second's figures.
pub fn stats_text(stats: &Stats, cursor: &str) -> Utf8Bytes {
    Utf8Bytes::from(Frame::Stats { stats, cursor }.text())
}

fn shown(value: &[u8]) -> Shown<'_> {
    serde_json::from_slice(value).unwrap_or_default()
}

impl Shown<'_> {
    fn level(&self) -> Option<RiskLevel> {
        self.risk_level.as_deref().and_then(RiskLevel::from_wire)
    }

    fn log(&self) -> Option<[u8; 4]> {
        let log = &self.source.log;
        let number = u32::from_str_radix(log, 16).ok().filter(|_| log.len() == 8)?;
        Some(number.to_be_bytes())
    }
}

/// A verdict's level: read from its front as our writers put it there, or from the whole of it where that is otherwise.
fn level(value: &[u8]) -> Option<RiskLevel> {
    front_level(value).or_else(|| shown(value).level())
}

/// `{"transaction_id":"…","risk_score":…,"risk_level":"…"`, in which no text has an escape.
fn front_level(value: &[u8]) -> Option<RiskLevel> {
    let upto = |bytes: &[u8], end: u8| bytes.iter().position(|byte| *byte == end);
    let rest = value.strip_prefix(b"{\"transaction_id\":\"")?;
    let rest = rest[upto(rest, b'"')?..].strip_prefix(b"\",\"risk_score\":")?;
    let rest = rest[upto(rest, b',')?..].strip_prefix(b",\"risk_level\":\"")?;
    RiskLevel::from_wire(std::str::from_utf8(&rest[..upto(rest, b'"')?]).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &str) -> Arc<Accepted> {
        let value = value.as_bytes().into();
        Arc::new(Accepted { partition: 3, offset: 97, source: 181, epoch: 90, timestamp_ms: 0, key: None, value })
    }

    #[test]
    fn a_verdict_is_read_and_framed_once_and_only_when_somebody_looks() {
        let verdict = Verdict::new(accepted(
            r#"{"transaction_id":"T1","risk_score":78,"risk_level":"HIGH","source":{"log":"7f3a9c01"}}"#,
        ));
        assert_eq!((verdict.level(), verdict.place()), (Some(RiskLevel::High), (3, 97)));
        assert!(verdict.tags.get().is_none() && verdict.text.get().is_none(), "nobody has looked");
        let (tags, again) = (verdict.tags("254"), verdict.tags("254"));
        assert!(std::ptr::eq(tags, again));
        assert_eq!((tags.score, tags.log), (Some(78), Some([0x7f, 0x3a, 0x9c, 0x01])));
        let text = verdict.text().expect("UTF-8");
        assert!(
            text.as_str()
                .starts_with(r#"{"type":"verdict","partition":3,"offset":97,"verdict":{"transaction_id":"T1""#)
        );
    }

    #[test]
    fn the_level_is_the_same_from_the_front_and_from_the_whole() {
        let front = r#"{"transaction_id":"T1","risk_score":78,"risk_level":"HIGH","kind":"scored"}"#;
        assert_eq!(front_level(front.as_bytes()), Some(RiskLevel::High));
        for (value, wanted) in [
            (front, Some(RiskLevel::High)),
            (r#"{"risk_level":"CRITICAL","transaction_id":"T1"}"#, Some(RiskLevel::Critical)),
            (r#"{"transaction_id":"risk_level\":\"HIGH","risk_score":1,"risk_level":"LOW"}"#, Some(RiskLevel::Low)),
            (r#"{"transaction_id":null,"risk_score":null,"risk_level":null}"#, None),
            (r#"{"transaction_id":"T1","risk_score":78,"risk_level":"SEVERE"}"#, None),
            (r#"{"transaction_id":"T1","risk_score":78,"risk_le"#, None),
            ("", None),
        ] {
            assert_eq!(level(value.as_bytes()), wanted, "{value}");
        }
    }
}
