//! Random input logs: each record's bytes, and beside them the truth they were written from.
//!
//! A history is a function of its seed alone. It holds what windows, time and memory can go wrong on: ties, exact
//! window edges, disorder, duplicates, conflicts, clamped and absent Kafka timestamps, foreign currency, reversals,
//! absent fields, gaps past every memory, unreadable records. It judges nothing: that is `naive`'s.

// Each test binary compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use sentra::domain::{
    amount::Currency,
    rules::{Counted, Rules, Scope, WINDOWS_MS},
    time::{DAY_MS, EventTimeMs, HOUR_MS, MINUTE_MS, SECOND_MS},
    transaction::Record,
};

/// Random numbers that are the same everywhere (SplitMix64, Steele et al. 2014).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// 0..n
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// low..=high
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

/// What a readable record says.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    pub id: u32,
    pub institution: Option<u8>,
    pub phone: u8,
    pub timestamp: i64,
    pub minor: i64,
    pub currency: &'static str,
    pub kind: Option<&'static str>,
    pub channel: Option<&'static str>,
    /// A number for a counterparty: its type and text follow from it.
    pub counterparty: Option<u16>,
    pub device: Option<u8>,
    /// An index into [`PLACES`].
    pub place: Option<usize>,
    /// Degrees as they are written.
    pub geo: Option<(f64, f64)>,
    pub opened: Option<i64>,
}

/// One record of the log; its offset is its place in it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub kafka_ms: Option<i64>,
    pub value: Option<Vec<u8>>,
    pub institution: Option<String>,
    /// `None` where the record is no transaction.
    pub truth: Option<Truth>,
}

impl Sent {
    pub fn record(&self, offset: i64) -> Record<'_> {
        Record {
            offset,
            timestamp_ms: self.kafka_ms,
            key: None,
            value: self.value.as_deref(),
            institution: self.institution.as_deref().map(str::as_bytes),
        }
    }
}

/// A log and the rules it is read by.
#[derive(Clone, Debug)]
pub struct Scene {
    pub rules: Rules,
    pub records: Vec<Sent>,
}

/// Places as spelled, each with its folded name; two spellings of one place stand together.
pub const PLACES: [(&str, &str, &str); 14] = [
    ("nairobi", "Nairobi", "  NAIROBI "),
    ("mombasa", "mombasa", "Mombasa\\t"),
    ("kisumu", "Kisumu", "KISUMU"),
    ("eldoret", "Eldoret", "eldoret"),
    ("atlantis", "Atlantis", "ATLANTIS"),
    ("caf\u{e9}", "Caf\u{e9}", "CAFE\u{301}"),
    ("a", "a", "A"),
    ("b", "b", "B "),
    ("c", "c", "\\u0063"),
    ("d", "d", "D"),
    ("e", "e", "E"),
    ("f", "f", "F"),
    ("g", "g", "G"),
    ("h", "h", "H"),
];

/// The phone with this number, as the key of its partition spells it.
pub fn phone_key(phone: u8) -> String {
    format!("+2547{:08}", 10_000_000 + u32::from(phone))
}

/// How a history runs: drawn once, so that histories differ in kind.
struct Manner {
    phones: u64,
    devices: u64,
    places: u64,
    counterparties: u64,
    institutions: u64,
    step_ms: i64,
    disorder: u64,
    repeats: u64,
    gaps: u64,
}

/// The history of a seed, of at most `most` records.
pub fn scene(seed: u64, most: i64) -> Scene {
    let dice = &mut Dice::new(seed);
    let rules = rules(dice);
    let manner = Manner {
        phones: dice.pick(&[1, 1, 1, 2, 4]),
        devices: dice.pick(&[1, 3, 12]),
        places: dice.pick(&[1, 4, 14]),
        counterparties: dice.pick(&[1, 6, 60]),
        institutions: dice.pick(&[1, 2]),
        step_ms: dice.pick(&[0, 300, 20 * SECOND_MS, 4 * MINUTE_MS, HOUR_MS, 8 * HOUR_MS]),
        disorder: dice.pick(&[0, 5, 40]),
        repeats: dice.pick(&[0, 10, 40]),
        gaps: dice.pick(&[0, 1, 8]),
    };
    let length = if dice.percent(25) { dice.between(most / 2, most) } else { dice.between(1, most / 3) };
    let mut writer = Writer {
        now: dice.pick(&[0, 3 * DAY_MS, 1_772_352_900_000]) + dice.between(0, DAY_MS),
        watermark: i64::MIN / 2,
        ids: 0,
        past: Vec::new(),
        rules: rules.clone(),
        manner,
    };
    let records = (0..length).map(|_| writer.write(dice)).collect();
    Scene { rules, records }
}

/// Neither all windows nor those of the features; what features read is counted, as it must be.
const ODD: Counted = Counted {
    transactions: [false, true, true, true, true],
    counterparties: [true, false, false, true, false],
    devices: [false, true, false, false, true],
    places: [false, false, true, true, true],
};

