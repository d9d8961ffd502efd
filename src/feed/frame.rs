//! The frames that are not verdicts, as they go out, and the one that comes in (`schemas/feed-frame.schema.json`).
//!
//! Pure: text from values and values from text.

use serde::Serialize;
use serde_json::{Map, Value};

use super::filter::{Filter, FilterError};
use crate::domain::transaction::wire_enum;

/// The version the frames bear; they change by addition only.
pub const SCHEMA_VERSION: u32 = 1;

/// The most bytes a client's frame may have.
pub const MAX_CLIENT_FRAME: usize = 4_096;

/// A frame of the server's, verdicts aside.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of schemas/feed-frame.schema.json, which describes each")]
pub enum Frame<'a> {
    Hello {
        schema_version: u32,
        server: &'a str,
        partitions: usize,
        resumed: bool,
        ping_s: u64,
        filter: &'a Filter,
        cursor: &'a str,
    },
    Stats {
        #[serde(flatten)]
        stats: &'a Stats,
        cursor: &'a str,
    },
    Gap {
        reason: GapReason,
        partition: Option<i32>,
        left_out: Option<u64>,
        cursor: Option<&'a str>,
    },
    Bye {
        reason: ByeReason,
        detail: &'a str,
        cursor: Option<&'a str>,
    },
}

/// What passed within a second.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// When, RFC 3339.
    pub at: String,
    /// Whether the client has caught up with the topic.
    pub live: bool,
    /// Verdicts that counted within the last second.
    pub per_second: u64,
    /// Of those, by level.
    pub levels: LevelCounts,
    /// Verdicts that counted since this process follows the topic.
    pub total: u64,
    /// Clients of this process.
    pub clients: usize,
}

/// Verdicts by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the fields are the levels")]
pub struct LevelCounts {
    pub low: u64,
    pub medium: u64,
    pub high: u64,
    pub critical: u64,
    /// Invalid records have no level.
    pub none: u64,
}

wire_enum! {
    /// Why verdicts are left out.
    GapReason {
        /// The client was slow: all but alerts was left out; its cursor brings them back.
        Slow = "slow",
        /// The topic's own chain has a gap: verdicts are lost.
        Missing = "missing",
        /// The server lost its place in the topic and went on from its end.
        Jumped = "jumped",
    }
}

wire_enum! {
    /// Why the server closes.
    ByeReason {
        /// The process stops; another one takes the cursor.
        Shutdown = "shutdown",
        /// The client does not keep up.
        Slow = "slow",
        /// The client answers no ping.
        Idle = "idle",
        /// The request cannot be read: cursor, filter or another parameter.
        BadRequest = "bad_request",
        /// A frame of the client's cannot be read.
        BadFrame = "bad_frame",
        /// A frame of the client's is too large.
        TooLarge = "too_large",
        /// The cursor's verdicts are gone, or of another topic: begin anew without it.
        ResyncRequired = "resync_required",
        /// No room now, or no topic yet: come back with the same cursor.
        Busy = "busy",
    }
}

impl ByeReason {
    /// The WebSocket close code (RFC 6455, section 7.4; 4000 and above are our own).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Shutdown => 1001,
            Self::BadFrame => 1003,
            Self::BadRequest => 1008,
            Self::TooLarge => 1009,
            Self::Busy => 1013,
            Self::Slow => 4008,
            Self::Idle => 4009,
            Self::ResyncRequired => 4010,
        }
    }
}

/// Why a client's frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not an object in JSON.
    #[error("the frame is no JSON object; send {{\"type\":\"filter\",…}}")]
    NotAnObject,
    /// Bytes.
    #[error("binary frames are not read; send JSON as text")]
    Binary,
    /// Another type.
    #[error("type: {0:?} is no frame of a client's; there is filter")]
    Unknown(String),
    /// No type.
    #[error("type: missing; there is filter")]
    NoType,
    /// A filter that cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Frame<'_> {
    /// The frame as JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and maps with text keys are always JSON")
    }
}

/// Reads a client's frame: the filter it asks for.
///
/// # Errors
/// It is none.
pub fn read(text: &str, calling_code: &str) -> Result<Filter, FrameError> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|_| FrameError::NotAnObject)?;
    match fields.remove("type") {
        Some(Value::String(kind)) if kind == "filter" => Ok(Filter::from_frame(&fields, calling_code)?),
        Some(Value::String(kind)) => Err(FrameError::Unknown(kind.chars().take(32).collect())),
        _ => Err(FrameError::NoType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_frame_is_a_filter_or_refused_in_words() {
        assert_eq!(read(r#"{"type":"filter"}"#, "254"), Ok(Filter::default()));
        for (text, word) in [
            ("", "JSON object"),
            ("[]", "JSON object"),
            ("{\"type\":\"filter\"", "JSON object"),
            ("{}", "type: missing"),
            ("{\"type\":7}", "type: missing"),
            ("{\"type\":\"subscribe\"}", "subscribe"),
            ("{\"type\":\"filter\",\"min_score\":101}", "min_score"),
        ] {
            let error = read(text, "254").expect_err("must be refused").to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn close_codes_are_distinct_and_may_be_sent() {
        let codes: std::collections::BTreeSet<u16> = ByeReason::ALL.iter().map(|reason| reason.close_code()).collect();
        assert_eq!(codes.len(), ByeReason::ALL.len());
        assert!(codes.iter().all(|code| matches!(code, 1001..=1003 | 1007..=1014 | 4000..=4999)));
    }
}
