//! From transactions and labels to rows: the features are computed by the engine's own step, in log order.
//!
//! The invariant: a row is bit for bit what serving computes for the same log. Only transactions that the engine
//! scores become rows; duplicates, conflicts and unreadable records are counted and left out. One partition holds
//! everyone here: state is kept by phone, so rows differ from many partitions' only for records later than the
//! permitted lateness.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::simulate::{Label, Options, Simulated, Simulation};
use crate::{
    domain::{features::Row, identity::LogId, rules::Rules, transaction::Record},
    engine::partition::{Judged, Judgement, Partition, Place, Step},
};

/// The file of transactions, one JSON object a line.
pub const TRANSACTIONS: &str = "transactions.jsonl";
/// The file of labels, one line a transaction (repeats have the label of the first).
pub const LABELS: &str = "labels.jsonl";

/// Records between two calls of a progress function.
const STEP: u64 = 5_000;

/// What is known of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Whether it is fraud.
    pub fraud: bool,
    /// The scheme or look-alike, an index of [`Dataset::plays`].
    pub play: Option<usize>,
}

/// Rows with their truth, in log order.
pub struct Dataset {
    /// The features.
    pub rows: Vec<Row>,
    /// The event time of each, milliseconds.
    pub at_ms: Vec<i64>,
    /// What each is.
    pub truth: Vec<Truth>,
    /// Names of schemes and look-alikes.
    pub plays: Vec<String>,
    /// Records that became no row.
    pub left_out: LeftOut,
    /// SHA-256 over the SHA-256 of the transactions' and of the labels' bytes.
    pub sha256: String,
}

/// Records that became no row, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// No transaction.
    pub invalid: u64,
    /// Duplicates and conflicts.
    pub repeated: u64,
    /// Without a label.
    pub unlabelled: u64,
}

/// Why there is no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file could not be read.
    #[error("{path}: {source}; --data wants a folder as `sentra simulate --out` writes it")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A label that is no label.
    #[error(
        "{path}, line {line}: {reason}; a label is {{\"institution_id\":…,\"transaction_id\":…,\"fraud\":true|false}}"
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Simulates and computes features on the way; `progress` hears the number of records now and then.
pub fn from_simulation(options: &Options, rules: &Arc<Rules>, mut progress: impl FnMut(u64)) -> Dataset {
    let mut builder = Builder::new(rules);
    let mut record = Simulated::empty();
    let mut simulation = Simulation::new(options);
    let mut line = Vec::with_capacity(256);
    while simulation.read(&mut record) {
        let truth = match record.label {
            Label::Ordinary => Truth { fraud: false, play: None },
            Label::LookAlike(name) => Truth { fraud: false, play: Some(builder.play(name)) },
            Label::Fraud(name) => Truth { fraud: true, play: Some(builder.play(name)) },
        };
        builder.add(&record.json, |_| Some(truth));
        if record.earliest {
            line.clear();
            record.write_label(&mut line);
            builder.labels_hash.update(&line);
        }
        if builder.offset.is_multiple_of(STEP) {
            progress(builder.offset);
        }
    }
    builder.finish()
}

/// Reads a folder of transactions and labels; `progress` hears the bytes read and those of both files, now and then.
///
/// # Errors
/// A file is missing or cannot be read, or a label is none.
pub fn from_folder(
    folder: &Path,
    rules: &Arc<Rules>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Dataset, DatasetError> {
    let mut builder = Builder::new(rules);
    let (mut labelled, mut records) = (Lines::open(folder.join(LABELS))?, Lines::open(folder.join(TRANSACTIONS))?);
    let bytes = labelled.bytes + records.bytes;
    let labels = read_labels(&mut labelled, &mut builder, |read| progress(read, bytes))?;
    let mut line = Vec::with_capacity(1_024);
    while records.next(&mut line)? {
        let json = line.strip_suffix(b"\n").unwrap_or(&line);
        builder.add(json, |judged| {
            let transaction = judged.transaction();
            let institution = transaction.institution_id.as_deref().unwrap_or_default();
            labels.get(&key(institution, &transaction.transaction_id)).copied()
        });
        if builder.offset.is_multiple_of(STEP) {
            progress(labelled.read + records.read, bytes);
        }
    }
    Ok(builder.finish())
}

/// A file, line by line.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    /// Its size when it was opened.
    bytes: u64,
    read: u64,
}