fn rules(dice: &mut Dice) -> Rules {
    let lateness_ms = dice.pick(&[DAY_MS, DAY_MS, HOUR_MS, SECOND_MS, 9 * DAY_MS]);
    Rules {
        lateness_ms,
        max_future_ms: dice.pick(&[Some(5 * MINUTE_MS), None, Some(0)]),
        duplicate_ms: dice.pick(&[DAY_MS, 5 * MINUTE_MS, 7 * DAY_MS]),
        forget_ms: lateness_ms + dice.pick(&[7 * DAY_MS, 12 * DAY_MS, 180 * DAY_MS]),
        scope: dice.pick(&[Scope::Network, Scope::Institution]),
        counted: dice.pick(&[Counted::ALL, Counted::ALL, Counted::FEATURES, ODD]),
        ring_cap: dice.pick(&[32_768, 32_768, 3, 10, 33, 127, 128, 129, 130, 144, 160]),
        home_currency: Currency::parse("KES").expect("a currency"),
        ..Rules::default()
    }
}

struct Writer {
    now: i64,
    watermark: i64,
    ids: u32,
    past: Vec<Truth>,
    rules: Rules,
    manner: Manner,
}

impl Writer {
    fn write(&mut self, dice: &mut Dice) -> Sent {
        if dice.percent(3) {
            return garbage(dice);
        }
        let truth = if !self.past.is_empty() && dice.percent(self.manner.repeats) {
            self.repeat(dice)
        } else {
            self.fresh(dice)
        };
        let kafka_ms = self.kafka_time(dice, truth.timestamp);
        let t = match kafka_ms.zip(self.rules.max_future_ms) {
            Some((at, future)) => truth.timestamp.min((at + future).max(0)),
            None => truth.timestamp,
        };
        self.watermark = self.watermark.max(t);
        self.now = self.now.max(t);
        self.past.push(truth.clone());
        let header = truth.institution.filter(|_| dice.percent(50)).map(institution_name);
        let value = json(dice, &truth, header.is_none());
        Sent { kafka_ms, value: Some(value.into_bytes()), institution: header, truth: Some(truth) }
    }

    fn fresh(&mut self, dice: &mut Dice) -> Truth {
        let manner = &self.manner;
        self.ids += 1;
        let institution = dice.below(manner.institutions + 1);
        Truth {
            id: self.ids,
            institution: institution.checked_sub(1).map(|at| at as u8),
            phone: dice.below(manner.phones) as u8,
            minor: dice.pick(&[1, 50, 100, 12_345, 50_000, 7_000_000, 100_000_000_000_000]),
            currency: if dice.percent(10) { "USD" } else { "KES" },
            kind: dice.pick(&[None, Some("P2P"), Some("CASH_OUT"), Some("REVERSAL"), Some("LOAN")]),
            channel: dice.pick(&[None, Some("ussd"), Some("api")]),
            counterparty: Some(dice.below(manner.counterparties) as u16).filter(|_| dice.percent(85)),
            device: Some(dice.below(manner.devices) as u8).filter(|_| dice.percent(90)),
            place: Some(dice.below(manner.places) as usize).filter(|_| dice.percent(90)),
            geo: Some((dice.between(-90, 90) as f64 / 2.0, dice.between(-179, 180) as f64 / 1.5))
                .filter(|_| dice.percent(15)),
            opened: Some(dice.between(0, 2_000_000_000_000)).filter(|_| dice.percent(10)),
            timestamp: self.moment(dice),
        }
    }

    /// An earlier transaction again: unchanged, or in one way another.
    fn repeat(&mut self, dice: &mut Dice) -> Truth {
        let recent = self.past.len().saturating_sub(20);
        let among = if dice.percent(70) { recent } else { 0 };
        let mut truth = self.past[among + dice.below((self.past.len() - among) as u64) as usize].clone();
        let original = truth.timestamp;
        match dice.below(10) {
            0 => truth.minor = if truth.minor == 1 { 2 } else { truth.minor - 1 },
            1 => truth.counterparty = truth.counterparty.map_or(Some(1), |_| None),
            2 => truth.currency = if truth.currency == "KES" { "USD" } else { "KES" },
            3 => truth.phone = dice.below(self.manner.phones) as u8,
            4 => truth.institution = truth.institution.map_or(Some(0), |_| None),
            _ => {}
        }
        truth.timestamp = match dice.below(4) {
            0 => original,
            1 => self.moment(dice),
            2 => original + self.rules.duplicate_ms + dice.between(-1, 1),
            _ => original + dice.between(0, self.rules.duplicate_ms),
        }
        .max(0);
        truth
    }

