//! What a snapshot says of itself, whosever it is.

use serde::Serialize;

use super::{
    End, Format, Frame, FrameKind, FrameReader, Head, Refused,
    restoring::{read_json, too_short},
};

/// A snapshot's first and last frames, and the bytes between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The number of its format.
    pub format: u32,
    /// Its first frame.
    pub head: Head,
    /// Its last frame.
    pub end: End,
    /// Bytes of all frames before they were compressed.
    pub raw_bytes: u64,
}

/// A snapshot being summed up; every checksum is looked at.
pub struct Summing {
    frames: FrameReader,
    head: Option<(Format, Head)>,
    end: Option<End>,
    raw_bytes: u64,
}

impl Summing {
    /// Begins.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new() -> Result<Self, Refused> {
        Ok(Self { frames: FrameReader::new()?, head: None, end: None, raw_bytes: 0 })
    }

    /// Takes the next piece of its bytes.
    ///
    /// # Errors
    /// It is damaged, or of another format.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Refused> {
        self.frames.feed(piece);
        while let Some(Frame { format, kind, raw }) = self.frames.frame()? {
            self.raw_bytes += raw.len() as u64;
            match (kind, &self.head, &self.end) {
                (FrameKind::Head, None, None) => self.head = Some((format, Head::read(raw, format)?)),
                (FrameKind::Phones | FrameKind::Decisions, Some(_), None) => {}
                (FrameKind::End, Some(_), None) => self.end = Some(read_json(raw)?),
                _ => return Err(Refused::in_disorder()),
            }
        }
        Ok(())
    }

    /// Ends: everything was fed.
    ///
    /// # Errors
    /// It is cut off, or goes on behind its end.
    pub fn finish(self) -> Result<Summary, Refused> {
        let ((format, head), end) = self.head.zip(self.end).ok_or_else(too_short)?;
        if !self.frames.is_used_up() {
            return Err(Refused::goes_on());
        }
        Ok(Summary { format: format.number(), head, end, raw_bytes: self.raw_bytes })
    }
}
