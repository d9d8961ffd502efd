//! One frame of the live stream, encoded once and shared by all sessions, with what filters and cursors need of it.
//!
//! Invariant: the text is a whole JSON frame; a verdict's bytes stand in it unchanged.

use std::{borrow::Cow, sync::Arc};

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
    /// The frame as it goes out.
    pub text: Utf8Bytes,
    /// What it is.
    pub body: Body,
}

/// What a frame is.
#[derive(Debug)]
pub enum Body {
    /// A verdict that counts.
    Verdict(Tags),
    /// The second's figures, with the cursor after all frames before it.
    Stats {
        /// The figures.
        stats: Stats,
        /// The cursor that the text bears.
        cursor: Arc<str>,
    },
    /// Verdicts are missing in the topic itself.
    Gap,
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
        let shown: Shown<'_> = serde_json::from_slice(&verdict.value).unwrap_or_default();
        Self {
            partition: verdict.partition,
            offset: verdict.offset,
            source: verdict.source,
            epoch: verdict.epoch,
            log: short(&shown.source.log),
            level: shown.risk_level.as_deref().and_then(RiskLevel::from_wire),
            score: shown.risk_score,
            institution: shown.institution_id.as_deref().map(Box::from),
            phone: shown.phone_number.and_then(|phone| Phone::parse(&phone, calling_code).ok()),
        }
    }

    /// Whether someone should look at it.
    pub fn is_alert(&self) -> bool {
        self.level.is_some_and(is_alert)
    }

    /// Moves positions past this verdict: e and the last offset that counted are its own.
    pub fn pass(&self, positions: &mut Positions) {
        positions.log = positions.log.or(self.log);
        let at = usize::try_from(self.partition).ok().and_then(|at| positions.partitions.get_mut(at));
        if let Some(position) = at {
            *position = Position {
                partition: self.partition,
                next: self.offset + 1,
                epoch: Some(self.epoch),
                last: Some(self.source),
            };
        }
    }
}

impl Item {
    /// What it weighs in memory.
    pub fn bytes(&self) -> usize {
        self.text.len() + OVERHEAD_BYTES
    }

    /// Whether it goes to clients that get only alerts.
    pub fn is_for_alerts(&self) -> bool {
        match &self.body {
            Body::Verdict(tags) => tags.is_alert(),
            Body::Stats { .. } | Body::Gap => true,
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

fn short(log: &str) -> Option<[u8; 4]> {
    let number = u32::from_str_radix(log, 16).ok().filter(|_| log.len() == 8)?;
    Some(number.to_be_bytes())
}
