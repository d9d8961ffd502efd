//! One phone's history: ring, totals, excess and profile together, and the rules by which events enter it (C2, C3).
//!
//! Invariant: its answers are a function of the events inserted, the watermark at the question and the rules; when
//! pruning and caching happen never shows.

use super::{
    excess::Excess,
    hot::Totals,
    identity::{Identities, Identity},
    place::GeoPoint,
    profile::{Profile, Recognised},
    ring::{Event, Ring},
    row::log_amount,
    rules::{LONGEST_WINDOW_MS, Rules, WINDOWS},
    stored::{Damaged, Stored, put_option, take_option},
    window::{Windows, scan},
};

/// Rings above this many events carry running totals.
const TOTALS_ABOVE: usize = 128;

/// Rings below this many events drop them again.
const TOTALS_BELOW: usize = 64;

/// The newest events, which most questions are about: those of a day, as a rule.
const NEWEST: usize = 8;

/// A phone's history; it begins with its first inserted event.
#[derive(Clone, Debug)]
pub struct History {
    /// What the phone is used to.
    pub profile: Profile,
    ring: Ring,
    hot: Option<Box<Hot>>,
}

#[derive(Clone, Debug, Default)]
struct Hot {
    totals: Option<Totals>,
    excess: Excess,
}

/// The heap and inline bytes of one history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Events.
    pub ring: usize,
    /// The running totals that large rings carry beside them.
    pub totals: usize,
    /// Profile, with the entry itself.
    pub profile: usize,
}

impl Footprint {
    /// Adds another's bytes.
    pub fn add(&mut self, other: Self) {
        self.ring += other.ring;
        self.totals += other.totals;
        self.profile += other.profile;
    }
}

/// What the windows say of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The windows, the event included.
    pub windows: Windows,
    /// Whether hourly panes took part.
    pub saturated: bool,
}

/// What is known already of an event that is about to enter; all else is worked out there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prepared {
    /// Its log amount.
    pub log: Option<f64>,
    /// What the profile knows of it.
    pub recognised: Option<Recognised>,
}

impl Observed {
    /// What a phone without a history shows: the event alone.
    pub fn alone(event: &Event, a: i64, rules: &Rules) -> Self {
        Self { windows: scan(&Ring::default(), event, a, None, rules), saturated: false }
    }
}

impl History {
    /// An empty history that `event` is about to enter.
    pub fn starting(event: &Event) -> Self {
        Self { profile: Profile::starting(event), ring: Ring::default(), hot: None }
    }

    /// Drops what no window and no duplicate can reach any more once the watermark is `wm`.
    pub fn prune(&mut self, wm: i64, rules: &Rules) {
        let expired = wm - rules.lateness_ms - LONGEST_WINDOW_MS;
        while self.ring.oldest().is_some_and(|t| t <= expired) {
            self.pop_oldest(rules);
        }
        if let Some(hot) = &mut self.hot {
            let forgotten = wm - rules.lateness_ms - rules.duplicate_ms;
            hot.excess.prune(expired, forgotten);
            if self.ring.len() < TOTALS_BELOW {
                hot.totals = None;
            }
            if let Some(totals) = &mut hot.totals {
                totals.forget(&self.ring, forgotten);
            }
            if hot.totals.is_none() && hot.excess.is_empty() {
                self.hot = None;
            }
        }
    }

    /// The original that an event of this transaction identity, judged as of `a`, repeats.
    pub fn original(&self, transaction: Identity, a: i64, rules: &Rules) -> Option<Event> {
        let oldest = a - rules.duplicate_ms;
        let in_ring = match self.totals() {
            Some(totals) => totals.original(&self.ring, transaction),
            None => self.ring.newest_of(transaction, oldest),
        };
        let evicted = || self.hot.as_ref().and_then(|hot| hot.excess.original(transaction));
        in_ring.or_else(evicted).filter(|original| original.t > oldest)
    }

    /// The windows as of `a` with `event` in them; moves totals forward, which never shows.
    pub fn observe(&mut self, event: &Event, a: i64, rules: &Rules) -> Observed {
        let home = rules.home_currency;
        let devices = self.devices_used(event, a, rules);
        let totals = self.hot.as_mut().and_then(|hot| hot.totals.as_mut()).filter(|totals| totals.reaches(a));
        let mut windows = match totals {
            Some(totals) => {
                if devices.is_none() && !totals.has_devices(&rules.counted) {
                    totals.count_devices(&self.ring, &rules.counted);
                }
                totals.advance(&self.ring, a, home);
                totals.windows(&self.ring, event, devices, home)
            }
            None => scan(&self.ring, event, a, devices, rules),
        };
        let excess = self.hot.as_ref().map(|hot| &hot.excess);
        let saturated = excess.is_some_and(|excess| excess.add_to(&mut windows, a, rules));
        Observed { windows, saturated }
    }

