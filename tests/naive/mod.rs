//! What the windows, time, memory and profile rules say (C2, C3), recomputed for each record from all that was ever
//! inserted: no ring, no totals, no pruning, no hashes. Slow and plain: the measure of the clever code.

// Each test binary compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::collections::{BTreeSet, HashMap};

use sentra::{
    domain::{
        features::{self as f, FEATURES, Row},
        flags::Flags,
        partitioner::partition_of,
        place::{self, GeoPoint},
        row::distance_km,
        rules::{LONGEST_WINDOW_MS, Rules, Scope, WINDOWS, WINDOWS_MS},
        time::{DAY_MS, HOUR_MS, SECOND_MS},
        transaction::{Channel, TransactionType},
        window::Windows,
    },
    engine::partition::Judgement,
};

use crate::traffic::{PLACES, Sent, Truth, phone_key};

/// The most devices, places and counterparties a phone is known by.
const KNOWN: [usize; 3] = [8, 8, 32];

/// Whose history it is.
pub type Whose = (u8, Option<u8>);

/// What must come of a readable record.
#[derive(Clone, Debug)]
pub struct Expected {
    pub t: i64,
    pub as_of: i64,
    pub watermark: i64,
    pub whose: Whose,
    pub judgement: Judgement,
    pub flags: Flags,
    pub windows: Windows,
    pub row: Row,
}

#[derive(Clone, Debug)]
struct Past {
    t: i64,
    offset: i64,
    truth: Truth,
    /// Pushed out by the cap: it lives on in its hourly pane only.
    evicted: bool,
}

pub struct Naive {
    rules: Rules,
    partition: i32,
    partitions: i32,
    head_lost: bool,
    since: Option<i64>,
    watermark: Option<i64>,
    /// Inserted events in log order.
    lives: HashMap<Whose, Vec<Past>>,
}

impl Naive {
    pub fn new(rules: Rules, partition: i32, partitions: i32, start: i64) -> Self {
        let head_lost = start > 0;
        Self { rules, partition, partitions, head_lost, since: None, watermark: None, lives: HashMap::new() }
    }

    /// `None` where the record is unreadable: then nothing changes.
    pub fn take(&mut self, offset: i64, sent: &Sent) -> Option<Expected> {
        let truth = sent.truth.as_ref()?;
        let rules = self.rules.clone();
        let t = match (sent.kafka_ms, rules.max_future_ms) {
            (Some(at), Some(future)) => truth.timestamp.min(i64::max(at + future, 0)),
            _ => truth.timestamp,
        };
        let wm = self.watermark.unwrap_or(t).max(t);
        self.watermark = Some(wm);
        let since = *self.since.get_or_insert(t);
        let whose = (truth.phone, truth.institution.filter(|_| rules.scope == Scope::Institution));
        let life = self.lives.entry(whose).or_default();
        if life.iter().all(|past| past.t <= wm - rules.forget_ms) {
            life.clear();
        }
        let a = t.max(wm - rules.lateness_ms);
        let judgement = judge(life, truth, t, a, wm, &rules);
        let (windows, saturated) = windows(life, truth, a, wm, &rules);
        let warming = |span: i64| self.head_lost && wm <= since + span;
        let profile: &[Past] = if warming(30 * DAY_MS) { &[] } else { life };
        let row = row(profile, truth, t, &windows, &rules);
        let mut flags = Flags::default();
        flags.set(Flags::OUT_OF_ORDER, life.iter().any(|past| past.t > t));
        flags.set(Flags::TIME_ADJUSTED, t != truth.timestamp);
        flags.set(Flags::SATURATED, saturated);
        flags.set(Flags::WARMING, warming(30 * DAY_MS) || warming(rules.lateness_ms + LONGEST_WINDOW_MS));
        let home = partition_of(phone_key(truth.phone).as_bytes(), self.partitions);
        flags.set(Flags::MISROUTED, home != self.partition);
        flags.set(Flags::FOREIGN_CURRENCY, truth.currency != "KES");
        if judgement == Judgement::Scored {
            life.push(Past { t, offset, truth: truth.clone(), evicted: false });
            evict(life, wm, &rules);
        }
        Some(Expected { t, as_of: a, watermark: wm, whose, judgement, flags, windows, row })
    }
}

