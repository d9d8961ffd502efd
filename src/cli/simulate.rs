//! `sentra simulate`: labelled traffic into files, to stdout, or to Kafka at a rate.
//!
//! Data goes to stdout or files, talk to stderr. What is simulated is in `train::simulate`.

mod files;
mod stream;

use std::{
    io,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::ClientConfig;

use super::{CliError, Globals};
use crate::{
    domain::time::{EventTimeMs, MINUTE_MS},
    kafka::{client::producer_config, load::LoadError},
    train::simulate::{DEFAULT_CUSTOMERS, DEFAULT_START_MS, Disorder, Limit, Options, Restamp},
};

/// Events a day of one customer, agents and merchants included.
const EVENTS_A_DAY_EACH: f64 = 5.6;
/// The most customers that a rate calls for: about 60 MB.
const MOST_CUSTOMERS: u64 = 200_000;

/// Makes labelled mobile-money traffic: reproducible, with habits, hot phones, frauds and harmless look-alikes.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Names the world: the same seed and options give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records to make [default: 400000, or endless with --now].
    #[arg(long)]
    pub events: Option<u64>,
    /// Days of event time to make, in place of --events.
    #[arg(long, conflicts_with = "events")]
    pub days: Option<u64>,
    /// Customers; agents and merchants come in proportion [default: 2400; with --now and --rate as many as make the rate,
    /// at most 200000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub customers: Option<u64>,
    /// Event time of the start, RFC 3339 [default: 2026-01-12T00:00:00+03:00].
    #[arg(long, value_parser = event_time)]
    pub start: Option<i64>,
    /// Share of events that are fraud.
    #[arg(long, default_value_t = 0.004, value_parser = share)]
    pub fraud_rate: f64,
    /// Share of records that arrive late.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub disorder: f64,
    /// Mean delay of those, in minutes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub disorder_minutes: i64,
    /// Share of records that are sent twice, byte for byte.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub duplicates: f64,
    /// Share of transactions whose id comes again with another amount.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub conflicts: f64,
    /// Folder for transactions.jsonl and labels.jsonl; `-` writes transactions to stdout.
    #[arg(long, default_value = "data/simulated")]
    pub out: PathBuf,
    /// Produces to Kafka instead (key = phone, partitioner murmur2_random, CreateTime = event time).
    #[arg(long)]
    pub to_kafka: bool,
    /// The topic [default: topics.transactions].
    #[arg(long, requires = "to_kafka")]
    pub topic: Option<String>,
    /// Also writes labels.jsonl to this folder while producing to Kafka.
    #[arg(long, requires = "to_kafka")]
    pub labels: Option<PathBuf>,
    /// Records a second, on an open-loop schedule.
    #[arg(long, requires = "to_kafka", value_parser = rate)]
    pub rate: Option<f64>,
    /// As fast as the broker takes them (the default without --rate and --now).
    #[arg(long, requires = "to_kafka", conflicts_with_all = ["rate", "now"])]
    pub fast: bool,
    /// Event times begin now and pass with the clock; with --rate they are spread evenly.
    #[arg(long, requires = "to_kafka", conflicts_with = "start")]
    pub now: bool,
}

/// Where Kafka is, for `--to-kafka`.
pub struct KafkaTarget {
    /// Servers and the user's own properties.
    pub client: ClientConfig,
    /// The topic of transactions.
    pub topic: String,
}

/// Why simulating stopped.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A file could not be written.
    #[error("{path}: {source}; choose another folder with --out")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Kafka refused.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Runs the command; `kafka` is used with `--to-kafka` only.
///
/// # Errors
/// A file or Kafka refused.
pub fn run(args: &SimulateArgs, kafka: KafkaTarget) -> Result<(), SimulateError> {
    let options = args.options(SystemTime::now());
    let progress = progress(&options.limit);
    let done = if args.to_kafka {
        let topic = args.topic.clone().unwrap_or(kafka.topic);
        stream::run(args, &options, kafka.client, &topic, &progress)
    } else {
        files::run(&options, &args.out, &progress)
    };
    progress.finish_and_clear();
    eprintln!("{}", done?);
    Ok(())
}

