//! A snapshot's bytes: a mark and a format number, then frames, each compressed (zstd) and checked (CRC32C). Each
//! checksum continues the one before it, so that no frame can be left out, repeated, moved or taken from elsewhere.

use zstd::bulk::{Compressor, Decompressor};

use super::Refused;

/// What every snapshot begins with.
const MARK: [u8; 8] = *b"SENTRASN";

/// The first bytes: mark and format.
const PRELUDE: usize = MARK.len() + 4;

/// A frame's own first bytes: kind, length as written, length compressed, checksum.
const HEADER: usize = 13;

/// The most that one frame holds, for a damaged length must not be allocated.
const MOST_FRAME: usize = 1 << 30;

/// zstd's level: identities are random, more effort finds nothing more in them.
const LEVEL: i32 = 1;

/// How a snapshot is written down. A release writes its own format, reads the one before it, and can be told to write
/// that one, so that a group of processes goes to the next release, and back, without replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Format 1: the head names neither the policy nor the engine's generation, only the state's.
    Previous,
    /// Format 2.
    #[default]
    Current,
}

impl Format {
    /// The number that a snapshot bears.
    pub fn number(self) -> u32 {
        match self {
            Self::Previous => 1,
            Self::Current => 2,
        }
    }

    fn of(number: u32) -> Option<Self> {
        [Self::Previous, Self::Current].into_iter().find(|format| format.number() == number)
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// All that is not per phone; the first frame.
    Head = 1,
    /// Copies of phones.
    Phones,
    /// Decisions that duplicates may repeat.
    Decisions,
    /// Counts, and the offset that the walk ended at; the last frame.
    End,
}

impl FrameKind {
    fn of(code: u8) -> Option<Self> {
        [Self::Head, Self::Phones, Self::Decisions, Self::End].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Writes frames.
pub struct FrameWriter {
    format: Format,
    compressor: Compressor<'static>,
    checksum: u32,
    begun: bool,
}

impl FrameWriter {
    /// A writer of one snapshot, whose head is of that format, too.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new(format: Format) -> std::io::Result<Self> {
        Ok(Self { format, compressor: Compressor::new(LEVEL)?, checksum: 0, begun: false })
    }

    /// Appends a frame of `raw` to `out`.
    ///
    /// # Errors
    /// zstd fails.
    pub fn write(&mut self, kind: FrameKind, raw: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&MARK);
            out.extend_from_slice(&self.format.number().to_le_bytes());
            self.checksum = crc32c::crc32c(&out[out.len() - PRELUDE..]);
        }
        let packed = self.compressor.compress(raw)?;
        let mut header = [0; HEADER];
        header[0] = kind as u8;
        header[1..5].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        header[5..9].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &header[..9]), &packed);
        header[9..].copy_from_slice(&self.checksum.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&packed);
        Ok(())
    }
}

/// A frame as read.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'r> {
    /// The snapshot's format.
    pub format: Format,
    /// What it holds.
    pub kind: FrameKind,
    /// Its bytes.
    pub raw: &'r [u8],
}

/// Reads frames from bytes that come in pieces.
pub struct FrameReader {
    decompressor: Decompressor<'static>,
    bytes: Vec<u8>,
    at: usize,
    checksum: u32,
    format: Option<Format>,
    raw: Vec<u8>,
}

impl FrameReader {
    /// A reader of one snapshot.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new() -> Result<Self, Refused> {
        let decompressor = Decompressor::new().map_err(|error| Refused::Damaged(error.to_string()))?;
        Ok(Self { decompressor, bytes: Vec::new(), at: 0, checksum: 0, format: None, raw: Vec::new() })
    }

    /// Takes the next piece of the snapshot's bytes.
    pub fn feed(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next frame; `None` where more bytes are needed.
    ///
    /// # Errors
    /// The bytes are no snapshot, of another format, or damaged.
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, Refused> {
        let Some(format) = self.begin()? else { return Ok(None) };
        let left = &self.bytes[self.at..];
        let Some((header, rest)) = left.split_at_checked(HEADER) else { return Ok(None) };
        let length = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte])) as usize;
        let (raw, packed, checksum) = (length(1), length(5), length(9) as u32);
        if raw > MOST_FRAME || packed > MOST_FRAME {
            return Err(Refused::Damaged(String::from("a frame's length is absurd")));
        }
        let Some(packed) = rest.get(..packed) else { return Ok(None) };
        let expected = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &header[..9]), packed);
        if checksum != expected {
            return Err(Refused::Damaged(String::from("a frame's checksum is wrong")));
        }
        let kind =
            FrameKind::of(header[0]).ok_or_else(|| Refused::Damaged(String::from("a frame's kind is unknown")))?;
        self.raw.clear();
        self.raw.reserve(raw);
        let unpacked = self.decompressor.decompress_to_buffer(packed, &mut self.raw);
        if unpacked.map_err(|error| Refused::Damaged(error.to_string()))? != raw {
            return Err(Refused::Damaged(String::from("a frame is shorter than it says")));
        }
        self.checksum = checksum;
        self.at += HEADER + packed.len();
        Ok(Some(Frame { format, kind, raw: &self.raw }))
    }

    /// Whether every byte fed was part of a frame that was read.
    pub fn is_used_up(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The format; mark and format are read once they are there.
    fn begin(&mut self) -> Result<Option<Format>, Refused> {
        if self.format.is_some() {
            return Ok(self.format);
        }
        let Some((prelude, _)) = self.bytes.split_at_checked(PRELUDE) else { return Ok(None) };
        let (mark, format) = prelude.split_at(MARK.len());
        if mark != MARK {
            return Err(Refused::NotASnapshot);
        }
        let format = u32::from_le_bytes(std::array::from_fn(|byte| format[byte]));
        let format = Format::of(format).ok_or(Refused::Format { found: format })?;
        self.checksum = crc32c::crc32c(prelude);
        self.at = PRELUDE;
        self.format = Some(format);
        Ok(self.format)
    }
}