/// The event an id stands for: the newest one with it that a duplicate as of `a` may still name.
fn judge(life: &[Past], truth: &Truth, t: i64, a: i64, wm: i64, rules: &Rules) -> Judgement {
    let named = |past: &&Past| {
        past.truth.id == truth.id && past.truth.institution == truth.institution && past.t > a - rules.duplicate_ms
    };
    match life.iter().filter(named).max_by_key(|past| (past.t, past.offset)) {
        Some(past) => {
            let same = past.truth.minor == truth.minor
                && past.truth.currency == truth.currency
                && past.truth.counterparty == truth.counterparty;
            let original = past.offset;
            if same { Judgement::Duplicate { original } } else { Judgement::Conflict { original } }
        }
        None if t <= wm - rules.lateness_ms => Judgement::Late,
        None => Judgement::Scored,
    }
}

/// What is kept one by one is the newest `ring_cap` events of those that have not expired.
fn evict(life: &mut [Past], wm: i64, rules: &Rules) {
    let mut live: Vec<&mut Past> =
        life.iter_mut().filter(|past| past.t > wm - rules.lateness_ms - LONGEST_WINDOW_MS).collect();
    live.sort_by_key(|past| (past.t, past.offset));
    let beyond = live.len().saturating_sub(rules.ring_cap);
    live.into_iter().take(beyond).for_each(|past| past.evicted = true);
}

fn summed(truth: &Truth) -> i64 {
    if truth.currency == "KES" && truth.kind != Some("REVERSAL") { truth.minor } else { 0 }
}

fn distinct<T: Ord>(of: impl Iterator<Item = T>) -> u32 {
    of.collect::<BTreeSet<T>>().len() as u32
}

fn windows(life: &[Past], truth: &Truth, a: i64, wm: i64, rules: &Rules) -> (Windows, bool) {
    let mut windows = Windows::default();
    let mut saturated = false;
    for (window, length) in WINDOWS_MS.into_iter().enumerate() {
        let kept = |past: &&Past| !past.evicted && past.t > wm - rules.lateness_ms - LONGEST_WINDOW_MS;
        let inside: Vec<&Truth> = life
            .iter()
            .filter(kept)
            .filter(|past| past.t > a - length && past.t <= a)
            .map(|past| &past.truth)
            .chain([truth])
            .collect();
        windows.count[window] = inside.len() as u32;
        windows.sum[window] = inside.iter().map(|truth| summed(truth)).fold(0, i64::saturating_add);
        windows.counterparties[window] = distinct(inside.iter().filter_map(|truth| truth.counterparty));
        windows.devices[window] = distinct(inside.iter().map(|truth| truth.device));
        windows.places[window] = distinct(inside.iter().map(|truth| truth.place));
        if window >= WINDOWS - 2 {
            let panes = (a - length).div_euclid(HOUR_MS)..=a.div_euclid(HOUR_MS);
            for past in life.iter().filter(|past| past.evicted && panes.contains(&past.t.div_euclid(HOUR_MS))) {
                windows.count[window] += 1;
                windows.sum[window] = windows.sum[window].saturating_add(summed(&past.truth));
                saturated = true;
            }
        }
    }
    (windows, saturated)
}

fn row(life: &[Past], truth: &Truth, t: i64, windows: &Windows, rules: &Rules) -> Row {
    let mut row = [f64::NAN; FEATURES];
    row[f::COUNT_5M] = f64::from(windows.count[1]);
    row[f::COUNT_1H] = f64::from(windows.count[2]);
    row[f::COUNT_24H] = f64::from(windows.count[3]);
    row[f::SUM_1H] = windows.sum[2] as f64 / 100.0;
    row[f::SUM_24H] = windows.sum[3] as f64 / 100.0;
    row[f::DEVICES_7D] = f64::from(windows.devices[4]);
    row[f::PLACES_24H] = f64::from(windows.places[3]);
    row[f::COUNTERPARTIES_24H] = f64::from(windows.counterparties[3]);
    let local = t + rules.utc_offset_ms;
    row[f::HOUR] = (local % DAY_MS) as f64 / HOUR_MS as f64;
    row[f::DAY] = ((local / DAY_MS + 3) % 7) as f64;
    if let Some(kind) = truth.kind {
        let code = TransactionType::ALL.iter().position(|known| known.as_str() == kind);
        row[f::TYPE] = code.expect("a type") as f64;
    }
    if let Some(channel) = truth.channel {
        row[f::CHANNEL] = Channel::ALL.iter().position(|known| known.as_str() == channel).expect("a channel") as f64;
    }
    amounts(&mut row, life, truth);
    if let Some(last) = life.last() {
        habits(&mut row, life, truth, t);
        row[f::RECENCY] = (t - last.t) as f64 / SECOND_MS as f64;
    }
    if let Some(opened) = truth.opened.or(life.first().map(|first| first.t)) {
        row[f::ACCOUNT_AGE] = (t - opened) as f64 / DAY_MS as f64;
    }
    row
}

