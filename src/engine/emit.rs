//! From a judged record and its raw score to the verdict's bytes. Pure: times and epoch are arguments.

use std::sync::Arc;

use super::{
    decisions::{Decisions, Maker},
    partition::{Judged, Judgement},
};
use crate::{
    domain::{
        encode::{encode, written_maker},
        features::{self, FEATURES, Row},
        flags::Flags,
        invalid::Invalid,
        policy::{Decision, POLICY_VERSION, REASONS_FROM, Recommendation, decide},
        reasons::{MOST_REASONS, Reason},
        signals::{Ramp, Ramps, Signals},
        time::TimeText,
        verdict::{Digest, Features, Kind, ModelRef, SCHEMA_VERSION, Source, Verdict, VerdictId},
    },
    model::{evaluate::Score, folder::Model},
};

/// Writes verdicts with one model and the default policy.
pub struct Emitter {
    model: Arc<Model>,
    maker: Arc<Maker>,
    /// What each verdict by this maker says of it.
    written_maker: Vec<u8>,
    ramps: Ramps,
    with_features: bool,
}

/// What differs from verdict to verdict without being the record's, as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Place in the chain.
    pub source: Source<'a>,
    /// Now.
    pub decided_at: TimeText,
    /// From poll to now, milliseconds, rounded up.
    pub processing_time_ms: u64,
}

/// What a verdict turned out to be, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Its kind.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// Its score, but for invalid records.
    pub score: Option<u8>,
}

impl Emitter {
    /// An emitter of verdicts by `model`; `with_features` adds the row to each.
    pub fn new(model: Arc<Model>, with_features: bool) -> Self {
        let maker = Arc::new(Maker {
            model: model.name.clone(),
            model_version: model.version.clone(),
            policy_version: POLICY_VERSION.to_owned(),
        });
        let written_maker = written_maker(model_ref(&maker), &maker.policy_version);
        let ramps = std::array::from_fn(|at| {
            let [.., most, nearly_all] = model.scaling.features[at].quantiles;
            Ramp { from: most, to: nearly_all.max(most + most.abs().max(1.0) * 0.5) }
        });
        Self { model, maker, written_maker, ramps, with_features }
    }

    /// Overwrites `out` with the verdict of a transaction, and remembers its decision. `score` is the model's raw score of its row.
    pub fn judged<'s>(
        &self,
        judged: &Judged<'_>,
        score: impl Into<Score<'s>>,
        stamp: &Stamp<'_>,
        decisions: &mut Decisions,
        out: &mut Vec<u8>,
    ) -> Emitted {
        let score = score.into();
        let own = decide(self.model.score(score.raw));
        let (kind, decision, original, flags) = settle(judged, own, decisions);
        let repeated = original.and_then(|original| decisions.get(original)).map(|made| Arc::clone(made.maker));
        let maker = repeated.as_ref().unwrap_or(&self.maker);
        let reasons = self.reasons(judged, &score, kind, decision, original);
        let transaction = judged.transaction();
        let verdict = Verdict {
            transaction_id: Some(&transaction.transaction_id),
            risk_score: Some(decision.score),
            risk_level: Some(decision.level),
            signals: (kind != Kind::Duplicate).then(|| Signals::of(judged.row(), &self.ramps)),
            recommendation: decision.recommendation,
            processing_time_ms: stamp.processing_time_ms,
            verdict_id: VerdictId(stamp.source),
            kind,
            duplicate_of: original,
            reasons: &reasons,
            phone_number: Some(transaction.phone),
            institution_id: transaction.institution_id.as_deref(),
            amount: Some(transaction.amount),
            currency: Some(transaction.currency),
            event_time: Some(judged.event_time),
            decided_at: stamp.decided_at,
            model: Some(model_ref(maker)),
            policy_version: &maker.policy_version,
            maker: repeated.is_none().then_some(self.written_maker.as_slice()),
            flags,
            source: stamp.source,
            features: self.with_features.then_some(Features(judged.row())),
            feature_digest: Some(Digest(features::digest(judged.row()))),
            schema_version: SCHEMA_VERSION,
        };
        encode(&verdict, out);
        if judged.judgement == Judgement::Scored {
            decisions.remember(judged.offset, decision, &self.maker);
            decisions.note_time(judged.offset, judged.event_time.0);
        }
        Emitted { kind, flags, score: Some(decision.score) }
    }

    /// Overwrites `out` with the verdict of an unreadable record.
    pub fn invalid(&self, invalid: &Invalid, misrouted: bool, stamp: &Stamp<'_>, out: &mut Vec<u8>) -> Emitted {
        write_invalid(invalid, misrouted, stamp, out)
    }

    fn reasons(
        &self,
        judged: &Judged<'_>,
        score: &Score<'_>,
        kind: Kind,
        decision: Decision,
        original: Option<i64>,
    ) -> Vec<Reason> {
        if let Some(original) = original {
            return vec![Reason::duplicate(original)];
        }
        let mut reasons = Vec::new();
        if let (Kind::Conflict, Judgement::Conflict { original }) = (kind, judged.judgement) {
            reasons.push(Reason::conflict(original));
        }
        if decision.score >= REASONS_FROM {
            let mut contributions: Row = [0.0; FEATURES];
            self.model.forest.explain(judged.row(), score, &mut contributions);
            reasons.extend(Reason::largest(judged.row(), &contributions));
            reasons.truncate(MOST_REASONS);
        }
        reasons
    }
}

