//! `sentra train`: a model folder from simulated or own transactions, with a short report on stderr.
//!
//! The path of the new model is the only line on stdout. How features, split and figures come about is in `train`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{CliError, Globals, Out};
use crate::{
    domain::rules::Rules,
    model::folder::{ModelError, NewModel, activate},
    train::{
        dataset::{self, Dataset, DatasetError},
        fit::{FitError, FitSettings, Fitted, fit},
        report::{self, Origin},
        simulate::{Limit, Options},
    },
};

/// Trains a model on labelled transactions (simulated ones by default) and writes its folder.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Folder with transactions.jsonl and labels.jsonl [default: simulated on the way].
    #[arg(long, conflicts_with_all = ["events", "customers"])]
    pub data: Option<PathBuf>,
    /// Folder to write, ending in NAME/VERSION [default: models/sentra-default/ and the next free number].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Trees.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub trees: u32,
    /// Leaves of a tree.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(2..=255))]
    pub leaves: u32,
    /// Seed of simulation and training.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records to simulate.
    #[arg(long, default_value_t = EVENTS)]
    pub events: u64,
    /// Customers to simulate.
    #[arg(long, default_value_t = CUSTOMERS, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub customers: u64,
    /// The share of fraud that precision and alerts are reported for.
    #[arg(long, default_value_t = 0.001, value_parser = base_rate)]
    pub base_rate: f64,
    /// Serves the new model from now on (writes models/active).
    #[arg(long)]
    pub activate: bool,
}

/// Why no model was written.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// `--out` is no model folder.
    #[error("--out {path}: name a folder that ends in NAME/VERSION, such as models/mine/1")]
    Out {
        /// As given.
        path: PathBuf,
    },
    /// The data.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The fit.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] ModelError),
}

/// Records simulated by default: a month of the customers below.
const EVENTS: u64 = 1_000_000;
/// Customers simulated by default.
const CUSTOMERS: u64 = 6_000;
/// The root that models are written to by default.
const ROOT: &str = "models";
/// The default name.
const NAME: &str = "sentra-default";

impl TrainArgs {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let rules = Arc::new(globals.load()?.rules);
        let folder = run(&self, &rules).map_err(CliError::failed)?;
        let mut out = Out::stdout();
        out.line(folder.display().to_string())?;
        out.finish()
    }
}

/// Runs the command; the folder that was written.
///
/// # Errors
/// The data cannot be read, is too little, or the folder cannot be written.
pub fn run(args: &TrainArgs, rules: &Arc<Rules>) -> Result<PathBuf, TrainError> {
    let target = Target::of(args)?;
    let started = Instant::now();
    let (data, origin) = gather(args, rules)?;
    let gathered = started.elapsed();
    let settings = FitSettings { trees: args.trees, leaves: args.leaves, seed: args.seed, base_rate: args.base_rate };
    let rows = data.rows.len();
    let spinner = spinner(format!("growing {} trees of {} leaves from {rows} rows", args.trees, args.leaves));
    let fitted = fit(&data, &settings);
    spinner.finish_and_clear();
    let fitted = fitted?;
    let folder = target.write(&origin, &data, &settings, &fitted, args.activate)?;
    eprint!("{}", report::summary(&fitted));
    eprintln!(
        "{rows} rows in {:.1} s, fitted in {:.1} s{}",
        gathered.as_secs_f64(),
        (started.elapsed() - gathered).as_secs_f64(),
        if args.activate { "; active from now on" } else { "" },
    );
    Ok(folder)
}

fn gather(args: &TrainArgs, rules: &Arc<Rules>) -> Result<(Dataset, Origin), TrainError> {
    if let Some(folder) = &args.data {
        let bar = bar("{bar:30} {bytes}/{total_bytes} read  {bytes_per_sec}  {eta}");
        let data = dataset::from_folder(folder, rules, |read, bytes| {
            bar.set_length(bytes);
            bar.set_position(read);
        });
        bar.finish_and_clear();
        return Ok((data?, Origin::Folder(folder.display().to_string())));
    }
    let options = Options { limit: Limit::Records(args.events), ..Options::sized(args.seed, args.customers) };
    let bar = bar("{bar:30} {human_pos}/{human_len} simulated  {per_sec}  {eta}");
    bar.set_length(args.events);
    let data = dataset::from_simulation(&options, rules, |records| bar.set_position(records));
    bar.finish_and_clear();
    Ok((data, Origin::Simulated { seed: args.seed, customers: args.customers }))
}

