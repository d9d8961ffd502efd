//! The slow-client rule step by step, and cursors against a plain model: every verdict once, whatever a client misses.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::{
    feed::{
        Accepted,
        backlog::{Join, Limit},
        frame::Stats,
        item::Verdict,
    },
    kafka::topic_id::TopicId,
};

const FRAMES: usize = 64;

/// A topic of two partitions and the backlog of a process that follows it.
struct Stream {
    backlog: Backlog,
    next: [i64; 2],
}

impl Stream {
    fn new() -> Self {
        let limit = Limit { frames: FRAMES, bytes: usize::MAX };
        let mut backlog = Backlog::new(limit, limit);
        backlog.open(positions([5, 7]));
        Self { backlog, next: [5, 7] }
    }

    fn verdict(&mut self, partition: usize, alert: bool) {
        let offset = self.next[partition];
        self.next[partition] += 1;
        self.push(Body::Verdict(verdict(partition as i32, offset, if alert { "HIGH" } else { "LOW" })));
    }

    fn stats(&mut self) {
        let cursor = Arc::from(self.backlog.positions().expect("open").cursor());
        self.push(Body::Stats { stats: Stats::default(), cursor, text: "{}".into() });
    }

    fn push(&mut self, body: Body) {
        let seq = self.backlog.next();
        self.backlog.push(Item { seq, body });
    }

    fn many(&mut self, count: usize) {
        (0..count).for_each(|at| self.verdict(at % 2, at % 10 == 0));
    }

    fn now(&self) -> Place {
        let cursor = self.backlog.positions().expect("open").cursor();
        Place::new(self.backlog.next(), Arc::from(cursor), Vec::new())
    }
}

