//! What a phone is used to: known devices, places and counterparties, the amounts it moves, when and where it was
//! last seen. Kept in log order over inserted events, bounded, beside the windows and longer than they.

use bytes::{Buf, BufMut};

use super::{
    identity::Identity,
    place::GeoPoint,
    ring::{Event, size_class},
    stored::{Damaged, Stored, put_option, take_option},
};

/// The most devices, places and counterparties remembered; the least recently used goes first.
pub const KNOWN_LIMITS: [usize; 3] = [8, 8, 32];

/// A phone's habits.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Event time of the first inserted event.
    pub first_seen: i64,
    /// T: the newest inserted event time.
    pub newest: i64,
    /// Event time of the previous inserted event in log order.
    pub previous: i64,
    /// The last offset applied, for snapshots.
    pub last_offset: i64,
    /// Log amounts: how many, their mean and sum of squared deviations (Welford 1962), home currency only.
    pub amounts: Moments,
    /// The greatest home-currency amount, minor units; 0 without one.
    pub greatest: i64,
    /// Where and when it was last located, in log order.
    pub located: Option<(GeoPoint, i64)>,
    known: Known,
}

/// Running mean and variance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The sum of their squared deviations from it.
    pub squares: f64,
}

impl Moments {
    /// Takes one more value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let from_old_mean = value - self.mean;
        self.mean += from_old_mean / self.count as f64;
        self.squares += from_old_mean * (value - self.mean);
    }

    /// The sample's standard deviation; `None` below two values.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| libm::sqrt(self.squares / (self.count - 1) as f64))
    }
}

/// A kind of thing a phone knows.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Devices; each with the event time of its first use.
    Device,
    /// Places.
    Place,
    /// Counterparties.
    Counterparty,
}

/// Three most-recently-used lists in one allocation: devices (two words each), places, counterparties.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    words: Vec<u64>,
    lengths: [u8; 3],
}

impl Profile {
    /// The profile of a phone whose first inserted event is `event`; call [`Profile::learn`] next, as for any event.
    pub fn starting(event: &Event) -> Self {
        Self {
            first_seen: event.t,
            newest: event.t,
            previous: event.t,
            last_offset: event.offset,
            amounts: Moments::default(),
            greatest: 0,
            located: None,
            known: Known::default(),
        }
    }

    /// Takes in an inserted event: `logged` is its amount and log amount where they enter sums and means.
    pub fn learn(&mut self, event: &Event, logged: Option<(i64, f64)>, geo: Option<GeoPoint>) {
        self.newest = self.newest.max(event.t);
        self.previous = event.t;
        self.last_offset = event.offset;
        if let Some((minor, log)) = logged {
            self.amounts.add(log);
            self.greatest = self.greatest.max(minor);
        }
        if let Some(point) = geo {
            self.located = Some((point, event.t));
        }
        self.known.touch(Kind::Device, event.ids.device, event.t);
        self.known.touch(Kind::Place, event.ids.place, event.t);
        if event.ids.counterparty != Identity::ABSENT {
            self.known.touch(Kind::Counterparty, event.ids.counterparty, event.t);
        }
    }

    /// Whether this phone knows `identity`.
    pub fn knows(&self, kind: Kind, identity: Identity) -> bool {
        self.known.find(kind, identity).is_some()
    }

    /// When this phone first used `device`, while it remembers it.
    pub fn device_since(&self, device: Identity) -> Option<i64> {
        self.known.find(Kind::Device, device).map(|at| self.known.words[at + 1] as i64)
    }

    /// The identity that stands first in memory.
    pub fn first_known(&self) -> Option<Identity> {
        self.known.words.first().copied().map(Identity)
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match self.known.words.capacity() {
            0 => 0,
            words => size_class(words * 8),
        }
    }
}

impl Known {
    /// Where the list begins, in words, and how many words an entry has.
    fn list(&self, kind: Kind) -> (usize, usize) {
        let [devices, places, _] = self.lengths.map(usize::from);
        match kind {
            Kind::Device => (0, 2),
            Kind::Place => (2 * devices, 1),
            Kind::Counterparty => (2 * devices + places, 1),
        }
    }