/// What is done of what is to be done.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// LightGBM tells nothing while it works, so time is all there is to show.
fn spinner(what: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Where the model goes.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    root: PathBuf,
    name: String,
    version: String,
}

impl Target {
    fn of(args: &TrainArgs) -> Result<Self, TrainError> {
        let Some(out) = &args.out else { return Ok(Self::next_free(Path::new(ROOT))) };
        let part = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let parent = out.parent();
        match (part(out), parent.and_then(part), parent.and_then(Path::parent)) {
            // Told before the work, not after it.
            (Some(_), Some(_), Some(_)) if out.exists() => Err(ModelError::Exists { folder: out.clone() }.into()),
            (Some(version), Some(name), Some(root)) => {
                let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
                Ok(Self { root: root.to_owned(), name, version })
            }
            _ => Err(TrainError::Out { path: out.clone() }),
        }
    }

    /// The least number that is no version of the default model yet.
    fn next_free(root: &Path) -> Self {
        let mut version = 1_u32;
        while root.join(NAME).join(version.to_string()).exists() {
            version += 1;
        }
        Self { root: root.to_owned(), name: NAME.to_owned(), version: version.to_string() }
    }

    fn write(
        &self,
        origin: &Origin,
        data: &Dataset,
        settings: &FitSettings,
        fitted: &Fitted,
        active: bool,
    ) -> Result<PathBuf, TrainError> {
        let new = NewModel {
            name: self.name.clone(),
            version: self.version.clone(),
            text: fitted.text.clone(),
            training_data_sha256: data.sha256.clone(),
            calibration: fitted.calibration,
            score_map: fitted.score_map.clone(),
            scaling: fitted.scaling.clone(),
            metrics: fitted.metrics.clone(),
            card: report::card(&self.name, &self.version, origin, data, settings, fitted),
        };
        let folder = new.save(&self.root)?;
        if active {
            activate(&self.root, &self.name, &self.version)?;
        }
        Ok(folder)
    }
}

fn base_rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err("must be between 0 and 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: TrainArgs,
    }

    fn args(line: &str) -> Result<TrainArgs, clap::Error> {
        Ok(Command::try_parse_from(std::iter::once("train").chain(line.split_whitespace()))?.args)
    }

    #[test]
    fn out_names_root_name_and_version() {
        let target = Target::of(&args("--out /srv/models/mine/7").unwrap()).unwrap();
        assert_eq!((target.root.as_path(), &*target.name, &*target.version), (Path::new("/srv/models"), "mine", "7"));
        assert_eq!(Target::of(&args("--out mine/7").unwrap()).unwrap().root, Path::new("."));
        let there = tempfile::tempdir().unwrap();
        let taken = Target::of(&args(&format!("--out {}", there.path().display())).unwrap()).unwrap_err();
        assert!(matches!(taken, TrainError::Folder(ModelError::Exists { .. })), "{taken}");
        for out in ["mine", "/", "..", "a/.."] {
            let error = Target::of(&args(&format!("--out {out}")).unwrap()).unwrap_err();
            assert!(error.to_string().contains("NAME/VERSION"), "{error}");
        }
    }

    #[test]
    fn the_default_version_is_the_next_free_number() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Target::next_free(root.path()).version, "1");
        std::fs::create_dir_all(root.path().join(NAME).join("1")).unwrap();
        assert_eq!(Target::next_free(root.path()).version, "2");
    }

    #[test]
    fn a_small_training_writes_a_folder_that_becomes_active() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("mine").join("1");
        let line =
            format!("--events 60000 --customers 500 --trees 5 --leaves 8 --seed 3 --activate --out {}", out.display());
        let folder = run(&args(&line).unwrap(), &Arc::new(Rules::default())).unwrap();
        assert_eq!(folder, out);
        let model = crate::model::folder::Model::load(root.path()).unwrap();
        assert_eq!((&*model.name, &*model.version), ("mine", "1"));
    }

    #[test]
    fn arguments_that_contradict_each_other_or_make_no_sense_are_refused() {
        for line in
            ["--data d --events 5", "--trees 0", "--leaves 256", "--base-rate 1", "--base-rate 0", "--customers 0"]
        {
            assert!(args(line).is_err(), "{line}");
        }
    }
}