fn verdict(partition: i32, offset: i64, level: &str) -> Verdict {
    let value = format!(r#"{{"transaction_id":"T","risk_score":1,"risk_level":"{level}"}}"#).into_bytes().into();
    let source = offset + 100;
    Verdict::new(Arc::new(Accepted { partition, offset, source, epoch: 3, timestamp_ms: 0, key: None, value }))
}

fn positions(next: [i64; 2]) -> Positions {
    let position = |(partition, next)| Position { partition, next, epoch: Some(3), last: Some(next + 99) };
    let partitions = (0..).zip(next).map(position).collect();
    Positions { topic: TopicId::from_bytes([9; 16]).expect("an id"), log: None, partitions }
}

/// The verdicts of what was taken.
fn verdicts(items: &[Arc<Item>]) -> Vec<(i32, i64)> {
    let place = |item: &Arc<Item>| match &item.body {
        Body::Verdict(verdict) => Some(verdict.place()),
        _ => None,
    };
    items.iter().filter_map(place).collect()
}

fn items(took: Took) -> Vec<Arc<Item>> {
    match took {
        Took::Items(items) => items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_keeps_up_sees_everything_and_its_cursor_follows() {
    let (mut stream, now) = (Stream::new(), Instant::now());
    let mut place = stream.now();
    let mut seen = Vec::new();
    for round in 0..40 {
        stream.many(7);
        stream.stats();
        while let Took::Items(items) = place.take(&stream.backlog, 3, now) {
            seen.extend(verdicts(&items));
        }
        assert_eq!(seen.len(), (round + 1) * 7);
        assert_eq!(*place.cursor(&stream.backlog), stream.backlog.positions().expect("open").cursor());
    }
    seen.dedup();
    assert_eq!(seen.len(), 280);
}

#[test]
fn a_slow_one_gets_only_alerts_then_is_told_what_was_left_out_and_goes_on() {
    let (mut stream, now) = (Stream::new(), Instant::now());
    let mut place = stream.now();
    let before = place.cursor(&stream.backlog);
    stream.many(40);
    stream.stats();
    let taken = items(place.take(&stream.backlog, 100, now));
    assert_eq!(verdicts(&taken).len(), 4, "the alerts");
    assert_eq!(taken.len(), 5, "and the figures");
    assert_eq!(place.lapsed(), Some(&before));
    assert_eq!(place.cursor(&stream.backlog), before, "what was left out is still ahead of the cursor");
    match place.take(&stream.backlog, 100, now) {
        Took::CaughtUp { left_out, cursor } => assert_eq!((left_out, cursor), (36, before)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(place.take(&stream.backlog, 100, now), Took::Nothing));
    stream.verdict(0, false);
    assert_eq!(verdicts(&items(place.take(&stream.backlog, 100, now))).len(), 1);
    assert_eq!(*place.cursor(&stream.backlog), stream.backlog.positions().expect("open").cursor());
}

#[test]
fn one_that_is_slow_with_alerts_too_or_again_and_again_is_closed_with_its_cursor() {
    let (mut stream, now) = (Stream::new(), Instant::now());
    let mut place = stream.now();
    let before = place.cursor(&stream.backlog);
    (0..FRAMES * 3).for_each(|_| stream.verdict(0, true));
    assert!(matches!(place.take(&stream.backlog, 10, now), Took::TooSlow), "the alerts fell out too");
    assert_eq!(place.cursor(&stream.backlog), before);

    let mut place = stream.now();
    for lapse in 1..=MOST_LAPSES {
        let before = place.cursor(&stream.backlog);
        stream.many(40);
        match place.take(&stream.backlog, 100, now) {
            Took::TooSlow if lapse == MOST_LAPSES => assert_eq!(place.cursor(&stream.backlog), before),
            Took::Items(_) => {
                assert!(matches!(place.take(&stream.backlog, 100, now), Took::CaughtUp { .. }));
            }
            other => panic!("lapse {lapse}: {other:?}"),
        }
    }
    let (mut place, mut later) = (stream.now(), now);
    for _ in 0..2 * MOST_LAPSES {
        stream.many(40);
        later += LAPSE_WINDOW;
        items(place.take(&stream.backlog, 100, later));
        assert!(matches!(place.take(&stream.backlog, 100, later), Took::CaughtUp { .. }), "now and then is no fault");
    }
}

#[test]
fn who_wants_only_alerts_does_not_lag_behind_all_the_rest() {
    let (mut stream, now) = (Stream::new(), Instant::now());
    let mut place = stream.now();
    place.filter(true, &stream.backlog);
    for _ in 0..FRAMES * 4 {
        stream.verdict(1, false);
    }
    stream.verdict(1, true);
    stream.stats();
    assert_eq!(verdicts(&items(place.take(&stream.backlog, 100, now))).len(), 1);
    assert!(place.lapsed().is_none());
    assert_eq!(*place.cursor(&stream.backlog), stream.backlog.positions().expect("open").cursor());
    place.filter(false, &stream.backlog);
    stream.verdict(0, false);
    assert_eq!(verdicts(&items(place.take(&stream.backlog, 100, now))).len(), 1);
}

#[test]
fn a_cursor_joins_where_the_backlog_reaches_back_to_it_and_nowhere_else() {
    let mut stream = Stream::new();
    stream.many(10);
    let cursor = stream.backlog.positions().expect("open").clone();
    stream.many(6);
    assert_eq!(stream.backlog.join(&cursor, false), Join::At(10));
    assert_eq!(stream.backlog.join(&positions([4, 7]), false), Join::Behind, "before the process began");
    assert_eq!(stream.backlog.join(&positions([99, 7]), false), Join::Behind, "ahead: to be proven");
    let ahead = positions([99, 12]);
    assert!(matches!(stream.backlog.join(&ahead, true), Join::At(_)), "proven");
    let other = Positions { topic: TopicId::from_bytes([8; 16]).expect("an id"), ..cursor.clone() };
    assert_eq!(stream.backlog.join(&other, false), Join::Foreign);
    let fewer = Positions { partitions: cursor.partitions[..1].to_vec(), ..cursor.clone() };
    assert_eq!(stream.backlog.join(&fewer, false), Join::Foreign);
    stream.many(FRAMES);
    assert_eq!(stream.backlog.join(&cursor, true), Join::Behind, "it fell out");
    let limit = Limit { frames: FRAMES, bytes: usize::MAX };
    assert_eq!(Backlog::new(limit, limit).join(&cursor, false), Join::Closed);
}

#[test]
fn frames_from_before_the_topic_was_opened_anew_are_reached_by_no_cursor() {
    let mut stream = Stream::new();
    stream.many(10);
    let old = stream.backlog.positions().expect("open").clone();
    stream.many(4);
    stream.backlog.open(positions([50, 60]));
    stream.next = [50, 60];
    assert_eq!(stream.backlog.join(&old, false), Join::Behind);
    stream.many(2);
    assert_eq!(stream.backlog.join(&positions([50, 60]), false), Join::At(14));
}

#[test]
fn the_backlog_is_bounded_in_bytes_as_well() {
    let frames = Limit { frames: 1_000_000, bytes: 10_000 };
    let mut backlog = Backlog::new(frames, frames);
    backlog.open(positions([0, 0]));
    for seq in 0..1_000 {
        backlog.push(Item { seq, body: Body::Verdict(verdict(0, seq as i64, "CRITICAL")) });
        assert!(backlog.bytes() <= 20_000);
    }
}

proptest! {
    /// A client that reads some, breaks off without a word and comes back with its last cursor, again and again.
    #[test]
    fn by_its_cursors_a_client_sees_each_verdict_at_least_once_and_a_polite_one_exactly_once(
        steps in prop::collection::vec((0..12_usize, 1..9_usize, any::<bool>(), any::<bool>()), 1..60)
    ) {
        let (mut stream, now) = (Stream::new(), Instant::now());
        let mut place = stream.now();
        let (mut seen, mut exact) = (Vec::new(), true);
        for (written, read, leaves, polite) in steps {
            stream.many(written);
            stream.stats();
            match place.take(&stream.backlog, read, now) {
                Took::Items(items) if place.lapsed().is_none() => {
                    let news = |(partition, offset): &(i32, i64)| place.is_news(*partition, *offset);
                    seen.extend(verdicts(&items).into_iter().filter(news));
                }
                Took::Nothing => {}
                // What a slow one misses is told elsewhere.
                _ => return Ok(()),
            }
            if leaves {
                let cursor = if polite { place.cursor(&stream.backlog) } else { Arc::clone(&place.told) };
                exact &= polite;
                let at = Positions::parse(&cursor).expect("a cursor");
                match stream.backlog.join(&at, false) {
                    Join::At(seq) => place = Place::new(seq, cursor, at.partitions),
                    _ => return Ok(()),
                }
            }
        }
        while let Took::Items(items) = place.take(&stream.backlog, 100, now) {
            seen.extend(verdicts(&items).into_iter().filter(|(partition, offset)| place.is_news(*partition, *offset)));
        }
        prop_assume!(place.lapsed().is_none());
        let mut all: Vec<(i32, i64)> = (5..stream.next[0]).map(|at| (0, at)).collect();
        all.extend((7..stream.next[1]).map(|at| (1, at)));
        if exact {
            seen.sort_unstable();
            prop_assert_eq!(&seen, &all);
        } else {
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(&seen, &all);
        }
    }
}
