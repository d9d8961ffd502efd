//! `sentra model show`: the card, and what each score anchor means in work for analysts.

use std::{fmt::Write, path::PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Globals, Out};
use crate::model::{
    folder::Model,
    metrics::{AtAnchor, Metrics},
};

/// Arguments of `sentra model`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a model's card and, per score anchor, false positives, precision and alerts per million.
    Show {
        /// A model's version folder, or a folder of models [default: model.path].
        path: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let Action::Show { path, json } = self.action;
        let path = match path {
            Some(path) => path,
            None => globals.load()?.model.path,
        };
        let model = Model::load(&path).map_err(CliError::failed)?;
        let mut out = Out::stdout();
        if json {
            out.json(
                &json!({"name": model.name, "version": model.version, "metrics": model.metrics, "card": model.card}),
            )?;
        } else {
            out.line(model.card.trim_end())?;
            out.line("")?;
            out.line(format!("Model {} version {}", model.name, model.version))?;
            out.text(anchors(&model.metrics))?;
        }
        out.finish()
    }
}

/// The table of anchors, for a terminal.
fn anchors(metrics: &Metrics) -> String {
    let Metrics { validation_rows, validation_frauds, auc, log_loss, base_rate, .. } = metrics;
    let mut text = format!(
        "Measured on {validation_rows} events, {validation_frauds} of them fraud: AUC {auc:.4}, log loss {log_loss:.5}.\n\
         Precision and alerts hold where {} of events are fraud.\n\n\
         score >=  false positives  frauds caught  precision  alerts per million\n",
        percent(*base_rate)
    );
    for AtAnchor { score, false_positive_rate, recall, precision, alerts_per_million } in &metrics.anchors {
        let (wrong, caught, right) = (percent(*false_positive_rate), percent(*recall), percent(*precision));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{score:>8}  {wrong:>15}  {caught:>13}  {right:>9}  {alerts_per_million:>18.0}");
    }
    text
}

/// A share as per cent, with the digits that small ones need.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.1 { format!("{percent:.3} %") } else { format!("{percent:.2} %") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metrics::Judged;

    #[test]
    fn each_anchor_is_a_line_in_words_an_operator_plans_with() {
        let judged = |fraud, score, count| std::iter::repeat_n(Judged { probability: 0.5, score, fraud }, count);
        let events: Vec<Judged> = judged(false, 0, 9_995)
            .chain(judged(false, 95, 5))
            .chain(judged(true, 95, 61))
            .chain(judged(true, 0, 39))
            .collect();
        let metrics = Metrics::measure(&events, (1, 1), 0.004);
        let text = anchors(&metrics);
        assert!(text.starts_with("Measured on 10100 events, 100 of them fraud: AUC "), "{text}");
        assert!(text.contains("where 0.40 % of events are fraud"), "{text}");
        let line = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, "90 0.050 % 61.00 % 83.05 % 2938");
    }
}