/// Overwrites `out` with the verdict of an unreadable record; no model has a part in it.
pub fn write_invalid(invalid: &Invalid, misrouted: bool, stamp: &Stamp<'_>, out: &mut Vec<u8>) -> Emitted {
    let read = &invalid.read;
    let reasons = [Reason::invalid(invalid)];
    let mut flags = Flags::default();
    flags.set(Flags::MISROUTED, misrouted);
    let verdict = Verdict {
        transaction_id: read.transaction_id.as_deref(),
        risk_score: None,
        risk_level: None,
        signals: None,
        recommendation: Recommendation::Review,
        processing_time_ms: stamp.processing_time_ms,
        verdict_id: VerdictId(stamp.source),
        kind: Kind::Invalid,
        duplicate_of: None,
        reasons: &reasons,
        phone_number: read.phone,
        institution_id: read.institution_id.as_deref(),
        amount: read.amount,
        currency: read.currency,
        event_time: read.event_time,
        decided_at: stamp.decided_at,
        model: None,
        policy_version: POLICY_VERSION,
        maker: None,
        flags,
        source: stamp.source,
        features: None,
        feature_digest: None,
        schema_version: SCHEMA_VERSION,
    };
    encode(&verdict, out);
    Emitted { kind: Kind::Invalid, flags, score: None }
}

fn model_ref(maker: &Maker) -> ModelRef<'_> {
    ModelRef { name: &maker.model, version: &maker.model_version }
}

/// Kind, decision, the original repeated, and flags. A duplicate whose original's decision is not known any more is
/// scored as itself and flagged as warming.
fn settle(judged: &Judged<'_>, own: Decision, decisions: &Decisions) -> (Kind, Decision, Option<i64>, Flags) {
    let mut flags = judged.flags;
    match judged.judgement {
        Judgement::Scored => (Kind::Scored, own, None, flags),
        Judgement::Late => (Kind::Late, own, None, flags),
        Judgement::Conflict { .. } => (Kind::Conflict, own.at_least_review(), None, flags),
        Judgement::Duplicate { original } => match decisions.get(original) {
            Some(made) => (Kind::Duplicate, made.decision, Some(original), flags),
            None => {
                flags.set(Flags::WARMING, true);
                (Kind::Scored, own, None, flags)
            }
        },
    }
}