impl Lines {
    fn open(path: PathBuf) -> Result<Self, DatasetError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((bytes, file)) => Ok(Self { path, reader: BufReader::with_capacity(1 << 20, file), bytes, read: 0 }),
            Err(source) => Err(DatasetError::File { path, source }),
        }
    }

    /// The next line in place of the last one; false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, DatasetError> {
        line.clear();
        let read = self.reader.read_until(b'\n', line);
        let bytes = read.map_err(|source| DatasetError::File { path: self.path.clone(), source })?;
        self.read += bytes as u64;
        Ok(bytes > 0)
    }
}

/// Truth by institution and transaction id.
type Labels = HashMap<String, Truth>;

/// A line of the label file; what else it holds is ignored.
#[derive(Deserialize)]
struct LabelLine<'a> {
    #[serde(default, borrow)]
    institution_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    transaction_id: std::borrow::Cow<'a, str>,
    fraud: bool,
    #[serde(default, borrow)]
    scheme: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    look_alike: Option<std::borrow::Cow<'a, str>>,
}

fn read_labels(file: &mut Lines, builder: &mut Builder, mut progress: impl FnMut(u64)) -> Result<Labels, DatasetError> {
    let mut labels = Labels::new();
    let mut line = Vec::with_capacity(256);
    let mut number = 0;
    while file.next(&mut line)? {
        number += 1;
        builder.labels_hash.update(&line);
        let label: LabelLine<'_> = serde_json::from_slice(&line).map_err(|error| DatasetError::Label {
            path: file.path.clone(),
            line: number,
            reason: error.to_string(),
        })?;
        let play = label.scheme.or(label.look_alike).map(|name| builder.play(&name));
        labels.insert(key(&label.institution_id, &label.transaction_id), Truth { fraud: label.fraud, play });
        if number.is_multiple_of(STEP as usize) {
            progress(file.read);
        }
    }
    Ok(labels)
}

/// Neither part may hold a space, so the two cannot be confused.
fn key(institution: &str, transaction_id: &str) -> String {
    format!("{institution} {transaction_id}")
}

/// Feeds records to the engine and gathers rows.
struct Builder {
    partition: Partition,
    data: Dataset,
    offset: u64,
    transactions_hash: Sha256,
    labels_hash: Sha256,
}

impl Builder {
    fn new(rules: &Arc<Rules>) -> Self {
        // The log's id keys the identities; features do not depend on it.
        let place = Place { log: LogId([0; 16]), partition: 0, partitions: 1 };
        let data = Dataset {
            rows: Vec::new(),
            at_ms: Vec::new(),
            truth: Vec::new(),
            plays: Vec::new(),
            left_out: LeftOut::default(),
            sha256: String::new(),
        };
        Self {
            partition: Partition::new(Arc::clone(rules), place, 0),
            data,
            offset: 0,
            transactions_hash: Sha256::new(),
            labels_hash: Sha256::new(),
        }
    }

    /// The index of a scheme's or look-alike's name.
    fn play(&mut self, name: &str) -> usize {
        let known = self.data.plays.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.data.plays.push(name.to_owned());
            self.data.plays.len() - 1
        })
    }

    fn add(&mut self, json: &[u8], truth_of: impl FnOnce(&Judged<'_>) -> Option<Truth>) {
        self.transactions_hash.update(json);
        self.transactions_hash.update(b"\n");
        let record =
            Record { offset: self.offset as i64, timestamp_ms: None, key: None, value: Some(json), institution: None };
        self.offset += 1;
        match self.partition.step(&record) {
            Step::Invalid(_) => self.data.left_out.invalid += 1,
            Step::Judged(judged) => match judged.judgement {
                Judgement::Conflict { .. } | Judgement::Duplicate { .. } => self.data.left_out.repeated += 1,
                Judgement::Scored | Judgement::Late => match truth_of(&judged) {
                    None => self.data.left_out.unlabelled += 1,
                    Some(truth) => {
                        self.data.rows.push(*judged.row());
                        self.data.at_ms.push(judged.event_time.0);
                        self.data.truth.push(truth);
                    }
                },
            },
        }
    }

    fn finish(self) -> Dataset {
        let both = [self.transactions_hash.finalize(), self.labels_hash.finalize()].concat();
        Dataset { sha256: crate::model::folder::sha256_hex(&both), ..self.data }
    }
}
