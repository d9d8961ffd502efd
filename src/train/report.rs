//! What training says: the model card for people, and a short report for the terminal. Text only; nothing is measured here.

use std::fmt::Write;

use super::{
    dataset::{Dataset, LeftOut},
    fit::{FitSettings, Fitted, Part},
};
use crate::{
    domain::{
        features::{FEATURE_SET, FEATURES},
        time::EventTimeMs,
    },
    model::metrics::{Metrics, PlayMetrics},
};

/// Features named in the card.
const GAINS_SHOWN: usize = 10;

/// Where the data came from, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Simulated on the way, with this seed and as many customers.
    Simulated {
        /// The simulation's seed.
        seed: u64,
        /// Its customers.
        customers: u64,
    },
    /// A folder of transactions and labels.
    Folder(String),
}

/// The card, Markdown.
pub fn card(
    name: &str,
    version: &str,
    origin: &Origin,
    data: &Dataset,
    settings: &FitSettings,
    fitted: &Fitted,
) -> String {
    let mut card = format!("# {name} {version}\n\n");
    // Writing to a String cannot fail.
    let _ = write_card(&mut card, origin, data, settings, fitted);
    card
}

fn write_card(
    card: &mut String,
    origin: &Origin,
    data: &Dataset,
    settings: &FitSettings,
    fitted: &Fitted,
) -> std::fmt::Result {
    let metrics = &fitted.metrics;
    writeln!(
        card,
        "Scores one mobile-money transaction at a time for fraud. {} trees of at most {} leaves (LightGBM) on the {FEATURES} \
         features of set {FEATURE_SET}; the score runs from 0 to 100, and its levels mean a workload (below).\n",
        settings.trees, settings.leaves,
    )?;
    writeln!(card, "## Data\n")?;
    match origin {
        Origin::Simulated { seed, customers } => writeln!(
            card,
            "Simulated by `sentra simulate` (seed {seed}, {customers} customers): no real person's payments, and no \
             likeness of any institution's customers.",
        )?,
        Origin::Folder(folder) => writeln!(card, "Transactions and labels of `{folder}`.")?,
    }
    writeln!(card, "Features were computed by the engine's own step, in log order. {}\n", left_out(data.left_out))?;
    writeln!(card, "Split by time, so that nothing learned lies after what is measured:\n")?;
    writeln!(card, "| part | used for | events | frauds | from | to |\n|---|---|---|---|---|---|")?;
    for (name, purpose, part) in [
        ("training", "growing trees", fitted.split.training),
        ("calibration", "probabilities and score map", fitted.split.calibration),
        ("test", "the figures below", fitted.split.test),
    ] {
        writeln!(card, "| {name} | {purpose} | {}", part_cells(part))?;
    }
    writeln!(card, "\n## Figures on the test part\n")?;
    writeln!(
        card,
        "Area under the ROC curve {:.4}, average precision {:.3}, log loss {:.5}.\n",
        metrics.auc, metrics.average_precision, metrics.log_loss
    )?;
    write_anchors(card, metrics)?;
    write_plays(card, metrics)?;
    writeln!(card, "\n## What it looks at\n\nShare of the training gain:\n")?;
    for (name, share) in fitted.gains.iter().take(GAINS_SHOWN) {
        writeln!(card, "- `{name}` {:.1} %", share * 100.0)?;
    }
    write_limits(card, origin)
}

fn write_anchors(card: &mut String, metrics: &Metrics) -> std::fmt::Result {
    writeln!(
        card,
        "Precision and alerts are for one fraud in {:.0} events, whatever the share in the data was.\n",
        1.0 / metrics.base_rate
    )?;
    writeln!(card, "| score at least | false positives | frauds caught | precision | alerts per million |")?;
    writeln!(card, "|---|---|---|---|---|")?;
    for at in &metrics.anchors {
        writeln!(
            card,
            "| {} | {:.3} % | {:.1} % | {:.1} % | {:.0} |",
            at.score,
            at.false_positive_rate * 100.0,
            at.recall * 100.0,
            at.precision * 100.0,
            at.alerts_per_million
        )?;
    }
    Ok(())
}

