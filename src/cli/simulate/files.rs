//! Simulated traffic into `transactions.jsonl` and `labels.jsonl`, or to stdout.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use indicatif::ProgressBar;

use super::SimulateError;
use crate::train::{
    dataset::{LABELS, TRANSACTIONS},
    simulate::{Options, Repeat, Simulated, Simulation},
};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;
/// Records between two steps of the bar.
const STEP: u64 = 10_000;

/// A file being written, which can say its name when it fails.
pub(super) struct Lines<W: Write> {
    path: PathBuf,
    out: BufWriter<W>,
}

impl Lines<File> {
    /// Creates `name` in `folder`, and the folder.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, SimulateError> {
        let path = folder.join(name);
        let made = fs::create_dir_all(folder).and_then(|()| File::create(&path));
        match made {
            Ok(file) => Ok(Self { path, out: BufWriter::with_capacity(BUFFER_BYTES, file) }),
            Err(source) => Err(SimulateError::File { path, source }),
        }
    }
}

impl<W: Write> Lines<W> {
    fn stdout(out: W) -> Self {
        Self { path: PathBuf::from("stdout"), out: BufWriter::with_capacity(BUFFER_BYTES, out) }
    }

    /// Writes bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), SimulateError> {
        self.out.write_all(bytes).map_err(|source| self.failed(source))
    }

    /// Writes what is still gathered.
    pub(super) fn finish(mut self) -> Result<(), SimulateError> {
        self.out.flush().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> SimulateError {
        SimulateError::File { path: self.path.clone(), source }
    }
}

/// Writes the simulation; what to say about it.
pub(super) fn run(options: &Options, out: &Path, progress: &ProgressBar) -> Result<String, SimulateError> {
    let started = Instant::now();
    let (counts, place) = if out == Path::new("-") {
        (write(options, Lines::stdout(io::stdout().lock()), None, progress)?, "stdout".to_owned())
    } else {
        let transactions = Lines::create(out, TRANSACTIONS)?;
        let labels = Lines::create(out, LABELS)?;
        (write(options, transactions, Some(labels), progress)?, out.join(TRANSACTIONS).display().to_string())
    };
    Ok(format!("{} in {:.1} s to {place}", counts.describe(), started.elapsed().as_secs_f64()))
}

fn write<W: Write>(
    options: &Options,
    mut transactions: Lines<W>,
    mut labels: Option<Lines<File>>,
    progress: &ProgressBar,
) -> Result<Counts, SimulateError> {
    let mut simulation = Simulation::new(options);
    let mut record = Simulated::empty();
    let mut line = Vec::with_capacity(256);
    let mut counts = Counts::default();
    while simulation.read(&mut record) {
        record.json.push(b'\n');
        transactions.write(&record.json)?;
        if let Some(labels) = labels.as_mut().filter(|_| record.earliest) {
            line.clear();
            record.write_label(&mut line);
            labels.write(&line)?;
        }
        counts.add(&record);
        if counts.records.is_multiple_of(STEP) {
            progress.set_position(counts.records);
        }
    }
    transactions.finish()?;
    labels.map_or(Ok(()), Lines::finish)?;
    Ok(counts)
}

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    repeats: u64,
    frauds: u64,
    first_ms: Option<i64>,
    last_ms: i64,
}

impl Counts {
    pub(super) fn add(&mut self, record: &Simulated) {
        self.records += 1;
        self.repeats += u64::from(record.repeat != Repeat::First);
        self.frauds += u64::from(record.label.is_fraud());
        self.first_ms.get_or_insert(record.at_ms);
        self.last_ms = self.last_ms.max(record.at_ms);
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        let days = (self.last_ms - self.first_ms.unwrap_or(self.last_ms)) as f64 / 86_400_000.0;
        format!("{} records over {days:.1} days ({} of fraud, {} repeated)", self.records, self.frauds, self.repeats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::simulate::{Disorder, Limit};

    #[test]
    fn every_transaction_of_the_file_has_exactly_one_label() {
        let calm = Disorder { late_share: 0.05, late_spread_ms: 600_000, duplicates: 0.1, conflicts: 0.02 };
        // Repetitions overtake their firsts, which the limit cuts off.
        let wild = Disorder { late_share: 0.3, late_spread_ms: 36_000_000, duplicates: 0.3, conflicts: 0.3 };
        for (limit, disorder) in [(Limit::Days(2), calm), (Limit::Days(1), wild), (Limit::Records(3_000), wild)] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { limit, disorder, ..Options::sized(3, 300) };
            let said = run(&options, folder.path(), &ProgressBar::hidden()).unwrap();
            assert!(said.contains("repeated"), "{said}");
            let ids = |name: &str| -> Vec<String> {
                let text = fs::read_to_string(folder.path().join(name)).unwrap();
                let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                lines.map(|line| format!("{} {}", line["institution_id"], line["transaction_id"])).collect()
            };
            let mut transactions = ids(TRANSACTIONS);
            let records = transactions.len();
            transactions.sort_unstable();
            transactions.dedup();
            let mut labels = ids(LABELS);
            labels.sort_unstable();
            assert!(records > transactions.len());
            assert_eq!(transactions, labels, "{limit:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = run(&Options::default(), file.path(), &ProgressBar::hidden()).unwrap_err();
        assert!(error.to_string().contains(TRANSACTIONS) && error.to_string().contains("--out"), "{error}");
    }
}
