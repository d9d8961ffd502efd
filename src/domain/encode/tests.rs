//! What is written beside what the library writes.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    amount::{Currency, MAX_AMOUNT_MINOR},
    features::Row,
    policy::decide,
    time::{EventTimeMs, WallTimeUs},
    verdict::{Digest, Features, Kind, ModelRef, VerdictId},
};

fn written(write: impl FnOnce(&mut Pen<'_>)) -> String {
    let mut out = Vec::new();
    overwrite(&mut out, 64, |mut pen| {
        write(&mut pen);
        pen
    });
    String::from_utf8(out).expect("UTF-8")
}

fn by_library(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}

#[test]
fn every_hundredth_is_written_as_the_library_writes_it() {
    for value in (0..=100).map(|count| f64::from(count) / 100.0).chain([1.01, 0.123, -0.0, -0.5, 2.6, f64::NAN]) {
        assert_eq!(written(|out| hundredths(out, value)), by_library(&value));
    }
}

#[test]
fn there_is_room_for_the_longest_numbers_and_for_features_and_reasons_as_long_as_they_can_be() {
    let longest = -f64::MAX / 3.0;
    let reason = Reason { code: "".into(), text: "".into(), contribution: Some(longest) };
    let (reasons, row) = ([reason.clone(), reason], [longest; FEATURES]);
    let source = Source { log: "", partition: i32::MIN, offset: i64::MIN, previous_offset: i64::MIN, epoch: i64::MIN };
    let mut flags = Flags::default();
    Flags::ALL.iter().for_each(|(flag, _)| flags.set(*flag, true));
    let each = |kind, decision: crate::domain::policy::Decision, reasons, features| Verdict {
        transaction_id: Some(""),
        risk_score: Some(100),
        risk_level: Some(decision.level),
        signals: Some(Signals {
            velocity: longest,
            amount_anomaly: longest,
            device_new: longest,
            location_change: longest,
        }),
        recommendation: decision.recommendation,
        processing_time_ms: u64::MAX,
        verdict_id: VerdictId(source),
        kind,
        duplicate_of: Some(i64::MIN),
        reasons,
        phone_number: Some(Phone::Subject([0xff; 32])),
        institution_id: Some(""),
        amount: Some(AmountMinor(MAX_AMOUNT_MINOR - 1)),
        currency: Some(Currency::KES),
        event_time: Some(EventTimeMs(0)),
        decided_at: WallTimeUs(0).text(),
        model: Some(ModelRef { name: "", version: "" }),
        policy_version: "",
        maker: None,
        flags,
        source,
        features,
        feature_digest: Some(Digest(u64::MAX)),
        schema_version: u32::MAX,
    };
    for (kind, score) in Kind::ALL.iter().flat_map(|kind| [0, 40, 70, 90].map(|score| (*kind, score))) {
        for (reasons, features) in [(&[][..], None), (&reasons[..], Some(Features(&row)))] {
            let verdict = each(kind, decide(score), reasons, features);
            let (mut out, most) = (Vec::new(), most_bytes(&verdict));
            encode(&verdict, &mut out);
            assert!(out.len() <= most, "{} bytes in room for {most}", out.len());
        }
    }
}

proptest! {
    #[test]
    fn an_amount_is_written_as_the_library_writes_it(minor in -5_i64..=MAX_AMOUNT_MINOR, small in 0_i64..100_000) {
        for amount_minor in [AmountMinor(minor), AmountMinor(small)] {
            prop_assert_eq!(written(|out| amount(out, amount_minor)), by_library(&amount_minor));
        }
    }

    #[test]
    fn a_verdict_is_written_as_the_library_writes_it(
        texts in (any::<String>(), "[A-Za-z0-9._:-]{0,64}", ".*"),
        numbers in (any::<i64>(), any::<i32>(), -1_i64..1_000_000_000_000, any::<u64>()),
        phone in (any::<bool>(), 10_000_000_u64..1_000_000_000_000_000, any::<[u8; 32]>()),
        times in (0_i64..253_402_300_800_000, 0_i64..253_402_300_800_000_000),
        shape in (0_u8..=100, any::<[bool; 8]>(), 0_u8..64, 0_usize..6),
        row in any::<Row>(),
        steps in any::<[u8; 4]>(),
    ) {
        let ((name, id, note), (wide, partition, offset, digest)) = (texts, numbers);
        let (score, has, bits, kind) = shape;
        let decision = decide(score);
        let mut flags = Flags::default();
        Flags::ALL.iter().enumerate().for_each(|(at, (flag, _))| flags.set(*flag, bits >> at & 1 == 1));
        let of = |at: usize| f64::from(steps[at] % 101) / 100.0;
        let shown = Signals { velocity: of(0), amount_anomaly: of(1), device_new: of(2), location_change: of(3) };
        let reason = |text: &str, contribution| Reason { code: id.clone().into(), text: text.to_owned().into(), contribution };
        let reasons = [reason(&note, Some(of(0))), reason(&name, None)];
        let source = Source { log: "c0ffee01", partition, offset, previous_offset: offset - 1, epoch: wide };
        let number = if phone.0 { Phone::E164(phone.1) } else { Phone::Subject(phone.2) };
        let model = has[7].then_some(ModelRef { name: &name, version: &id });
        let verdict = Verdict {
            transaction_id: has[0].then_some(&id),
            risk_score: has[1].then_some(score),
            risk_level: has[1].then_some(decision.level),
            signals: has[2].then_some(shown),
            recommendation: decision.recommendation,
            processing_time_ms: digest,
            verdict_id: VerdictId(source),
            kind: Kind::ALL[kind],
            duplicate_of: has[3].then_some(wide),
            reasons: &reasons[..usize::from(steps[0] % 3)],
            phone_number: has[4].then_some(number),
            institution_id: has[5].then_some(&id[..id.len() / 2]),
            amount: has[1].then_some(AmountMinor(offset.max(1))),
            currency: has[1].then_some(Currency::KES),
            event_time: has[4].then_some(EventTimeMs(times.0)),
            decided_at: WallTimeUs(times.1).text(),
            model,
            policy_version: &note,
            maker: None,
            flags,
            source,
            features: has[3].then_some(Features(&row)),
            feature_digest: has[7].then_some(Digest(digest)),
            schema_version: 1,
        };
        let mut out = b"of an earlier verdict".to_vec();
        encode(&verdict, &mut out);
        prop_assert_eq!(std::str::from_utf8(&out).expect("UTF-8"), by_library(&verdict));
        if let Some(model) = model {
            let maker = written_maker(model, &note);
            let mut again = Vec::new();
            encode(&Verdict { maker: Some(&maker), ..verdict }, &mut again);
            prop_assert_eq!(again, out);
        }
    }
}
