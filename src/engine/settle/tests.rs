//! What settling finds in verdict partitions that are whole, cut by retention, contested by zombies, or torn.

use proptest::prelude::*;

use super::*;
use crate::engine::plan::{Logs, Lost, Refusal, Start, plan};

const LOG: &str = "7f3a9c01";

fn owner() -> String {
    format!(r#"{{"kind":"owner","source":{{"log":"{LOG}","partition":0}}}}"#)
}

fn verdict(epoch: i64, source: i64, previous: i64) -> String {
    format!(
        r#"{{"kind":"scored","source":{{"log":"{LOG}","partition":0,"offset":{source},"previous_offset":{previous},"epoch":{epoch}}}}}"#
    )
}

/// What the records from `start` on settle, with what the group told.
fn settled(start: i64, records: &[String], told: Option<Checkpoint>) -> Settled {
    let end = start + records.len() as i64;
    let mut settling = Settling::new(start, String::from(LOG)).knowing(Ok(told.map(Told::from)), end);
    (start..).zip(records).for_each(|(offset, record)| {
        settling.take(offset, record.as_bytes());
    });
    settling.finish()
}

fn checkpoint(next: i64, epoch: i64, last: i64) -> Option<Checkpoint> {
    Some(Checkpoint { next, epoch, last })
}

#[test]
fn h_is_the_checkpoints_where_the_log_holds_no_verdict_any_more() {
    let after = settled(101, &[owner()], checkpoint(101, 0, 99));
    assert_eq!((after.last, after.untouched, after.doubt), (Some(99), false, None));
    // Also where more was deleted than it knows of, and where the last verdicts are of zombies.
    assert_eq!(settled(150, &[owner()], checkpoint(101, 0, 99)).last, Some(99));
    let zombies = [verdict(0, 98, 97), verdict(0, 99, 98), owner()];
    let behind = settled(150, &zombies, checkpoint(140, 120, 130));
    assert_eq!((behind.last, behind.ignored), (Some(130), 2));
    // Nothing was judged, and that is known.
    let idle = settled(7, &[owner()], checkpoint(5, 4, -1));
    assert_eq!((idle.last, idle.untouched), (None, false), "what lay between is not known");
    let idle = settled(5, &[owner()], checkpoint(5, 4, -1));
    assert_eq!((idle.last, idle.untouched), (None, true));
    assert_eq!(settled(5, &[owner()], None).last, None);
}

#[test]
fn behind_a_checkpoint_on_the_way_a_zombie_is_one_though_its_owners_record_is_deleted() {
    // The log begins with a zombie's; the owner of epoch 90 wrote up to 103, and the checkpoint lies there.
    let records = [verdict(40, 7, 6), verdict(90, 12, 11), verdict(40, 8, 7), verdict(90, 13, 12), owner()];
    let found = settled(101, &records, checkpoint(103, 90, 12));
    assert_eq!((found.last, found.ignored, found.doubt), (Some(13), 2, None));
}

#[test]
fn where_retention_overtook_the_checkpoint_verdicts_of_an_owner_whose_record_is_deleted_are_doubted() {
    // Another owner's record may be among what was deleted from 103 on: then these are a zombie's.
    let left = [verdict(90, 40, 39), verdict(90, 41, 40), owner()];
    let torn = settled(130, &left, checkpoint(103, 90, 12));
    assert_eq!(torn.doubt, Some(Doubt::Torn { next: 103, start: 130, epoch: 90, found: 41 }));
    // Behind an owner record that is there, nothing is in doubt; nor where no checkpoint says that something is missing.
    let behind = [verdict(90, 40, 39), owner(), verdict(131, 39, 38), owner()];
    let known = settled(130, &behind, checkpoint(103, 90, 12));
    assert_eq!((known.doubt, known.last), (None, Some(39)));
    assert_eq!(settled(130, &left, None).doubt, None);
}

#[test]
fn behind_a_snapshot_the_groups_newer_checkpoint_tells_zombies_from_owners() {
    // Retention has taken all that lies between the snapshot and the group's checkpoint, and the second owner's record.
    let snapshot = Told::from(Checkpoint { next: 50, epoch: 0, last: 48 });
    let told = Told::from(Checkpoint { next: 101, epoch: 60, last: 97 });
    let mut settling =
        Settling::resume(snapshot, Decisions::default(), 101, String::from(LOG)).knowing(Ok(Some(told)), 104);
    let records = [verdict(0, 98, 97), verdict(60, 98, 97), owner()];
    let fates: Vec<Fate> = (101..).zip(&records).map(|(at, record)| settling.take(at, record.as_bytes())).collect();
    assert_eq!(fates, [Fate::Ignored, Fate::Accepted { gap: false }, Fate::Owner]);
    assert_eq!(settling.finish().last, Some(98));
}

#[test]
fn a_log_that_lost_its_tail_is_doubted() {
    let records = [owner(), verdict(0, 0, -1), owner()];
    assert_eq!(settled(0, &records, checkpoint(2, 0, 0)).doubt, None, "it is whole");
    let beyond = settled(0, &records, checkpoint(9, 0, 7)).doubt;
    assert_eq!(beyond, Some(Doubt::Beyond { next: 9, end: 3 }));
    let rewritten = settled(0, &records, checkpoint(3, 0, 1)).doubt;
    assert_eq!(rewritten, Some(Doubt::Rewritten { next: 3, found: 2, epoch: 0 }));
    let short = settled(0, &records, checkpoint(2, 0, 1));
    assert_eq!(short.doubt, Some(Doubt::Short { next: 2, found: 0, last: 1 }));
    assert_eq!(short.last, Some(1), "never below the checkpoint");
    let logs = Logs { input_start: 0, input_end: 9, verdict_start: 0, partitions: 4 };
    assert!(matches!(plan(logs, &short, None, LOG), Err(Refusal::Doubt(_))));
}

/// An owner record that names an engine generation.
fn of(generation: u32) -> String {
    format!(
        r#"{{"kind":"owner","source":{{"log":"{LOG}","partition":0}},"engine_generation":{generation},"engine_hash":"0000000000000007"}}"#
    )
}

fn edition(generation: u32) -> Edition {
    Edition { generation, hash: 7 }
}

#[test]
fn the_owners_before_are_told_and_not_oneself() {
    let before = |records: &[String]| settled(0, records, None).before;
    assert_eq!(before(&[of(3), of(2), of(1)]).newest(), Some(edition(2)));
    assert_eq!(before(&[of(3), owner(), of(1)]).newest(), None, "it named none");
    assert_eq!(before(&[of(1)]), Lineage::default());
    // Who served is told by verdicts that count: those of the second owner are a zombie's.
    let served = before(&[of(3), verdict(0, 0, -1), of(2), of(4), verdict(2, 1, 0), of(1)]);
    assert_eq!((served.newest(), served.served()), (Some(edition(4)), Some(edition(3))));
}

#[test]
fn the_edition_of_an_owner_whose_record_is_deleted_is_its_checkpoints() {
    let told = |next, epoch| Some(Told { checkpoint: Checkpoint { next, epoch, last: 50 }, edition: Some(edition(3)) });
    let before = |start: i64, records: &[String], told: Option<Told>| {
        let end = start + records.len() as i64;
        let mut settling = Settling::new(start, String::from(LOG)).knowing(Ok(told), end);
        (start..).zip(records).for_each(|(offset, record)| _ = settling.take(offset, record.as_bytes()));
        settling.finish().before
    };
    // All of its verdicts are deleted too; some of them; none.
    assert_eq!(before(101, &[of(1)], told(101, 40)).served(), Some(edition(3)));
    assert_eq!(before(140, &[of(1)], told(101, 40)).served(), Some(edition(3)));
    assert_eq!(before(100, &[verdict(40, 50, 49), of(1)], told(101, 40)).served(), Some(edition(3)));
    assert_eq!(before(100, &[verdict(40, 50, 49), of(1)], None).served(), None);
    // A later owner's record counts for more than the checkpoint of an earlier one.
    let later = before(101, &[of(2), verdict(101, 51, 50), of(1)], told(101, 40));
    assert_eq!(later.served(), Some(edition(2)));
    // A snapshot's, likewise.
    let from = Told { checkpoint: Checkpoint { next: 101, epoch: 40, last: 50 }, edition: Some(edition(3)) };
    let mut settling = Settling::resume(from, Decisions::default(), 101, String::from(LOG));
    settling.take(101, of(1).as_bytes());
    assert_eq!(settling.finish().before.served(), Some(edition(3)));
}

#[test]
fn another_partition_count_than_the_first_owner_names_is_refused_whatever_later_ones_say() {
    let of = |partitions: u32| {
        format!(r#"{{"kind":"owner","source":{{"log":"{LOG}","partition":0}},"partitions":{partitions}}}"#)
    };
    let logs = |partitions| Logs { input_start: 0, input_end: 20, verdict_start: 0, partitions };
    for (owners, own, refused) in [
        (vec![of(4)], 4, None),
        (vec![of(4), of(4)], 4, None),
        // Records of versions that named none.
        (vec![owner(), of(4)], 4, None),
        (vec![owner(), of(4), of(6)], 6, Some(4)),
        // The refused one wrote before it knew, and comes again.
        (vec![of(4), of(6), of(6)], 6, Some(4)),
        (vec![of(4), of(6)], 4, None),
    ] {
        let planned = plan(logs(own), &settled(0, &owners, None), None, LOG);
        let refusal = refused.map(|found| Refusal::Repartitioned { found, own });
        assert_eq!(planned.err(), refusal, "{owners:?}");
    }
}

#[test]
fn input_deleted_before_it_was_judged_is_planned_as_lost_and_only_that() {
    let records = [owner(), verdict(0, 0, -1), verdict(0, 1, 0), owner()];
    let found = settled(0, &records, None);
    let plan =
        |input_start| plan(Logs { input_start, input_end: 20, verdict_start: 0, partitions: 4 }, &found, None, LOG);
    let whole = Start { replay_from: 2, last: 1, previous: 1, lost: None };
    assert_eq!(plan(2), Ok(whole));
    let lost = Some(Lost { first: 2, last: 6 });
    assert_eq!(plan(7), Ok(Start { replay_from: 7, last: 6, previous: 1, lost }));
}

#[test]
fn a_log_that_is_not_the_one_that_was_judged_is_refused_by_name() {
    let records = [owner(), verdict(0, 0, -1), verdict(0, 1, 0), owner()];
    let found = settled(0, &records, None);
    let logs = |input_end, verdict_start| Logs { input_start: 0, input_end, verdict_start, partitions: 4 };
    assert_eq!(plan(logs(1, 0), &found, None, LOG), Err(Refusal::Truncated { input_end: 1, last: 1 }));
    assert!(plan(logs(2, 0), &found, None, LOG).is_ok(), "it ends right behind what was judged");
    let foreign = Refusal::Foreign { found: LOG.to_owned(), expected: String::from("00000001") };
    let elsewhere = |log: &str| {
        let mut settling = Settling::new(0, log.to_owned());
        (0..).zip(&records).for_each(|(offset, record)| _ = settling.take(offset, record.as_bytes()));
        plan(logs(2, 0), &settling.finish(), None, log)
    };
    assert_eq!(elsewhere("00000001"), Err(foreign));
    assert!(elsewhere(LOG).is_ok());
    let unknown = settled(7, &[owner()], None);
    assert_eq!(plan(logs(9, 7), &unknown, None, LOG), Err(Refusal::Unknown { verdict_start: 7 }));
}

#[test]
fn only_verdicts_that_count_and_say_internal_error_name_records_to_be_skipped() {
    let invalid = |epoch: i64, source: i64, code: &str| {
        let reasons = format!(r#""invalid","reasons":[{{"code":"{code}","text":"x"}}]"#);
        verdict(epoch, source, source - 1).replace(r#""scored""#, &reasons)
    };
    let records = [
        owner(),
        invalid(0, 0, "INTERNAL_ERROR"),
        invalid(0, 1, "NOT_JSON"),
        owner(),
        invalid(0, 2, "INTERNAL_ERROR"),
        invalid(3, 2, "NOT_JSON"),
        invalid(3, 3, "INTERNAL_ERROR"),
    ];
    let settled = settled(0, &records, None);
    assert_eq!((settled.skipped, settled.ignored, settled.last), (BTreeSet::from([0, 3]), 1, Some(3)));
}

/// A verdict partition as owners and zombies write it: a number a record, and what each place settles, (e, h).
fn contested(dice: &[u8]) -> (Vec<String>, Vec<(i64, i64)>) {
    let (mut records, mut places) = (vec![owner()], vec![(0, -1)]);
    let (mut epoch, mut last, mut zombies) = (0, -1, Vec::new());
    for die in dice {
        match die % 10 {
            0 => {
                zombies.push((epoch, last));
                epoch = records.len() as i64;
                records.push(owner());
            }
            1..=3 if !zombies.is_empty() => {
                let at = usize::from(*die) % zombies.len();
                let (of, reached) = &mut zombies[at];
                records.push(verdict(*of, *reached + 1, *reached));
                *reached += 1;
            }
            _ => {
                records.push(verdict(epoch, last + 1, last));
                last += 1;
            }
        }
        places.push((epoch, last));
    }
    records.push(owner());
    (records, places)
}

/// What a place ahead or behind is to the reading below.
fn told_at(places: &[(i64, i64)], place: usize) -> Told {
    let (epoch, last) = places[place];
    Checkpoint { next: place as i64 + 1, epoch, last }.into()
}

proptest! {
    #[test]
    fn behind_a_snapshot_h_is_exact_where_it_or_the_groups_checkpoint_reaches_the_log(
        dice in prop::collection::vec(any::<u8>(), 0..60),
        places_of in any::<[prop::sample::Index; 2]>(),
        start in any::<prop::sample::Index>(),
        committed in any::<bool>(),
    ) {
        let (records, places) = contested(&dice);
        let [snapshot, group] = places_of.map(|place| place.index(places.len()));
        let start = start.index(records.len());
        let told = committed.then(|| told_at(&places, group));
        let end = records.len() as i64;
        let from = told_at(&places, snapshot);
        let mut settling =
            Settling::resume(from, Decisions::default(), start as i64, String::from(LOG)).knowing(Ok(told), end);
        for at in settling.next()..end {
            settling.take(at, records[at as usize].as_bytes());
        }
        let (found, h) = (settling.finish(), places[places.len() - 1].1);
        let reaches = start <= snapshot + 1 || (committed && start <= group + 1);
        let last = found.last.unwrap_or(-1);
        prop_assert!(last >= places[snapshot].1);
        if reaches {
            prop_assert_eq!((found.doubt, last), (None, h));
        } else if committed {
            prop_assert!(last >= places[group].1);
            prop_assert!(last <= h || matches!(found.doubt, Some(Doubt::Torn { .. })), "{:?}, and h is {}", found, h);
        }
    }

    #[test]
    fn a_tail_that_was_lost_is_doubted_also_where_owners_wrote_again_behind_it(
        dice in prop::collection::vec(any::<u8>(), 1..60),
        (place, lost, start) in any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>(),
        again in 0_usize..20,
    ) {
        let (mut records, places) = contested(&dice);
        // Places where something was judged by the newest owner: its record is not among what is lost.
        let some: Vec<usize> = (0..places.len()).filter(|place| *place as i64 > places[*place].0).collect();
        if some.is_empty() {
            return Ok(());
        }
        let place = some[place.index(some.len())];
        let (epoch, last) = places[place];
        let lost = epoch as usize + 1 + lost.index(place - epoch as usize);
        records.truncate(lost);
        records.extend((0..again).map(|_| owner()));
        let start = start.index(lost + 1).min(records.len());
        let found = settled(start as i64, &records[start..], checkpoint(place as i64 + 1, epoch, last));
        prop_assert!(found.doubt.is_some(), "{:?}", found);
    }

    #[test]
    fn with_a_checkpoint_h_is_exact_whatever_retention_took_or_doubted_by_name_and_never_below_it(
        dice in prop::collection::vec(any::<u8>(), 0..60),
        (place, start) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let (records, places) = contested(&dice);
        let (place, start) = (place.index(places.len()), start.index(records.len()));
        let (epoch, last) = places[place];
        let found = settled(start as i64, &records[start..], checkpoint(place as i64 + 1, epoch, last));
        let (newest, h) = places[places.len() - 1];
        let judged = |record: &String| Head::parse(record.as_bytes()).is_some_and(|head| head.source.epoch == Some(newest));
        prop_assert!(found.last.unwrap_or(-1) >= last);
        if start <= place + 1 {
            prop_assert_eq!(found.doubt, None);
            prop_assert_eq!(found.last.unwrap_or(-1), h);
            prop_assert!(found.last.is_some() || found.untouched);
        } else if newest >= start as i64 && records[start..].iter().any(judged) {
            // Retention overtook the checkpoint, and the newest owner that judged is there.
            prop_assert_eq!((found.doubt, found.last), (None, Some(h)));
        } else {
            let torn = matches!(found.doubt, Some(Doubt::Torn { .. }));
            prop_assert!(torn || found.last.unwrap_or(-1) <= h, "{:?}, and h is {}", found, h);
        }
    }
}
