//! The step: one record of one partition's log changes its state and is judged (C1 to C4).
//!
//! The state after offset n is a pure function of the rules and of records 0..=n. No clock, no randomness, no batch
//! boundary, no other partition and no model enters; when the sweep runs never shows.

mod judged;
mod replay;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::phones::{Found, Phones};
use crate::domain::{
    decode::{Habits, decode_by},
    features,
    flags::Flags,
    history::{Footprint, History, Observed, Prepared},
    identity::LogId,
    partitioner::partition_of,
    place,
    ring::{Event, Money},
    row,
    rules::{LONGEST_WINDOW_MS, Rules, Scope},
    time::{DAY_MS, EventTimeMs},
    transaction::{Record, Transaction, TransactionType},
};
use judged::Met;
pub use judged::{Judged, Judgement, Read, Step};

/// Profiles rebuilt from a log whose head is gone are incomplete for this long.
const PROFILE_WARMING_MS: i64 = 30 * DAY_MS;

/// Which log a partition's state is of.
#[derive(Clone, Debug)]
pub struct Place {
    /// The transaction topic's id.
    pub log: LogId,
    /// This partition.
    pub partition: i32,
    /// How many the topic has, to tell misrouted records.
    pub partitions: i32,
}

/// The state of one partition.
#[derive(Debug)]
pub struct Partition {
    rules: Arc<Rules>,
    place: Place,
    phones: Phones,
    watermark: Option<i64>,
    reach: Reach,
    next: i64,
    habits: Habits,
}

/// All of a partition's state that is not per phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The next offset to apply: all records below it are in.
    pub next: i64,
    /// WM, milliseconds; `None` before the first readable record.
    pub watermark: Option<i64>,
    /// How far back state reaches.
    pub reach: Reach,
}

/// How far back state reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// To the log's first record.
    Whole,
    /// The log's head was gone; state begins with the first readable record, at this event time once there is one.
    Since(Option<i64>),
}

/// One readable record as it meets the state.
struct Arrival {
    event: Event,
    met: Met,
    as_of: i64,
    watermark: i64,
}

impl Partition {
    /// Empty state before `start`, the input log's first offset. A log that starts above 0 has lost its head.
    pub fn new(rules: Arc<Rules>, place: Place, start: i64) -> Self {
        let reach = if start == 0 { Reach::Whole } else { Reach::Since(None) };
        Self::bounded(rules, place, Bounds { next: start, watermark: None, reach })
    }

    /// Empty state with these bounds: what a snapshot's copies are restored into.
    pub fn bounded(rules: Arc<Rules>, place: Place, Bounds { next, watermark, reach }: Bounds) -> Self {
        Self { rules, place, phones: Phones::default(), watermark, reach, next, habits: Habits::default() }
    }

    /// What is not per phone.
    pub fn bounds(&self) -> Bounds {
        Bounds { next: self.next, watermark: self.watermark, reach: self.reach }
    }

    /// The histories, for a snapshot to copy or restore.
    pub fn phones_mut(&mut self) -> &mut Phones {
        &mut self.phones
    }

    /// The records up to `start` are gone: state goes on there, and all that rests on what came before is incomplete.
    pub fn go_on_at(&mut self, start: i64) {
        self.reach = Reach::Since(None);
        self.next = start;
    }

