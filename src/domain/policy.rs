//! From score to level to recommendation. The policy's version is part of every verdict.

use super::transaction::wire_enum;

/// The version of the policy below; it changes with any of its numbers.
pub const POLICY_VERSION: &str = "default-1";

/// At and above this score a verdict bears reasons.
pub const REASONS_FROM: u8 = MEDIUM_FROM;

const MEDIUM_FROM: u8 = 40;
const HIGH_FROM: u8 = 70;
const CRITICAL_FROM: u8 = 90;

wire_enum! {
    /// How much a score means in work for analysts.
    RiskLevel {
        /// Score below 40.
        Low = "LOW",
        /// Score 40 to 69.
        Medium = "MEDIUM",
        /// Score 70 to 89.
        High = "HIGH",
        /// Score 90 and above.
        Critical = "CRITICAL",
    }
}

wire_enum! {
    /// What the switch should do; anything unknown counts as REVIEW.
    Recommendation {
        /// Go.
        Approve = "APPROVE",
        /// Go, and queue for an analyst.
        Review = "REVIEW",
        /// Step up or hold.
        Flag = "FLAG",
        /// Decline.
        Block = "BLOCK",
    }
}

/// What was decided about an event: score 0..=100, level, recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// 0..=100.
    pub score: u8,
    /// The score's level.
    pub level: RiskLevel,
    /// What to do.
    pub recommendation: Recommendation,
}

/// The default policy: LOW < 40 APPROVE, MEDIUM 40–69 REVIEW, HIGH 70–89 FLAG, CRITICAL >= 90 BLOCK.
pub fn decide(score: u8) -> Decision {
    let (level, recommendation) = match score {
        CRITICAL_FROM.. => (RiskLevel::Critical, Recommendation::Block),
        HIGH_FROM.. => (RiskLevel::High, Recommendation::Flag),
        MEDIUM_FROM.. => (RiskLevel::Medium, Recommendation::Review),
        _ => (RiskLevel::Low, Recommendation::Approve),
    };
    Decision { score, level, recommendation }
}

impl Decision {
    /// The same with a recommendation of at least REVIEW, as a conflict gets it.
    pub fn at_least_review(self) -> Self {
        let recommendation = match self.recommendation {
            Recommendation::Approve => Recommendation::Review,
            other => other,
        };
        Self { recommendation, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_recommendations_begin_where_the_policy_says() {
        let told = |score: u8| {
            let decision = decide(score);
            assert_eq!(decision.score, score);
            (decision.level.as_str(), decision.recommendation.as_str())
        };
        for (scores, expected) in [
            (0..=39, ("LOW", "APPROVE")),
            (40..=69, ("MEDIUM", "REVIEW")),
            (70..=89, ("HIGH", "FLAG")),
            (90..=100, ("CRITICAL", "BLOCK")),
        ] {
            scores.for_each(|score| assert_eq!(told(score), expected, "{score}"));
        }
        assert_eq!(REASONS_FROM, 40);
    }

    #[test]
    fn a_conflict_is_reviewed_at_least_and_its_score_stays() {
        for (score, expected) in [(0, "REVIEW"), (40, "REVIEW"), (70, "FLAG"), (90, "BLOCK")] {
            let (own, raised) = (decide(score), decide(score).at_least_review());
            assert_eq!((raised.score, raised.level), (own.score, own.level));
            assert_eq!(raised.recommendation.as_str(), expected, "{score}");
        }
    }
}