fn write_plays(card: &mut String, metrics: &Metrics) -> std::fmt::Result {
    let shares = |play: &PlayMetrics| -> String {
        play.reached.iter().map(|at| format!(" {:.1} % |", at.share * 100.0)).collect()
    };
    let Some(first) = metrics.plays.first() else { return Ok(()) };
    let scores: String = first.reached.iter().map(|at| format!(" score >= {} |", at.score)).collect();
    writeln!(
        card,
        "\nShare of each scheme's events that reach a score, and of the harmless ones that look like it:\n"
    )?;
    writeln!(card, "| | kind | events |{scores}")?;
    writeln!(card, "|---|---|---|{}", "---|".repeat(first.reached.len()))?;
    for play in &metrics.plays {
        let kind = if play.fraud { "fraud" } else { "harmless" };
        writeln!(card, "| {} | {kind} | {} |{}", play.name, play.events, shares(play))?;
    }
    Ok(())
}

fn write_limits(card: &mut String, origin: &Origin) -> std::fmt::Result {
    writeln!(card, "\n## Limits\n")?;
    if matches!(origin, Origin::Simulated { .. }) {
        writeln!(
            card,
            "- The figures say how the line works on simulated traffic. On real traffic they will be lower; fit to your \
             own labelled transactions (`sentra train --data`) before blocking anything.\n\
             - It has seen three schemes: account takeover by SIM swap, testing then draining, structuring. Others may pass \
             unnoticed."
        )?;
    }
    writeln!(
        card,
        "- A phone's first events have no habits to compare with; the model is least sure there.\n\
         - The score is of the payment, not of a person: it is no ground for decisions about people without a human look.\n\
         - False-positive rates hold for traffic like that of the calibration part; watch drift and calibrate anew."
    )
}

fn part_cells(part: Part) -> String {
    let day = |at_ms: i64| EventTimeMs(at_ms).to_rfc3339()[..10].to_owned();
    format!("{} | {} | {} | {} |", part.rows, part.frauds, day(part.from_ms), day(part.to_ms))
}

fn left_out(left_out: LeftOut) -> String {
    match left_out {
        LeftOut { invalid: 0, repeated: 0, unlabelled: 0 } => "No record was left out.".to_owned(),
        LeftOut { invalid, repeated, unlabelled } => {
            format!("Left out: {invalid} unreadable, {repeated} repeated, {unlabelled} without a label.")
        }
    }
}

/// A few lines for the terminal.
pub fn summary(fitted: &Fitted) -> String {
    let metrics = &fitted.metrics;
    let mut text = format!(
        "trained on {} events ({} frauds), tested on the latest {} ({} frauds): AUC {:.4}, average precision {:.3}\n\n",
        fitted.split.training.rows,
        fitted.split.training.frauds,
        fitted.split.test.rows,
        fitted.split.test.frauds,
        metrics.auc,
        metrics.average_precision,
    );
    text.push_str(&anchors_table(metrics));
    text
}

/// What each anchor of the score means in work: false positives, frauds caught, precision, alerts.
pub fn anchors_table(metrics: &Metrics) -> String {
    let mut text = String::from("  score   false positives   caught   precision   alerts per million\n");
    for at in &metrics.anchors {
        let line = format!(
            "  >= {:<3}  {:>12.3} %  {:>7.1} %  {:>7.1} %  {:>12.0}\n",
            at.score,
            at.false_positive_rate * 100.0,
            at.recall * 100.0,
            at.precision * 100.0,
            at.alerts_per_million
        );
        text.push_str(&line);
    }
    text.push_str(&format!("  (precision and alerts for one fraud in {:.0} events)\n", 1.0 / metrics.base_rate));
    text
}