    /// A timestamp: mostly onwards, often exactly on an edge of something.
    fn moment(&mut self, dice: &mut Dice) -> i64 {
        let rules = &self.rules;
        if dice.percent(self.manner.gaps) {
            let jump = dice.pick(&[DAY_MS, 7 * DAY_MS, 7 * DAY_MS + rules.lateness_ms, rules.forget_ms]);
            return self.now + jump + dice.between(-1, 1);
        }
        if dice.percent(self.manner.disorder) {
            let back = match dice.below(4) {
                0 => rules.lateness_ms + dice.between(-1, 1),
                1 => dice.between(0, rules.lateness_ms + rules.lateness_ms / 8),
                2 => dice.between(0, 2 * MINUTE_MS),
                _ => dice.pick(&WINDOWS_MS).min(rules.lateness_ms) + dice.between(-1, 1),
            };
            return (self.now - back).max(0);
        }
        if !self.past.is_empty() && dice.percent(10) {
            let from = self.past[dice.below(self.past.len() as u64) as usize].timestamp;
            let edge = from + dice.pick(&WINDOWS_MS) + dice.between(-1, 1);
            // An edge far ahead would end most histories: then only a near one.
            return if edge > self.now + DAY_MS { self.now } else { edge };
        }
        self.now + dice.between(0, self.manner.step_ms)
    }

    fn kafka_time(&self, dice: &mut Dice, timestamp: i64) -> Option<i64> {
        match dice.below(10) {
            0 | 1 => None,
            2 => Some((timestamp - self.rules.max_future_ms.unwrap_or(0) + dice.between(-1, 1)).max(0)),
            3 if self.watermark > 0 => Some(self.watermark - dice.between(0, HOUR_MS)),
            _ => Some(timestamp + dice.between(0, 2 * SECOND_MS)),
        }
    }
}

fn garbage(dice: &mut Dice) -> Sent {
    let value: Option<&[u8]> = dice.pick(&[
        None,
        Some(b"".as_slice()),
        Some(b"{".as_slice()),
        Some(b"\xFF\xFE".as_slice()),
        Some(
            br#"{"transaction_id":"G","amount":-1,"phone_number":"+254710000000","timestamp":"2099-01-01T00:00:00Z"}"#,
        ),
        Some(br#"{"transaction_id":"G","amount":5,"phone_number":"2547****000","timestamp":"2099-01-01T00:00:00Z"}"#),
    ]);
    Sent { kafka_ms: Some(4_000_000_000_000), value: value.map(<[u8]>::to_vec), institution: None, truth: None }
}

/// The institution with this number, by its wire name.
pub fn institution_name(institution: u8) -> String {
    format!("bank-{institution:02}")
}

/// The record's bytes, in one of the spellings the contract allows.
fn json(dice: &mut Dice, truth: &Truth, institution_in_body: bool) -> String {
    use std::fmt::Write;
    let mut out = format!("{{\"transaction_id\":\"T{}\"", truth.id);
    let amount = match dice.below(3) {
        0 => format!("{}.{:02}", truth.minor / 100, truth.minor % 100),
        1 => format!("\"{}.{:02}\"", truth.minor / 100, truth.minor % 100),
        _ => format!("{}e-2", truth.minor),
    };
    let national = format!("7{:08}", 10_000_000 + u32::from(truth.phone));
    let phone = dice.pick(&["+254", "254", "0"]).to_owned() + &national;
    let timestamp = if dice.percent(50) {
        EventTimeMs(truth.timestamp).to_rfc3339()
    } else {
        EventTimeMs(truth.timestamp + 3 * HOUR_MS).to_rfc3339().replace('Z', "+03:00")
    };
    let mut put = |name: &str, text: &str| {
        write!(out, ",\"{name}\":{text}").expect("a String takes all");
    };
    put("amount", &amount);
    put("phone_number", &format!("\"{phone}\""));
    put("timestamp", &format!("\"{timestamp}\""));
    if truth.currency != "KES" || dice.percent(30) {
        put("currency", &format!("\"{}\"", truth.currency));
    }
    if let Some(kind) = truth.kind {
        put("transaction_type", &format!("\"{kind}\""));
    }
    if let Some(channel) = truth.channel {
        put("channel", &format!("\"{channel}\""));
    }
    if let Some(number) = truth.counterparty {
        let (kind, text) = match number % 3 {
            0 => (dice.pick(&[None, Some("phone")]), dice.pick(&["+254", "0"]).to_owned() + &format!("7{number:08}")),
            1 => (Some("till"), format!("{}", 1_000 + number / 3)),
            _ => (Some("agent"), format!("{}", 1_000 + number / 3)),
        };
        put("counterparty", &format!("\"{text}\""));
        if let Some(kind) = kind {
            put("counterparty_type", &format!("\"{kind}\""));
        }
    }
    match truth.device {
        Some(device) => put("device_id", &format!("\"dev-{device}\"")),
        None => put("device_id", dice.pick(&["null", "\"\"", "\"  \""])),
    }
    if let Some(place) = truth.place {
        let (_, one, other) = PLACES[place];
        put("location", &format!("\"{}\"", dice.pick(&[one, other])));
    }
    if let Some((latitude, longitude)) = truth.geo {
        put("latitude", &latitude.to_string());
        put("longitude", &longitude.to_string());
    }
    if let Some(opened) = truth.opened {
        put("account_opened_at", &format!("\"{}\"", EventTimeMs(opened).to_rfc3339()));
    }
    if let Some(institution) = truth.institution.filter(|_| institution_in_body) {
        put("institution_id", &format!("\"{}\"", institution_name(institution)));
    } else if !institution_in_body && dice.percent(50) {
        put("institution_id", "\"overruled\"");
    }
    out.push('}');
    out
}
