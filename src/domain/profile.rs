//! What a phone is used to: known devices, places and counterparties, the amounts it moves, when and where it was
//! last seen. Kept in log order over inserted events, bounded, beside the windows and longer than they.

use bytes::{Buf, BufMut};

use super::{
    identity::{Identities, Identity},
    place::GeoPoint,
    prefetch::prefetch,
    ring::{Event, Ring, size_class},
    rules::{WINDOWS, WINDOWS_MS},
    stored::{Damaged, Stored, put_option, take_option},
};

/// The most devices, places and counterparties remembered; the least recently used goes first.
pub const KNOWN_LIMITS: [usize; 3] = [8, 8, 32];

/// Words of a known device: which it is, the event time of its first use, and of its newest.
const DEVICE: usize = 3;

/// Words of a device that are stored: the ring tells its newest use.
const STORED: usize = DEVICE - 1;

/// Earlier than any event time.
const NEVER: u64 = i64::MIN as u64;

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
    /// Devices; each with the event times of its first and its newest use.
    Device,
    /// Places.
    Place,
    /// Counterparties.
    Counterparty,
}

/// Which of an event's identities a phone knows.
#[derive(Clone, Copy, Debug)]
pub struct Recognised {
    /// The entry of each in its list.
    entries: [Option<usize>; KNOWN_LIMITS.len()],
    /// When the phone first used the device, while it remembers it.
    pub device_since: Option<i64>,
}

impl Recognised {
    /// Whether the phone knows what the event has of this kind.
    pub fn knows(&self, kind: Kind) -> bool {
        self.entries[kind as usize].is_some()
    }
}

/// Three most-recently-used lists in one allocation: devices (three words each), places, counterparties.
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

    /// Takes in an inserted event, of which this profile knows what is `recognised`: `logged` is its amount and log amount where
    /// they enter sums and means.
    pub fn learn(&mut self, event: &Event, recognised: &Recognised, logged: Option<(i64, f64)>, geo: Option<GeoPoint>) {
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
        self.known.touch(Kind::Device, event.ids.device, recognised, event.t);
        if let Some(first) = self.known.devices_mut().first_mut() {
            used(first, event.t);
        }
        self.known.touch(Kind::Place, event.ids.place, recognised, event.t);
        if event.ids.counterparty != Identity::ABSENT {
            self.known.touch(Kind::Counterparty, event.ids.counterparty, recognised, event.t);
        }
    }

    /// What this phone knows of `ids`, till it learns of another event.
    pub fn recognise(&self, ids: &Identities) -> Recognised {
        let known = &self.known;
        let device = known.find(Kind::Device, ids.device);
        let counterparty = match ids.counterparty {
            Identity::ABSENT => None,
            other => known.find(Kind::Counterparty, other),
        };
        Recognised {
            entries: [device, known.find(Kind::Place, ids.place), counterparty],
            device_since: device.map(|entry| known.words[DEVICE * entry + 1] as i64),
        }
    }

    /// Whether no device can have been forgotten: there is room for one more.
    pub fn knows_all_devices(&self) -> bool {
        self.known.devices().len() < KNOWN_LIMITS[Kind::Device as usize]
    }

    /// How many devices were used in each of the windows `counted` as of `a`, `current` among them: without a look at the ring,
    /// where no use is later than `a` and the profile knows all devices.
    pub fn devices_used(&self, current: Identity, a: i64, counted: &[bool; WINDOWS]) -> Option<[u32; WINDOWS]> {
        if self.newest > a || !self.knows_all_devices() {
            return None;
        }
        let mut used = [0; WINDOWS];
        for window in (0..WINDOWS).filter(|window| counted[*window]) {
            let start = a - WINDOWS_MS[window];
            let others = self.known.devices().iter();
            let others = others.filter(|[device, _, newest]| *device != current.0 && *newest as i64 > start);
            used[window] = 1 + others.count() as u32;
        }
        Some(used)
    }

    /// Tells the devices' newest uses by the events that are still in the ring: no older one is in any window.
    pub fn recall_devices(&mut self, ring: &Ring) {
        for event in ring.newest_first(i64::MAX) {
            let devices = self.known.devices_mut().iter_mut();
            devices.filter(|[known, ..]| *known == event.ids.device.0).for_each(|device| used(device, event.t));
        }
    }

    /// Has what this phone knows fetched.
    pub fn fetch(&self) {
        prefetch(&self.known.words);
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
            Kind::Device => (0, DEVICE),
            Kind::Place => (DEVICE * devices, 1),
            Kind::Counterparty => (DEVICE * devices + places, 1),
        }
    }

    fn devices(&self) -> &[[u64; DEVICE]] {
        self.words[..DEVICE * usize::from(self.lengths[Kind::Device as usize])].as_chunks().0
    }

    fn devices_mut(&mut self) -> &mut [[u64; DEVICE]] {
        self.words[..DEVICE * usize::from(self.lengths[Kind::Device as usize])].as_chunks_mut().0
    }

    /// The entry of its list that is of this identity.
    fn find(&self, kind: Kind, identity: Identity) -> Option<usize> {
        let (start, width) = self.list(kind);
        let list = self.words.get(start..start + width * usize::from(self.lengths[kind as usize]))?;
        match width {
            1 => list.iter().position(|word| *word == identity.0),
            _ => list.as_chunks::<DEVICE>().0.iter().position(|[device, ..]| *device == identity.0),
        }
    }

    /// Moves `identity` to the front of its list, as a new entry where it is not `recognised`.
    fn touch(&mut self, kind: Kind, identity: Identity, recognised: &Recognised, t: i64) {
        let (start, width) = self.list(kind);
        if let Some(entry) = recognised.entries[kind as usize] {
            // Mostly it stands there.
            if entry > 0 {
                self.words[start..start + (entry + 1) * width].rotate_right(width);
            }
            return;
        }
        let length = usize::from(self.lengths[kind as usize]);
        if length == KNOWN_LIMITS[kind as usize] {
            self.words[start..start + width * length].rotate_right(width);
            self.words[start] = identity.0;
        } else {
            if self.words.capacity() - self.words.len() < width {
                self.words.reserve_exact(size_class((self.words.len() + width) * 8) / 8 - self.words.len());
            }
            (0..width).for_each(|_| self.words.insert(start, identity.0));
            self.lengths[kind as usize] += 1;
        }
        if width == DEVICE {
            self.words[start + 1..start + DEVICE].fill(t as u64);
        }
    }
}

/// Notes that a known device was used at `t`.
fn used([.., newest]: &mut [u64; DEVICE], t: i64) {
    *newest = t.max(*newest as i64) as u64;
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
        // When devices were used last is told by the ring.
        self.known
            .devices()
            .iter()
            .flat_map(|[device, since, _]| [device, since])
            .for_each(|word| out.put_u64_le(*word));
        self.known.words[self.known.list(Kind::Place).0..].iter().for_each(|word| out.put_u64_le(*word));
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
        let (stored, held) = (STORED * devices + places + counterparties, DEVICE * devices + places + counterparties);
        let (known, rest) = from.split_at_checked(stored * 8).ok_or(Damaged("a profile ends too early"))?;
        *from = rest;
        let mut stored = known.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut words = Vec::with_capacity(size_class(held * 8) / 8);
        for _ in 0..devices {
            words.extend(stored.by_ref().take(STORED).chain([NEVER]));
        }
        words.extend(stored);
        Ok(Self { words, lengths })
    }
}