fn logged(minor: i64) -> f64 {
    libm::log1p(minor as f64 / 100.0)
}

fn amounts(row: &mut Row, life: &[Past], truth: &Truth) {
    if truth.currency != "KES" {
        return;
    }
    row[f::LOG_AMOUNT] = logged(truth.minor);
    let past: Vec<i64> = life.iter().map(|past| summed(&past.truth)).filter(|minor| *minor > 0).collect();
    let Some(greatest) = past.iter().max() else { return };
    let (mut mean, mut squares) = (0.0, 0.0);
    for (before, minor) in past.iter().enumerate() {
        let (value, old) = (logged(*minor), mean);
        mean = old + (value - old) / (before + 1) as f64;
        squares += (value - old) * (value - mean);
    }
    row[f::AMOUNT_TO_MEAN] = libm::exp(logged(truth.minor) - mean);
    row[f::AMOUNT_TO_MAX] = truth.minor as f64 / *greatest as f64;
    if past.len() >= 3 {
        let deviation = libm::sqrt(squares / (past.len() - 1) as f64);
        row[f::AMOUNT_Z] = (logged(truth.minor) - mean) / deviation.max(0.05);
    }
}

fn habits(row: &mut Row, life: &[Past], truth: &Truth, t: i64) {
    let since = known(life.iter().map(|past| (past.truth.device, past.t)), KNOWN[0], truth.device);
    row[f::DEVICE_NEW] = if since.is_none() { 1.0 } else { 0.0 };
    if let Some(since) = since {
        row[f::DEVICE_AGE] = (t - since) as f64 / SECOND_MS as f64;
    }
    let place = known(life.iter().map(|past| (past.truth.place, past.t)), KNOWN[1], truth.place);
    row[f::PLACE_NEW] = if place.is_none() { 1.0 } else { 0.0 };
    if let Some(counterparty) = truth.counterparty {
        let met = life.iter().filter_map(|past| past.truth.counterparty.map(|other| (other, past.t)));
        row[f::COUNTERPARTY_NEW] = if known(met, KNOWN[2], counterparty).is_none() { 1.0 } else { 0.0 };
    }
    let located = life.iter().rev().find_map(|past| Some((point(&past.truth)?, past.t)));
    if let (Some(here), Some((there, then))) = (point(truth), located) {
        let hours = (t - then).abs().max(SECOND_MS) as f64 / HOUR_MS as f64;
        row[f::DISTANCE] = distance_km(here, there);
        row[f::SPEED] = distance_km(here, there) / hours;
    }
}

/// Since when `wanted` has been among the `limit` most recently used, if it is.
fn known<T: PartialEq>(uses: impl Iterator<Item = (T, i64)>, limit: usize, wanted: T) -> Option<i64> {
    let mut list: Vec<(T, i64)> = Vec::new();
    for (used, t) in uses {
        let since = match list.iter().position(|(known, _)| *known == used) {
            Some(at) => list.remove(at).1,
            None => t,
        };
        list.push((used, since));
        if list.len() > limit {
            list.remove(0);
        }
    }
    list.into_iter().find(|(known, _)| *known == wanted).map(|(_, since)| since)
}

fn point(truth: &Truth) -> Option<GeoPoint> {
    let sent = truth.geo.and_then(|(latitude, longitude)| GeoPoint::from_degrees(latitude, longitude));
    sent.or_else(|| place::lookup(PLACES[truth.place?].0))
}