    /// How many devices each window has, where the profile can tell: what the cap pushed out counts as never used.
    fn devices_used(&self, event: &Event, a: i64, rules: &Rules) -> Option<[u32; WINDOWS]> {
        let whole = self.hot.as_ref().is_none_or(|hot| hot.excess.is_empty());
        whole.then(|| self.profile.devices_used(event.ids.device, a, &rules.counted.devices))?
    }

    /// Takes `event` in: ring, totals, cap and profile.
    pub fn insert(&mut self, event: &Event, geo: Option<GeoPoint>, prepared: Prepared, rules: &Rules) {
        let home = rules.home_currency;
        self.ring.insert(event);
        match self.hot.as_mut().and_then(|hot| hot.totals.as_mut()) {
            Some(totals) => totals.inserted(event, &self.ring, home),
            None if self.ring.len() > TOTALS_ABOVE => {
                let totals = Totals::build(&self.ring, rules.counted.but_devices(), home);
                self.hot.get_or_insert_default().totals = Some(totals);
            }
            None => {}
        }
        if self.ring.len() > rules.ring_cap
            && let Some(evicted) = self.pop_oldest(rules)
        {
            self.hot.get_or_insert_default().excess.take(&evicted, home);
        }
        let logged = event.money.summed(home).map(|minor| (minor, prepared.log.unwrap_or_else(|| log_amount(minor))));
        let recognised = prepared.recognised.unwrap_or_else(|| self.profile.recognise(&event.ids));
        self.profile.learn(event, &recognised, logged, geo);
    }

    /// Has fetched what the next event will meet: the known identities, the ring's ends; of running totals it is loaded.
    pub fn fetch(&self, ids: &Identities) {
        self.profile.fetch();
        self.ring.fetch(NEWEST);
        if let Some(totals) = self.totals() {
            totals.fetch(&self.ring, ids);
        }
    }

    /// How many events the ring holds.
    pub fn events(&self) -> usize {
        self.ring.len()
    }

    /// Whether the ring holds four fifths of what it may.
    pub fn is_crowded(&self, rules: &Rules) -> bool {
        self.ring.len() * 5 >= rules.ring_cap * 4
    }

    /// Bytes held, as the allocator rounds them (but for what a cap pushed out).
    pub fn footprint(&self) -> Footprint {
        Footprint {
            ring: self.ring.heap_bytes(),
            totals: self.totals().map_or(0, |totals| size_of::<Hot>() + totals.heap_bytes()),
            profile: size_of::<Self>() + self.profile.heap_bytes(),
        }
    }

    /// Appends the history to a snapshot. Totals are a cache and stay behind.
    pub fn put(&self, out: &mut Vec<u8>) {
        self.profile.put(out);
        self.ring.put(out);
        let excess = self.hot.as_ref().map(|hot| &hot.excess).filter(|excess| !excess.is_empty());
        put_option(excess, out);
    }

    /// Takes a history from a snapshot's bytes.
    ///
    /// # Errors
    /// The bytes are none that [`History::put`] writes under these rules.
    pub fn take(from: &mut &[u8], rules: &Rules) -> Result<Self, Damaged> {
        let (mut profile, ring) = (Profile::take(from)?, Ring::take(from)?);
        profile.recall_devices(&ring);
        let excess = take_option::<Excess>(from)?;
        if ring.len() > rules.ring_cap {
            return Err(Damaged("a ring holds more than windows.ring_cap"));
        }
        let devices_told = excess.is_none() && profile.knows_all_devices();
        let counted = if devices_told { rules.counted.but_devices() } else { rules.counted };
        let totals = (ring.len() > TOTALS_ABOVE).then(|| Totals::build(&ring, counted, rules.home_currency));
        let hot = totals.is_some() || excess.is_some();
        let hot = hot.then(|| Box::new(Hot { totals, excess: excess.unwrap_or_default() }));
        Ok(Self { profile, ring, hot })
    }

    fn totals(&self) -> Option<&Totals> {
        self.hot.as_ref()?.totals.as_ref()
    }

    fn pop_oldest(&mut self, rules: &Rules) -> Option<Event> {
        let event = self.ring.pop_oldest()?;
        if let Some(totals) = self.hot.as_mut().and_then(|hot| hot.totals.as_mut()) {
            totals.removed_oldest(&event, rules.home_currency);
        }
        Some(event)
    }
}