    /// Applies the record and judges it.
    pub fn step<'a>(&mut self, record: &Record<'a>) -> Step<'a> {
        let read = self.read(record);
        self.apply(record, read)
    }

    /// The first part of [`Partition::step`], which neither asks nor changes the state: any number of records may be read ahead.
    pub fn read<'a>(&mut self, record: &Record<'a>) -> Read<'a> {
        let decoded = decode_by(&mut self.habits, record, &self.rules);
        // Told before the transaction is moved: bytes written one by one are waited for when they are copied together at once.
        let met = decoded.as_ref().map_or(Met::NOBODY, |transaction| self.meet(transaction));
        Read(decoded.map(|transaction| Judged::unjudged(record.offset, transaction, met)))
    }

    /// Looks for the history that a record is about to meet. Never shows in any result.
    pub fn look_for(&self, read: &mut Read<'_>) {
        if let Ok(unjudged) = &mut read.0 {
            unjudged.met.hint = self.phones.guess(&unjudged.met.subject);
        }
    }

    /// Has the memory fetched that [`Partition::apply`] will touch, so that several records wait for theirs together.
    /// Never shows in any result.
    pub fn fetch(&self, read: &Read<'_>) {
        if let Ok(Met { hint: Some(found), ids, .. }) = read.0.as_ref().map(|unjudged| &unjudged.met) {
            self.phones.fetch(*found, ids);
        }
    }

    /// The rest of [`Partition::step`]: `read` is what was read of `record`.
    pub fn apply<'a>(&mut self, record: &Record<'_>, read: Read<'a>) -> Step<'a> {
        self.skip(record.offset);
        match read.0 {
            Ok(unjudged) => Step::Judged(self.judge(unjudged, record.timestamp_ms)),
            Err(invalid) => Step::Invalid(invalid),
        }
    }

    /// Passes the record at `offset` over: nothing of it enters.
    pub fn skip(&mut self, offset: i64) {
        self.next = offset + 1;
    }

    /// [`Partition::step`] without its decoding, to be measured apart: `transaction` is what `record` decodes to.
    pub fn step_decoded<'a>(&mut self, transaction: Transaction<'a>, record: &Record<'_>) -> Box<Judged<'a>> {
        let met = self.meet(&transaction);
        let unjudged = Judged::unjudged(record.offset, transaction, met);
        self.judge(unjudged, record.timestamp_ms)
    }

    fn judge<'a>(&mut self, mut judged: Box<Judged<'a>>, timestamp_ms: Option<i64>) -> Box<Judged<'a>> {
        self.next = judged.offset + 1;
        let arrival = self.arrive(&judged, timestamp_ms);
        let Judged { transaction, row, .. } = &mut *judged;
        let transaction = &*transaction;
        let mut flags = Flags::default();
        flags.set(Flags::TIME_ADJUSTED, arrival.event.t != transaction.timestamp.0);
        flags.set(Flags::FOREIGN_CURRENCY, transaction.currency != self.rules.home_currency);
        let partition = partition_of(transaction.phone.key().as_bytes(), self.place.partitions);
        flags.set(Flags::MISROUTED, partition != self.place.partition);
        let profiles_complete = self.complete_since(PROFILE_WARMING_MS);
        let windows_complete = self.complete_since(self.rules.lateness_ms + LONGEST_WINDOW_MS);
        flags.set(Flags::WARMING, !(profiles_complete && windows_complete));
        let (rules, event, a) = (&*self.rules, &arrival.event, arrival.as_of);
        let found = known(&mut self.phones, &arrival, rules);
        let mut known = found.map(|found| self.phones.at(found));
        let judgement = arrival.judge(known.as_deref(), rules);
        let observed = match &mut known {
            Some(history) => history.observe(event, a, rules),
            None => Observed::alone(event, a, rules),
        };
        let profile = known.as_deref().map(|history| &history.profile);
        flags.set(Flags::OUT_OF_ORDER, profile.is_some_and(|profile| event.t < profile.newest));
        flags.set(Flags::SATURATED, observed.saturated);
        let recognised = profile.map(|profile| profile.recognise(&event.ids));
        let reliable = profile.zip(recognised.as_ref()).filter(|_| profiles_complete);
        row::compute(row, transaction, event, arrival.met.geo, &observed.windows, reliable, rules);
        (judged.event_time, judged.judgement, judged.flags) = (EventTimeMs(event.t), judgement, flags);
        if judgement == Judgement::Scored {
            // The row has the log amount wherever the amount enters sums and means.
            let prepared = Prepared { log: Some(judged.row[features::LOG_AMOUNT]), recognised };
            arrival.enter(&mut self.phones, found, prepared, rules);
        }
        judged
    }

    /// The next offset this state expects: all records below it are applied.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// WM: the greatest event time of a readable record so far.
    pub fn watermark(&self) -> Option<EventTimeMs> {
        self.watermark.map(EventTimeMs)
    }

    /// At and before this event time no duplicate can name an original any more.
    pub fn forgotten(&self) -> i64 {
        self.watermark.map_or(i64::MIN, |wm| wm - self.rules.lateness_ms - self.rules.duplicate_ms)
    }

    /// How many phones have a history.
    pub fn phones(&self) -> usize {
        self.phones.len()
    }

    /// Bytes held, ring and profile apart.
    pub fn footprint(&self) -> Footprint {
        self.phones.footprint()
    }

    /// The same as last summed up on the sweep's way round; zero before its first.
    pub fn footprint_lately(&self) -> Footprint {
        self.phones.footprint_lately()
    }

    /// How many phones have four fifths of `windows.ring_cap` events, or more, by the sweep's last way round.
    pub fn crowded_lately(&self) -> usize {
        self.phones.crowded_lately()
    }

    /// Frees what the next `slots` phones hold needlessly, and removes those that count as absent now. Its moment
    /// never shows in any verdict: call it between batches, by any clock.
    pub fn sweep(&mut self, slots: usize) {
        let Some(wm) = self.watermark else { return };
        self.phones.sweep(slots, self.next, &self.rules, |history| keep(history, wm, &self.rules));
    }

    /// Hashes the identities.
    #[inline(always)]
    fn meet(&self, transaction: &Transaction<'_>) -> Met {
        let mut room = place::room();
        let folded = transaction.location.as_deref().map(|name| place::fold(name, &mut room));
        let log = &self.place.log;
        let institution = transaction.institution_id.as_deref().filter(|_| self.rules.scope == Scope::Institution);
        Met {
            ids: log.identities(transaction, folded.as_deref()),
            geo: transaction.geo.or_else(|| folded.as_deref().and_then(place::lookup)),
            subject: log.subject(transaction.phone, institution),
            hint: None,
        }
    }

    /// Clamps the time and raises the watermark.
    fn arrive(&mut self, unjudged: &Judged<'_>, timestamp_ms: Option<i64>) -> Arrival {
        let Judged { offset, transaction, met, .. } = unjudged;
        let latest = timestamp_ms.zip(self.rules.max_future_ms).map(|(at, future)| at.saturating_add(future));
        let t = latest.map_or(transaction.timestamp.0, |latest| transaction.timestamp.0.min(latest.max(0)));
        let watermark = self.watermark.map_or(t, |wm| wm.max(t));
        self.watermark = Some(watermark);
        if self.reach == Reach::Since(None) {
            self.reach = Reach::Since(Some(t));
        }
        let reversal = transaction.transaction_type == Some(TransactionType::Reversal);
        let money = Money::new(transaction.amount, transaction.currency, reversal);
        Arrival {
            event: Event { t, offset: *offset, ids: met.ids, money },
            met: *met,
            as_of: t.max(watermark - self.rules.lateness_ms),
            watermark,
        }
    }

    /// Whether state reaches back `span` milliseconds behind the watermark.
    fn complete_since(&self, span: i64) -> bool {
        match (self.reach, self.watermark) {
            (Reach::Whole, _) => true,
            (Reach::Since(Some(start)), Some(wm)) => wm > start.saturating_add(span),
            (Reach::Since(_), _) => false,
        }
    }
}

