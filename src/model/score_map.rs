//! From calibrated log odds to the score 0..=100: monotone, piecewise linear, anchored in workload.
//!
//! An anchor is a score together with the share of legitimate validation events that reach it: 40 = 2 %, 70 = 0.5 %,
//! 90 = 0.05 %. So a level means a number of alerts, whatever the model. Fitting never lets more through than an
//! anchor's share; with ties at its edge, fewer. The map is total: NaN gives 0.

use serde::{Deserialize, Serialize};

/// The scores that are anchored, and the share of legitimate events that reach each. The levels start at 40, 70 and 90;
/// the lower ones only spread what no level looks at.
pub const ANCHORS: [(u8, f64); 5] = [(10, 0.5), (25, 0.1), (40, 0.02), (70, 0.005), (90, 0.0005)];

/// The least distance of two anchors, in log odds; ties in the data would put them on one another.
const LEAST_STEP: f64 = 1e-6;

/// A score and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// 0..=100.
    pub score: u8,
    /// The least calibrated log odds of that score.
    pub log_odds: f64,
}

/// The map, as its anchors: scores and log odds both rise strictly, from score 0 to 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Anchor>", into = "Vec<Anchor>")]
pub struct ScoreMap {
    anchors: Vec<Anchor>,
}

/// Why anchors are not a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreMapError {
    /// Not rising strictly from 0 to 100, or not finite.
    #[error("the score map's anchors do not rise strictly from score 0 to 100: train anew with `sentra train`")]
    NotRising,
    /// Nothing to fit to.
    #[error("the validation data has no legitimate event with a finite score: simulate or label more")]
    NoLegitimate,
}

impl ScoreMap {
    /// Fits the anchors to the log odds of legitimate validation events; score 0 is at the least and 100 at the greatest
    /// of all validation events. Values that are not finite are left out.
    ///
    /// # Errors
    /// No legitimate event.
    pub fn fit(legitimate: &[f64], all: &[f64]) -> Result<Self, ScoreMapError> {
        let mut falling: Vec<f64> = legitimate.iter().copied().filter(|z| z.is_finite()).collect();
        falling.sort_by(|a, b| b.total_cmp(a));
        let (Some(&greatest), Some(&least)) = (falling.first(), falling.last()) else {
            return Err(ScoreMapError::NoLegitimate);
        };
        let finite = || all.iter().copied().filter(|z| z.is_finite());
        let mut anchors = vec![Anchor { score: 0, log_odds: finite().fold(least, f64::min) }];
        for (score, share) in ANCHORS {
            let floor = anchors[anchors.len() - 1].log_odds + LEAST_STEP;
            anchors.push(Anchor { score, log_odds: edge(&falling, share).max(floor) });
        }
        let floor = anchors[anchors.len() - 1].log_odds + LEAST_STEP;
        anchors.push(Anchor { score: 100, log_odds: finite().fold(greatest, f64::max).max(floor) });
        Self::try_from(anchors)
    }

    /// The score of calibrated log odds; 0 for NaN.
    pub fn score(&self, log_odds: f64) -> u8 {
        // A few are sooner counted than searched: each step of a search waits for the one before.
        let above = self.anchors.iter().filter(|anchor| anchor.log_odds <= log_odds).count();
        let (Some(low), Some(high)) = (above.checked_sub(1).map(|at| self.anchors[at]), self.anchors.get(above)) else {
            return if above == 0 { 0 } else { 100 };
        };
        let share = (log_odds - low.log_odds) / (high.log_odds - low.log_odds);
        // Rounded down, and never up to the next anchor's score: an anchor's score begins at its log odds.
        let steps = (share * f64::from(high.score - low.score)) as u8;
        low.score + steps.min(high.score - low.score - 1)
    }

    /// The anchors, rising.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

impl TryFrom<Vec<Anchor>> for ScoreMap {
    type Error = ScoreMapError;

