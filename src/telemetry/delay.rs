//! How late partitions are, as their shards last saw it, and what of that speaks against readiness. A shard knows of a
//! frozen broker, of one that is overloaded, or of its own overload only by what does not come.
//!
//! Not a measurement of each record: a delay is what something has waited *at least*.

use std::time::Duration;

use super::Reason;

/// A verdict that is not acknowledged for so long is no hiccup: three hundred times what one takes.
pub const UNDELIVERED_FOR: Duration = Duration::from_secs(5);

/// A partition paused for less than this is back pressure at work, as while a backlog is drained.
const PAUSED_FOR: Duration = Duration::from_secs(1);

/// So many partitions are named in a reason; the others are counted.
const MOST_NAMED: usize = 8;

/// How late one partition is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// The partition.
    pub partition: i32,
    /// How long its oldest unacknowledged verdict has waited.
    pub verdicts: Duration,
    /// How long its oldest record that was not taken yet has waited.
    pub records: Duration,
    /// Whether that is beyond `score.lag_ready`.
    pub late: bool,
    /// Whether a producer's open transaction keeps its records from every reader.
    pub in_transaction: bool,
    /// Whether it is paused for its undelivered verdicts.
    pub paused: bool,
    /// Whether the broker that leads it does not answer, or none leads it.
    pub away: bool,
}

/// What of these delays speaks against readiness, each with the partitions it is about.
pub fn reasons<'d>(delays: impl Iterator<Item = &'d Delay> + Clone) -> Vec<Reason> {
    let told = |kind: &'static str, is: &dyn Fn(&Delay) -> bool, long: &dyn Fn(&Delay) -> Duration| {
        let mut found: Vec<&Delay> = delays.clone().filter(|delay| is(delay)).collect();
        found.sort_by_key(|delay| delay.partition);
        let longest = found.iter().map(|delay| long(delay)).max()?;
        let mut names: Vec<String> = found.iter().take(MOST_NAMED).map(|delay| delay.partition.to_string()).collect();
        if found.len() > MOST_NAMED {
            names.push(format!("{} more", found.len() - MOST_NAMED));
        }
        let names = names.join(", ");
        let time = if longest.is_zero() { String::new() } else { format!(" (for {} s)", longest.as_secs()) };
        Some(Reason { kind, words: format!("{kind}: partitions {names}{time}") })
    };
    [
        told("input whose broker does not answer", &|delay| delay.away, &|_| Duration::ZERO),
        told("verdicts not acknowledged", &|delay| delay.verdicts >= UNDELIVERED_FOR, &|delay| delay.verdicts),
        told(
            "paused, for score.undelivered verdicts are not acknowledged",
            &|delay| delay.paused && delay.verdicts >= PAUSED_FOR,
            &|delay| delay.verdicts,
        ),
        told("records behind a producer's open transaction", &|delay| delay.late && delay.in_transaction, &|delay| {
            delay.records
        }),
        told("records not judged within score.lag_ready", &|delay| delay.late && !delay.in_transaction, &|delay| {
            delay.records
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'d>(delays: impl Iterator<Item = &'d Delay> + Clone) -> Vec<String> {
        reasons(delays).into_iter().map(|reason| reason.words).collect()
    }

    #[test]
    fn each_delay_is_told_with_its_partitions_and_the_longest_time_and_a_short_one_is_not() {
        let second = Duration::from_secs(1);
        let calm = Delay { partition: 1, verdicts: second, records: second * 9, ..Delay::default() };
        assert!(reasons([calm].iter()).is_empty());
        let brief = Delay { paused: true, verdicts: second / 2, ..calm };
        assert!(reasons([brief].iter()).is_empty(), "back pressure while a backlog is drained");
        let delays = [
            Delay { partition: 2, verdicts: UNDELIVERED_FOR, ..Delay::default() },
            Delay { partition: 3, verdicts: second * 40, paused: true, ..Delay::default() },
            Delay { partition: 4, records: second * 31, late: true, ..Delay::default() },
            Delay { partition: 5, records: second * 33, late: true, in_transaction: true, ..Delay::default() },
            Delay { partition: 6, away: true, ..Delay::default() },
        ];
        assert_eq!(
            words(delays.iter().chain([&calm])),
            [
                "input whose broker does not answer: partitions 6",
                "verdicts not acknowledged: partitions 2, 3 (for 40 s)",
                "paused, for score.undelivered verdicts are not acknowledged: partitions 3 (for 40 s)",
                "records behind a producer's open transaction: partitions 5 (for 33 s)",
                "records not judged within score.lag_ready: partitions 4 (for 31 s)",
            ]
        );
        let many: Vec<Delay> = (0..20).map(|partition| Delay { partition, away: true, ..Delay::default() }).collect();
        assert_eq!(
            words(many.iter()),
            ["input whose broker does not answer: partitions 0, 1, 2, 3, 4, 5, 6, 7, 12 more"]
        );
    }
}
