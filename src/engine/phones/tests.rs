//! Copying in slices: none is longer than it should be, and what they hold together is every phone, as it was last.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    amount::{AmountMinor, Currency},
    history::Prepared,
    identity::{Identity, LogId},
    phone::Phone,
    ring::{Event, Money},
};

/// More than any test asks for at once.
const PLENTY: usize = 1 << 30;

fn subject(number: u64) -> Subject {
    LogId([1; 16]).subject(Phone::E164(254_700_000_000 + number), None)
}

fn history(t: i64) -> History {
    let ids = Identities {
        transaction: Identity(t as u64),
        counterparty: Identity::ABSENT,
        device: Identity::ABSENT,
        place: Identity::ABSENT,
    };
    let money = Money::new(AmountMinor(100), Currency::KES, false);
    let event = Event { t, offset: 0, ids, money };
    let mut history = History::starting(&event);
    history.insert(&event, None, Prepared::default(), &Rules::default());
    history
}

fn filled(phones: u64) -> Phones {
    let mut filled = Phones::default();
    (0..phones).for_each(|number| _ = filled.add(subject(number), history(1)));
    filled
}

/// The newest event of each phone in these copies; a later copy replaces an earlier one.
fn newest(copies: &[(u32, Vec<u8>)]) -> BTreeMap<Subject, i64> {
    let mut restored = Phones::default();
    for (count, bytes) in copies {
        let mut from = bytes.as_slice();
        (0..*count).for_each(|_| restored.restore(&mut from, &Rules::default()).expect("a copy"));
        assert!(from.is_empty());
    }
    let entries = restored.chunks.iter().flatten().flatten();
    entries.map(|entry| (entry.subject, entry.history.profile.newest)).collect()
}

/// Slices of so many bytes until all is copied, and what happens between two of them.
fn copied(phones: &mut Phones, bytes: usize, mut between: impl FnMut(&mut Phones)) -> Vec<(u32, Vec<u8>)> {
    let mut copies = Vec::new();
    loop {
        let mut out = Vec::new();
        let (count, done) = phones.copy(9, bytes, &mut out);
        copies.push((count, out));
        if done {
            return copies;
        }
        between(phones);
    }
}

#[test]
fn a_slab_that_emptied_is_walked_in_slices_of_so_many_slots() {
    let phones = 3 * SLOTS_A_SLICE as u64;
    let mut slab = filled(phones);
    // The last one alone stays.
    (0..phones - 1).for_each(|number| slab.remove(&subject(number), 5));
    slab.begin_copying();
    let copies = copied(&mut slab, PLENTY, |_| {});
    assert_eq!(copies.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(newest(&copies), BTreeMap::from([(subject(phones - 1), 1)]));
}

#[test]
fn histories_that_are_removed_before_their_turn_are_copied_in_portions_too() {
    let mut slab = filled(1_000);
    slab.begin_copying();
    (0..1_000).for_each(|number| slab.remove(&subject(number), 5));
    let copies = copied(&mut slab, 1, |_| {});
    assert!(copies.iter().all(|(count, _)| *count <= 1), "each slice is as short as it can be");
    assert_eq!(newest(&copies).len(), 1_000);
}

#[test]
fn of_a_phone_that_went_and_came_back_during_the_walk_the_later_history_is_the_one_restored() {
    let mut slab = filled(100);
    slab.begin_copying();
    // All go before their turn; the first ones come back, in slots of which some are yet to be walked, and one goes
    // again.
    (0..100).for_each(|number| slab.remove(&subject(number), 5));
    (0..50).for_each(|number| _ = slab.add(subject(number), history(2)));
    slab.remove(&subject(7), 6);
    let mut turn = 0;
    let copies = copied(&mut slab, 1, |slab| {
        turn += 1;
        if turn == 20 {
            _ = slab.add(subject(99), history(3));
        }
    });
    let expected = (0..100).map(|number| (subject(number), if number < 50 { 2 } else { 1 }));
    let mut expected: BTreeMap<Subject, i64> = expected.collect();
    expected.insert(subject(99), 3);
    assert_eq!(newest(&copies), expected);
}

#[test]
fn a_guess_finds_the_phone_or_is_noticed_to_be_anothers() {
    let slab = filled(30_000);
    let mut wrong = 0;
    for subject in (0..60_000).map(subject) {
        let (guessed, found) = (slab.guess(&subject), slab.find(&subject));
        let place = |found: Option<Found>| found.map(|Found(at)| at);
        assert_eq!(place(slab.find_from(guessed, &subject)), place(found));
        wrong += u32::from(place(guessed) != place(found));
    }
    assert!(wrong > 100, "only {wrong} guesses were wrong");
}
