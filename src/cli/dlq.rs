//! `sentra dlq list|show|redrive`: what could not be read, and sending it again once its cause is mended.
//!
//! `list` never prints a record's key, value or own headers: they may hold phone numbers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Subcommand;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use super::{CliError, Globals, Out, run::watch_signals};
use crate::{
    config::Config,
    domain::{invalid::InvalidReason, time::EventTimeMs},
    kafka::{
        client::producer_config,
        dead_letters::{Letter, Mailbox, REDRIVEN, own_headers},
        layout::Surveyor,
        load::Load,
        tail::TailError,
    },
};

/// Arguments of `sentra dlq`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List dead letters: where, when, why; never what was in them.
    List {
        /// Which ones.
        #[command(flatten)]
        filters: Filters,
        /// Print JSON, one letter a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one dead letter with its headers.
    Show {
        /// The letter's partition.
        partition: i32,
        /// The letter's offset.
        offset: i64,
        /// Print the record's value too. It may hold a phone number.
        #[arg(long)]
        value: bool,
    },
    /// Send records again, as new records of topics.transactions. Without --yes nothing is sent. Kafka keeps no note of
    /// what was redriven: a second run sends the same again, unless --from-offset says where it begins.
    Redrive {
        /// Which ones.
        #[command(flatten)]
        filters: Filters,
        /// Send them.
        #[arg(long)]
        yes: bool,
        /// Records a second; as fast as the broker takes them without.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Also those whose value was cut to be written at all: what is left of it will be judged invalid again.
        #[arg(long)]
        cut: bool,
    },
}

#[derive(clap::Args, Clone, Debug)]
struct Filters {
    /// Only letters of this partition.
    #[arg(long)]
    partition: Option<i32>,
    /// Only letters with this reason, such as AMOUNT_MALFORMED.
    #[arg(long, value_parser = reason)]
    reason: Option<InvalidReason>,
    /// Only letters of this institution, as the record's header names it.
    #[arg(long)]
    institution: Option<String>,
    /// Only letters written at or after this time, RFC 3339.
    #[arg(long, value_parser = time)]
    since: Option<i64>,
    /// Only letters written before this time, RFC 3339.
    #[arg(long, value_parser = time)]
    until: Option<i64>,
    /// Only the letter of the record at this offset of the transactions (with --partition: both topics share partitions).
    #[arg(long)]
    source_offset: Option<i64>,
    /// Begin a partition at this offset of the letters; may be repeated.
    #[arg(long, value_name = "PARTITION:OFFSET", value_parser = place)]
    from_offset: Vec<(i32, i64)>,
    /// At most so many.
    #[arg(long)]
    limit: Option<u64>,
}

fn reason(text: &str) -> Result<InvalidReason, String> {
    InvalidReason::of_spelled(text).ok_or_else(|| {
        let codes: Vec<String> = InvalidReason::ALL.iter().map(|reason| reason.spelled()).collect();
        format!("want one of {}", codes.join(", "))
    })
}

fn time(text: &str) -> Result<i64, String> {
    EventTimeMs::parse(text)
        .map(|at| at.0)
        .ok_or_else(|| String::from("want RFC 3339, such as 2026-03-01T09:00:00+03:00"))
}