    fn try_from(anchors: Vec<Anchor>) -> Result<Self, ScoreMapError> {
        let ends = anchors.first().is_some_and(|first| first.score == 0)
            && anchors.last().is_some_and(|last| last.score == 100);
        let rises = anchors.windows(2).all(|pair| pair[0].score < pair[1].score && pair[0].log_odds < pair[1].log_odds);
        let finite = anchors.iter().all(|anchor| anchor.log_odds.is_finite());
        if ends && rises && finite { Ok(Self { anchors }) } else { Err(ScoreMapError::NotRising) }
    }
}

impl From<ScoreMap> for Vec<Anchor> {
    fn from(map: ScoreMap) -> Self {
        map.anchors
    }
}

/// Log odds that at most the given share of events reach: midway between the last value in and the first one out.
fn edge(falling: &[f64], share: f64) -> f64 {
    let most = (share * falling.len() as f64) as usize;
    let first_out = falling[most.min(falling.len() - 1)];
    match falling[..most].iter().rev().find(|z| **z > first_out) {
        Some(&last_in) => {
            let midway = first_out + (last_in - first_out) / 2.0;
            if midway > first_out { midway } else { last_in }
        }
        None => first_out + LEAST_STEP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100,000 legitimate events with log odds -10 to 0, and frauds beyond.
    fn validation() -> (Vec<f64>, Vec<f64>) {
        let legitimate: Vec<f64> = (0..100_000).map(|at| -10.0 + f64::from(at) / 10_000.0).collect();
        let all = legitimate.iter().copied().chain((0..1_000).map(|at| f64::from(at) / 100.0 - 5.0)).collect();
        (legitimate, all)
    }

    #[test]
    fn an_anchor_is_reached_by_its_share_of_legitimate_events() {
        let (legitimate, all) = validation();
        let map = ScoreMap::fit(&legitimate, &all).unwrap();
        for (score, share) in ANCHORS {
            let reached = legitimate.iter().filter(|z| map.score(**z) >= score).count();
            assert_eq!(reached, (share * 100_000.0) as usize, "score {score}");
        }
    }

    #[test]
    fn the_map_rises_from_0_to_100_and_never_falls() {
        let (legitimate, all) = validation();
        let map = ScoreMap::fit(&legitimate, &all).unwrap();
        let scores: Vec<u8> = (-12_000..=7_000).map(|step| map.score(f64::from(step) / 1_000.0)).collect();
        assert!(scores.is_sorted());
        assert_eq!((scores[0], scores[scores.len() - 1]), (0, 100));
        assert!((0..100).all(|score| scores.contains(&score)), "no score is skipped");
    }

    #[test]
    fn the_map_is_total() {
        let (legitimate, all) = validation();
        let map = ScoreMap::fit(&legitimate, &all).unwrap();
        assert_eq!(map.score(f64::NAN), 0);
        assert_eq!(map.score(f64::NEG_INFINITY), 0);
        assert_eq!(map.score(f64::INFINITY), 100);
        for anchor in map.anchors() {
            assert_eq!(map.score(anchor.log_odds), anchor.score);
            assert!(anchor.score == 0 || map.score(anchor.log_odds.next_down()) == anchor.score - 1, "{anchor:?}");
        }
    }

    #[test]
    fn ties_let_fewer_through_and_never_more() {
        for distinct in 1..12 {
            let legitimate: Vec<f64> = (0..5_000).map(|at| f64::from(at % distinct)).collect();
            let map = ScoreMap::fit(&legitimate, &legitimate).unwrap();
            for (score, share) in ANCHORS {
                let reached = legitimate.iter().filter(|z| map.score(**z) >= score).count();
                assert!(reached as f64 <= share * 5_000.0, "score {score} of {distinct} distinct values");
            }
        }
    }

    #[test]
    fn a_map_reads_back_as_written_and_a_falling_one_is_refused() {
        let (legitimate, all) = validation();
        let map = ScoreMap::fit(&legitimate, &all).unwrap();
        let read: ScoreMap = serde_json::from_str(&serde_json::to_string(&map).unwrap()).unwrap();
        let close = |(a, b): (&Anchor, &Anchor)| a.score == b.score && (a.log_odds - b.log_odds).abs() < 1e-12;
        assert!(map.anchors().iter().zip(read.anchors()).all(close));
        let falling = r#"[{"score":0,"log_odds":1.0},{"score":100,"log_odds":0.0}]"#;
        assert!(serde_json::from_str::<ScoreMap>(falling).is_err());
        assert_eq!(ScoreMap::fit(&[f64::NAN], &all), Err(ScoreMapError::NoLegitimate));
    }
}