impl Arrival {
    /// Duplicates and conflicts come before lateness (C2).
    fn judge(&self, known: Option<&History>, rules: &Rules) -> Judgement {
        let original = known.and_then(|history| history.original(self.event.ids.transaction, self.as_of, rules));
        if let Some(original) = original {
            let same =
                original.money.same_value(self.event.money) && original.ids.counterparty == self.event.ids.counterparty;
            let original = original.offset;
            return if same { Judgement::Duplicate { original } } else { Judgement::Conflict { original } };
        }
        if self.event.t <= self.watermark - rules.lateness_ms { Judgement::Late } else { Judgement::Scored }
    }

    /// Inserts the event into its phone's history, which begins with it where none was found.
    fn enter(&self, phones: &mut Phones, found: Option<Found>, prepared: Prepared, rules: &Rules) {
        let history = match found {
            Some(found) => phones.at(found),
            None => phones.add(self.met.subject, History::starting(&self.event)),
        };
        history.insert(&self.event, self.met.geo, prepared, rules);
    }
}

/// Where the history of the arrival's phone is, pruned; one silent for H counts as absent.
fn known(phones: &mut Phones, arrival: &Arrival, rules: &Rules) -> Option<Found> {
    let found = phones.find_from(arrival.met.hint, &arrival.met.subject)?;
    if keep(phones.at(found), arrival.watermark, rules) {
        return Some(found);
    }
    phones.remove(&arrival.met.subject, arrival.event.offset);
    None
}

/// Prunes a history; false when its phone has been silent for H.
fn keep(history: &mut History, wm: i64, rules: &Rules) -> bool {
    history.prune(wm, rules);
    history.profile.newest > wm - rules.forget_ms
}