fn place(text: &str) -> Result<(i32, i64), String> {
    let read = || {
        let (partition, offset) = text.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    read().ok_or_else(|| String::from("want PARTITION:OFFSET, such as 3:1200"))
}

impl Filters {
    fn takes(&self, letter: &Letter) -> bool {
        let at = letter.timestamp_ms.unwrap_or(0);
        self.partition.is_none_or(|wanted| wanted == letter.partition)
            && self
                .reason
                .is_none_or(|wanted| letter.class.as_deref().and_then(InvalidReason::of_spelled) == Some(wanted))
            && self.institution.as_ref().is_none_or(|wanted| letter.institution.as_deref() == Some(wanted))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.source_offset.is_none_or(|wanted| letter.source_offset == Some(wanted))
    }

    fn begin(&self, partition: i32) -> i64 {
        if self.partition.is_some_and(|wanted| wanted != partition) {
            return i64::MAX;
        }
        let given = self.from_offset.iter().find(|(of, _)| *of == partition);
        given.map_or(0, |(_, offset)| *offset)
    }
}

/// The topic of dead letters, opened.
struct Desk {
    config: Config,
    mailbox: Mailbox,
    stop: Arc<AtomicBool>,
}

impl Desk {
    fn open(globals: &Globals) -> Result<Self, CliError> {
        let config = globals.load()?;
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(&stop)?;
        let topic = &config.topics.dlq;
        let partitions = Surveyor::new(&config).and_then(|surveyor| surveyor.partitions(topic));
        let mailbox = Mailbox::open(&config, partitions.map_err(CliError::failed)?).map_err(CliError::failed)?;
        Ok(Self { config, mailbox, stop })
    }

    /// Each letter that the filters take.
    fn each(
        &mut self,
        filters: &Filters,
        mut each: impl FnMut(Letter, &rdkafka::message::BorrowedMessage<'_>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (mut left, mut outcome) = (filters.limit.unwrap_or(u64::MAX), Ok(()));
        let stop = Arc::clone(&self.stop);
        let read = self.mailbox.read(
            |partition| filters.begin(partition),
            &self.stop,
            |letter, message| {
                if outcome.is_ok() && left > 0 && filters.takes(&letter) {
                    left -= 1;
                    outcome = each(letter, message);
                }
                if outcome.is_err() || left == 0 {
                    stop.store(true, Ordering::Relaxed);
                }
            },
        );
        outcome?;
        match read {
            // Enough were read, or a signal came.
            Err(TailError::Stopped) | Ok(()) => Ok(()),
            Err(error) => Err(CliError::failed(error)),
        }
    }
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let mut desk = Desk::open(globals)?;
        match self.what {
            What::List { filters, json } => list(&mut desk, &filters, json),
            What::Show { partition, offset, value } => show(&mut desk, partition, offset, value),
            What::Redrive { filters, yes, rate, cut } => redrive(&mut desk, &filters, yes, rate, cut),
        }
    }
}

fn list(desk: &mut Desk, filters: &Filters, json: bool) -> Result<(), CliError> {
    let mut out = Out::stdout();
    let mut count = 0_u64;
    desk.each(filters, |letter, _| {
        count += 1;
        if json {
            return out.line(serde_json::to_string(&letter).map_err(CliError::failed)?);
        }
        let Letter { partition, offset, bytes, cut, .. } = letter;
        let time = letter.timestamp_ms.map_or_else(|| String::from("-"), |at| EventTimeMs(at).to_rfc3339());
        let number = |of: Option<i64>| of.map_or_else(|| String::from("?"), |number| number.to_string());
        let source = format!("{}:{}", number(letter.source_partition.map(i64::from)), number(letter.source_offset));
        let or = |text: Option<String>| text.unwrap_or_else(|| String::from("?"));
        let (class, message) = (or(letter.class), or(letter.message));
        let mark = if cut { ", cut" } else { "" };
        out.line(format!("{partition}:{offset}  {time}  of {source}  {class}  {message} ({bytes} bytes{mark})"))
    })?;
    out.finish()?;
    eprintln!("{count} dead letters");
    Ok(())
}

fn show(desk: &mut Desk, partition: i32, offset: i64, value: bool) -> Result<(), CliError> {
    let mut lines = Vec::new();
    let found = desk.mailbox.one(partition, offset, &desk.stop, |_, message| {
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            lines.push(format!("{}: {}", header.key, String::from_utf8_lossy(header.value.unwrap_or_default())));
        }
        if value {
            lines.push(String::new());
            lines.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        }
    });
    if !found.map_err(CliError::failed)? {
        return Err(CliError::Failed(format!("there is no dead letter at {partition}:{offset}")));
    }
    let mut out = Out::stdout();
    lines.iter().try_for_each(|line| out.line(line))?;
    out.finish()
}

fn redrive(desk: &mut Desk, filters: &Filters, yes: bool, rate: Option<u32>, cut: bool) -> Result<(), CliError> {
    let (transactions, letters) = (desk.config.topics.transactions.clone(), desk.config.topics.dlq.clone());
    let mut load = match yes {
        true => Some(Load::connect(producer_config(&desk.config.kafka), &transactions).map_err(CliError::failed)?),
        false => None,
    };
    let pause = rate.map(|rate| Duration::from_secs(1) / rate);
    let (mut sent, mut left_out, mut next) = (0_u64, 0_u64, BTreeMap::new());
    let mut due = Instant::now();
    desk.each(filters, |letter, message| {
        let Letter { partition, offset, .. } = letter;
        if letter.cut && !cut {
            left_out += 1;
            return Ok(());
        }
        if let Some(load) = &mut load {
            if let Some(pause) = pause {
                let now = Instant::now();
                load.wait(due.saturating_duration_since(now)).map_err(CliError::failed)?;
                // What a slow read was late by is not made up for: the rate is a promise to who reads the topic.
                due = due.max(now) + pause;
            }
            let headers = redriven(own_headers(message), &letters, partition, offset);
            load.send_whole(message.key(), message.payload(), Some(headers), None).map_err(CliError::failed)?;
        }
        sent += 1;
        next.insert(partition, offset + 1);
        Ok(())
    })?;
    let delivered = load.map(Load::finish).transpose().map_err(CliError::failed)?;
    let mut out = Out::stdout();
    match delivered {
        Some(delivered) => out.line(format!("{delivered} records redriven to {transactions}"))?,
        None => out.line(format!("{sent} records would be redriven to {transactions}; --yes sends them"))?,
    }
    if left_out > 0 {
        out.line(format!("{left_out} cut letters left out; --cut takes them too"))?;
    }
    let places: Vec<String> =
        next.iter().map(|(partition, next)| format!("--from-offset {partition}:{next}")).collect();
    if delivered.is_some() && !places.is_empty() {
        out.line(format!("a later run goes on with {}", places.join(" ")))?;
    }
    out.finish()
}

/// The record's own headers, and where it comes from.
fn redriven(own: OwnedHeaders, topic: &str, partition: i32, offset: i64) -> OwnedHeaders {
    let from = format!("{topic}/{partition}/{offset}");
    own.insert(Header { key: REDRIVEN, value: Some(&from) })
}
