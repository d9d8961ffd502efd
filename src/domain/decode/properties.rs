//! Properties of decoding over arbitrary bytes and over transactions spelled in odd ways.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn record(value: &[u8]) -> Record<'_> {
    Record { offset: 0, timestamp_ms: None, key: None, value: Some(value), institution: None }
}

/// JSON texts that some field accepts or refuses for a reason of its own.
const VALUES: &[&str] = &[
    "null",
    "true",
    "[]",
    "{\"a\":[1]}",
    "0",
    "-0",
    "1500",
    "1.5e3",
    "1e400",
    "\"1500.00\"",
    "\"TXN-1\"",
    "\"\"",
    "\"0712345678\"",
    "\"+254712345678\"",
    "\"2547****678\"",
    "\"KES\"",
    "\"2026-03-01T08:15:00Z\"",
    "\"P2P\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\n\"",
    "\"Murang\\u2019a\"",
    "\"café\"",
    "-1.2864",
    "36.8172",
    "91",
];

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![select(VALUES).prop_map(str::to_owned), "\"[ -~é\\\\]{0,20}\"", "-?[0-9.e+]{0,6}"]
}

/// A member list like a transaction's: known names, repeated, unknown or escaped ones.
fn any_object() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => select(Field::ALL).prop_map(|field| field.as_str().to_owned()),
        1 => "[a-z~\\\\u0]{0,6}",
    ];
    let blank = || select(&["", "", "", " ", "\n\t"][..]);
    vec((name, any_value(), blank(), blank()), 0..8).prop_map(|members| {
        let members: Vec<_> =
            members.iter().map(|(name, value, a, b)| format!("{a}\"{name}\"{a}:{b}{value}{a}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Small damage at any place.
fn damaged(text: String, damage: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    for (at, byte) in damage {
        let at = at % (bytes.len() + 1);
        match byte % 3 {
            0 => bytes.insert(at, *byte),
            1 if at < bytes.len() => bytes[at] = *byte,
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
    bytes
}

/// Every character as an escape, surrogate pairs included.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), header in proptest::option::of(vec(any::<u8>(), 0..70))) {
        let record = Record { institution: header.as_deref(), ..record(&bytes) };
        prop_assert!(decode(&record, &Rules::default()).is_err());
    }

    #[test]
    fn what_the_fast_pass_accepts_serde_json_reads_alike(text in any_object(), damage in vec((any::<usize>(), any::<u8>()), 0..3)) {
        let bytes = damaged(text, &damage);
        let mut tokens = Tokens::default();
        if let Ok(text) = std::str::from_utf8(&bytes) && flat::scan(text, &mut tokens, &mut Habits::default()).is_some() {
            prop_assert_eq!(Tokens::parse(text), Ok(tokens), "{}", text);
        }
        let _ = decode(&record(&bytes), &Rules::default());
    }

    #[test]
    fn what_is_plain_is_read_quickly_as_it_is_read_closely(more in any_object()) {
        let whole = "\"transaction_id\":\"T-1\",\"amount\":1.5,\"phone_number\":\"0712345678\",\"timestamp\":\"2026-03-01T08:15:00Z\"";
        let text = if more == "{}" { format!("{{{whole}}}") } else { format!("{{{whole},{}", &more[1..]) };
        let Ok(tokens) = Tokens::parse(&text) else { return Ok(()) };
        let (record, rules) = (record(text.as_bytes()), Rules::default());
        let closely = read::<Fault>(&tokens, &record, &rules);
        match read::<Unusual>(&tokens, &record, &rules) {
            Ok(quickly) => prop_assert_eq!(Ok(quickly), closely),
            Err(Unusual) => prop_assert!(closely.is_err() || !tokens.are_plain(), "{}", text),
        }
    }

    #[test]
    fn habits_never_show(texts in vec((any_object(), vec((any::<usize>(), any::<u8>()), 0..2)), 1..12)) {
        let mut habits = Habits::default();
        let texts: Vec<_> = texts.into_iter().map(|(text, damage)| damaged(text, &damage)).collect();
        // Each once more: by then its own habits are known.
        for bytes in texts.iter().chain(&texts) {
            let alone = decode(&record(bytes), &Rules::default());
            prop_assert_eq!(decode_by(&mut habits, &record(bytes), &Rules::default()), alone);
            if let Ok(text) = std::str::from_utf8(bytes) {
                let (mut alone, mut known) = (Tokens::default(), Tokens::default());
                let accepted = flat::scan(text, &mut alone, &mut Habits::default());
                prop_assert_eq!(flat::scan(text, &mut known, &mut habits), accepted);
                prop_assert!(accepted.is_none() || alone == known, "{}", text);
            }
        }
    }

    #[test]
    fn an_object_of_plain_names_takes_the_fast_pass(members in vec(("[a-z]{1,9}", "\"[ -!#-\\[\\]-~é]{0,20}\"|-?[1-9][0-9]{0,5}|null"), 0..8)) {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
        let text = format!("{{{}}}", members.join(" ,"));
        prop_assert!(flat::scan(&text, &mut Tokens::default(), &mut Habits::default()).is_some(), "{}", text);
    }

    #[test]
    fn neither_order_nor_spelling_of_the_fields_matters(
        id in "[A-Za-z0-9._:-]{1,64}",
        minor in 1_i64..=100_000_000_000_000,
        number in 100_000_000_u64..1_000_000_000,
        device in "\\PC{0,20}",
        rotation in 0_usize..5,
    ) {
        let fields = [
            ("transaction_id", id),
            ("amount", format!("{}.{:02}", minor / 100, minor % 100)),
            ("phone_number", format!("254{number}")),
            ("timestamp", String::from("2026-03-01T08:15:00Z")),
            ("device_id", device),
        ];
        let quote = |text: &str| serde_json::to_string(text).expect("a string is JSON");
        let mut plain: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{}", quote(name), quote(value))).collect();
        let mut odd: Vec<_> =
            fields.iter().map(|(name, value)| format!("\"{}\" :\t\"{}\"", escaped(name), escaped(value))).collect();
        plain.rotate_left(rotation);
        odd.reverse();
        let (plain, odd) = (format!("{{{}}}", plain.join(",")), format!("\n{{ {} }}", odd.join(" ,")));
        let rules = Rules::default();
        let (plain, odd) = (record(plain.as_bytes()), record(odd.as_bytes()));
        let read = decode(&plain, &rules);
        prop_assert!(read.is_ok(), "{:?}", read);
        prop_assert_eq!(read, decode(&odd, &rules));
    }
}