    fn find(&self, kind: Kind, identity: Identity) -> Option<usize> {
        let (start, width) = self.list(kind);
        let list = self.words.get(start..start + width * usize::from(self.lengths[kind as usize]))?;
        let found = match width {
            1 => list.iter().position(|word| *word == identity.0),
            _ => list.as_chunks::<2>().0.iter().position(|entry| entry[0] == identity.0),
        };
        found.map(|entry| start + entry * width)
    }

    /// Moves `identity` to the front of its list, as a new entry where it is not in it.
    fn touch(&mut self, kind: Kind, identity: Identity, t: i64) {
        let (start, width) = self.list(kind);
        if let Some(at) = self.find(kind, identity) {
            to_front(&mut self.words[start..at + width], width);
            return;
        }
        let length = usize::from(self.lengths[kind as usize]);
        if length == KNOWN_LIMITS[kind as usize] {
            to_front(&mut self.words[start..start + width * length], width);
            self.words[start] = identity.0;
        } else {
            if self.words.capacity() - self.words.len() < width {
                self.words.reserve_exact(size_class((self.words.len() + width) * 8) / 8 - self.words.len());
            }
            (0..width).for_each(|_| self.words.insert(start, identity.0));
            self.lengths[kind as usize] += 1;
        }
        if width == 2 {
            self.words[start + 1] = t as u64;
        }
    }
}

/// Moves the last entry of a list, of one word or two, before all others; mostly it is there.
fn to_front(list: &mut [u64], width: usize) {
    let (second, first) = (list.len() - 1, list.len() - width);
    let (entry, other) = (list[first], list[second]);
    for at in (0..first).rev() {
        list[at + width] = list[at];
    }
    list[width - 1] = other;
    list[0] = entry;
}

impl Stored for Profile {
    fn put(&self, out: &mut Vec<u8>) {
        [self.first_seen, self.newest, self.previous, self.last_offset].iter().for_each(|word| out.put_i64_le(*word));
        let Moments { count, mean, squares } = self.amounts;
        out.put_u64_le(count);
        // Raw bits: a mean that went through text would be another mean.
        out.put_u64_le(mean.to_bits());
        out.put_u64_le(squares.to_bits());
        out.put_i64_le(self.greatest);
        put_option(self.located.as_ref(), out);
        out.put_slice(&self.known.lengths);
        self.known.words.iter().for_each(|word| out.put_u64_le(*word));
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let mut word = || from.try_get_i64_le();
        let (first_seen, newest, previous, last_offset) = (word()?, word()?, word()?, word()?);
        let amounts = Moments {
            count: from.try_get_u64_le()?,
            mean: f64::from_bits(from.try_get_u64_le()?),
            squares: f64::from_bits(from.try_get_u64_le()?),
        };
        let greatest = from.try_get_i64_le()?;
        let located = take_option(from)?;
        let known = Known::take(from)?;
        Ok(Self { first_seen, newest, previous, last_offset, amounts, greatest, located, known })
    }
}

impl Stored for (GeoPoint, i64) {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_i32_le(self.0.lat_e7);
        out.put_i32_le(self.0.lon_e7);
        out.put_i64_le(self.1);
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let point = GeoPoint { lat_e7: from.try_get_i32_le()?, lon_e7: from.try_get_i32_le()? };
        Ok((point, from.try_get_i64_le()?))
    }
}

impl Known {
    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let mut lengths = [0; 3];
        from.try_copy_to_slice(&mut lengths)?;
        if lengths.iter().zip(KNOWN_LIMITS).any(|(length, most)| usize::from(*length) > most) {
            return Err(Damaged("a profile knows more than it may"));
        }
        let [devices, places, counterparties] = lengths.map(usize::from);
        let bytes = (2 * devices + places + counterparties) * 8;
        let (known, rest) = from.split_at_checked(bytes).ok_or(Damaged("a profile ends too early"))?;
        *from = rest;
        let mut words = Vec::with_capacity(size_class(bytes) / 8);
        words.extend(known.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        Ok(Self { words, lengths })
    }
}
