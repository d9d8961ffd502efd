//! A bounded fuzz of decode on stable Rust: the committed corpus, mutated by a seeded generator.
//!
//! `SENTRA_FUZZ_RUNS` raises the count, `SENTRA_FUZZ_SEED` repeats a run; the input that fails is printed. Not a
//! coverage-guided fuzzer: `fuzz/` holds a target for one.

#[path = "../fuzz/check.rs"]
mod check;

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use sentra::domain::{
    decode::{Habits, decode, decode_by},
    rules::Rules,
    transaction::Record,
};

const DEFAULT_RUNS: u64 = 200_000;
const DEFAULT_SEED: u64 = 20_260_301;

/// Pieces that matter to JSON or to a field.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b":",
    b",",
    b"null",
    b"true",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\\u0000",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"-",
    b"0",
    b"1e400",
    b"1.001",
    b"1e-2",
    b"99999999999999999999",
    b"*",
    b"x",
    b"+254",
    b"Z",
    b"+03:00",
    b"1969-12-31T23:59:59Z",
    b"{\"a\":[[[]]]}",
    b"\"amount\":1,",
    b"\"phone_number\":\"0712345678\",",
    b"\"~\":[],",
    b"[[[[[[[[[[[[[[[[[",
];

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number")),
        Err(_) => default,
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("the corpus is committed").map(|file| file.expect("readable").path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("readable")).collect()
}

fn mutated(rng: &mut ChaCha8Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut ChaCha8Rng| corpus.choose(rng).expect("the corpus is not empty").clone();
    let mut bytes = pick(rng);
    for _ in 0..rng.random_range(0..5) {
        let at = rng.random_range(0..=bytes.len());
        let end = rng.random_range(at..=bytes.len().min(at + 40));
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = rng.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let other = pick(rng);
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => {
                // A digit for a digit keeps the grammar and reaches the rules.
                if let Some(digit) = bytes[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
                    *digit = rng.random_range(b'0'..=b'9');
                }
            }
            _ => drop(bytes.splice(at..end.min(at + 4), PIECES.choose(rng).expect("pieces").iter().copied())),
        }
    }
    bytes
}

#[test]
fn no_mutated_value_breaks_an_invariant_of_decode() {
    let (runs, seed) = (setting("SENTRA_FUZZ_RUNS", DEFAULT_RUNS), setting("SENTRA_FUZZ_SEED", DEFAULT_SEED));
    println!("SENTRA_FUZZ_RUNS={runs} SENTRA_FUZZ_SEED={seed}");
    let corpus = corpus();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut outcomes = BTreeMap::new();
    let inputs = corpus.iter().cloned().map(Some).chain((0..runs).map(|_| None));
    let (mut habits, rules) = (Habits::default(), Rules::default());
    for input in inputs {
        let input = input.unwrap_or_else(|| mutated(&mut rng, &corpus));
        match catch_unwind(AssertUnwindSafe(|| check::value(&input))) {
            Ok(reason) => *outcomes.entry(reason.map_or("accepted", |reason| reason.as_str())).or_insert(0_u64) += 1,
            Err(_) => panic!("seed {seed}, input: {}", input.escape_ascii()),
        }
        // What earlier values were like never shows.
        let record = Record { offset: 0, timestamp_ms: None, key: None, value: Some(&input), institution: None };
        let (by_habit, alone) = (decode_by(&mut habits, &record, &rules), decode(&record, &rules));
        assert_eq!(by_habit, alone, "seed {seed}, input: {}", input.escape_ascii());
    }
    println!("{outcomes:?}");
    // A fuzz that only ever meets one outcome would prove nothing.
    assert!(outcomes["accepted"] > runs / 20, "too few accepted: {outcomes:?}");
    assert!(outcomes.len() >= 20, "some reasons were never met: {outcomes:?}");
}