impl SimulateArgs {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let kafka = KafkaTarget { client: producer_config(&config.kafka), topic: config.topics.transactions };
        run(&self, kafka).map_err(|error| match error {
            SimulateError::File { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                CliError::Stdout(source)
            }
            error => CliError::failed(error),
        })
    }

    /// The simulation these arguments name; `now` counts with `--now` only.
    pub fn options(&self, now: SystemTime) -> Options {
        let now_ms = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let steady = self.rate.filter(|_| self.now);
        let customers = self.customers.unwrap_or(steady.map_or(DEFAULT_CUSTOMERS, customers_for));
        let defaults = Options::sized(self.seed, customers);
        let limit = match (self.events, self.days) {
            (Some(records), _) => Limit::Records(records),
            (None, Some(days)) => Limit::Days(days),
            (None, None) if self.now => Limit::None,
            (None, None) => defaults.limit,
        };
        let start_ms = if self.now { now_ms } else { self.start.unwrap_or(DEFAULT_START_MS) };
        let restamp = steady.map(|per_second| Restamp { start_ms: now_ms, per_second });
        let disorder = Disorder {
            late_share: self.disorder,
            late_spread_ms: self.disorder_minutes * MINUTE_MS,
            duplicates: self.duplicates,
            conflicts: self.conflicts,
        };
        Options { limit, start_ms, fraud_rate: self.fraud_rate, disorder, restamp, ..defaults }
    }
}

/// Customers that make so many events a second by their own habits, within what fits into memory.
fn customers_for(per_second: f64) -> u64 {
    ((per_second * 86_400.0 / EVENTS_A_DAY_EACH) as u64).clamp(DEFAULT_CUSTOMERS, MOST_CUSTOMERS)
}

/// A bar on stderr; a count where the end is not known in records.
fn progress(limit: &Limit) -> ProgressBar {
    let (bar, template) = match limit {
        Limit::Records(records) => {
            (ProgressBar::new(*records), "{bar:30} {human_pos}/{human_len} records  {per_sec}  {eta}")
        }
        Limit::Days(_) | Limit::None => (ProgressBar::no_length(), "{spinner} {human_pos} records  {per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=0.5).contains(&value) { Ok(value) } else { Err("must be a share from 0 to 0.5".to_owned()) }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim_end_matches("/s").parse().map_err(|_| "not a number of records a second".to_owned())?;
    if (0.01..=10_000_000.0).contains(&value) { Ok(value) } else { Err("must be from 0.01 to 10000000".to_owned()) }
}

fn event_time(text: &str) -> Result<i64, String> {
    EventTimeMs::parse(text)
        .map(|at| at.0)
        .ok_or_else(|| "not an RFC 3339 time, such as 2026-01-12T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn options(line: &str) -> Result<Options, clap::Error> {
        let words = std::iter::once("simulate").chain(line.split_whitespace());
        Ok(Command::try_parse_from(words)?.args.options(UNIX_EPOCH + Duration::from_secs(2_000_000_000)))
    }

    #[test]
    fn without_arguments_the_defaults_of_the_simulator_hold() {
        assert_eq!(options("").unwrap(), Options::default());
    }

    #[test]
    fn each_argument_reaches_its_option() {
        let given = options(
            "--seed 9 --customers 500 --days 3 --fraud-rate 0.01 --disorder 0.1 --disorder-minutes 2 --duplicates 0.2 \
             --conflicts 0.3 --start 2026-03-01T00:00:00Z",
        )
        .unwrap();
        assert_eq!((given.seed, given.customers, given.limit), (9, 500, Limit::Days(3)));
        assert_eq!(given.fraud_rate, 0.01);
        let disorder = Disorder { late_share: 0.1, late_spread_ms: 120_000, duplicates: 0.2, conflicts: 0.3 };
        assert_eq!(given.disorder, disorder);
        assert_eq!(given.start_ms, 1_772_323_200_000);
    }

    #[test]
    fn now_starts_at_the_clock_and_with_a_rate_spreads_the_events() {
        let live = options("--to-kafka --now").unwrap();
        assert_eq!((live.start_ms, live.limit, live.restamp), (2_000_000_000_000, Limit::None, None));
        let steady = options("--to-kafka --now --rate 200/s").unwrap();
        assert_eq!(steady.restamp, Some(Restamp { start_ms: 2_000_000_000_000, per_second: 200.0 }));
        assert_eq!(options("--to-kafka --rate 200").unwrap().restamp, None);
        assert_eq!(steady.agents, Options::sized(1, MOST_CUSTOMERS).agents);
        assert_eq!(options("--to-kafka --now --rate 1").unwrap().customers, 15_428);
        assert_eq!(options("--to-kafka --now --rate 1 --customers 50").unwrap().customers, 50);
    }

    #[test]
    fn arguments_that_contradict_each_other_or_make_no_sense_are_refused() {
        for line in [
            "--events 5 --days 3",
            "--rate 5",
            "--to-kafka --rate 0",
            "--to-kafka --rate 5 --fast",
            "--to-kafka --now --start 2026-01-01T00:00:00Z",
            "--fraud-rate 2",
            "--duplicates nan",
            "--customers 0",
            "--start yesterday",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
