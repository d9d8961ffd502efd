//! The commands: one enum variant and one file each, which holds its arguments and its `run`.
//!
//! Data goes to stdout, talk and progress to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong
//! configuration. A command wires parts together; what the parts do is not decided here.

mod bench;
mod completions;
mod config;
mod demo;
mod dlq;
mod doctor;
mod error;
mod feed;
mod health;
mod leave;
mod migrate;
mod model;
mod out;
mod partition;
mod replay;
mod run;
pub mod simulate;
pub mod snapshot;
mod topics;
mod train;
mod verdicts;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use error::CliError;
pub use out::Out;

use crate::config::{Config, ConfigErrors, Inputs};

/// Decides in milliseconds whether a mobile-money transaction looks like fraud.
#[derive(Debug, Parser)]
#[command(name = "sentra", version, max_term_width = 120, propagate_version = false)]
pub struct Cli {
    /// What all commands take.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands take.
#[derive(Args, Clone, Debug)]
pub struct Globals {
    /// Configuration file; else SENTRA_CONFIG, else ./sentra.toml if present.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Sets one setting, above every other source; may be repeated. `sentra config --help` lists them.
    #[arg(long, global = true, value_name = "SECTION.NAME=VALUE", help_heading = "Configuration")]
    pub set: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure the line beside its yardsticks.
    Bench(bench::Args),
    /// The yardstick of `bench`, which starts it.
    #[command(hide = true)]
    BenchPass(bench::PassArgs),
    /// The memory of many phones, for `bench`, which starts it.
    #[command(hide = true)]
    BenchMemory(bench::MemoryArgs),
    /// The restoring of many phones, for `bench`, which starts it.
    #[command(hide = true)]
    BenchRestore(bench::RestoreArgs),
    /// Check, show or describe the configuration.
    Config(config::Args),
    /// Bring the database to this program's schema.
    Migrate(migrate::Args),
    /// All of it on this machine, with nothing configured: simulated traffic, verdicts, database, page.
    Demo(demo::Args),
    /// List, show or redrive dead letters.
    Dlq(dlq::Args),
    /// Run roles of the line until a signal.
    Run(run::Args),
    /// Plan, create or check the topics.
    Topics(topics::Args),
    /// Say how partitions are, or get one over a record that no owner gets over.
    Partition(partition::Args),
    /// Make one verdict again from the log and compare it with the one that counts.
    Replay(replay::Args),
    /// Follow the verdicts that count.
    Verdicts(verdicts::Args),
    /// Check broker, topics, model and machine, and say what to do.
    Doctor(doctor::Args),
    /// Ask a running process whether it is ready: exit code 0 or 1.
    Health(health::Args),
    /// Let a process that will not come back leave the group, so that others take its partitions at once.
    Leave(leave::Args),
    /// Show what the served model is worth.
    Model(model::Args),
    /// Follow the live feed in a terminal.
    Feed(feed::Args),
    /// Make labelled traffic: into files, to stdout, or to Kafka.
    Simulate(simulate::SimulateArgs),
    /// List, inspect or verify snapshots of the windows.
    Snapshot(snapshot::Args),
    /// Train a model on labelled transactions and write its folder.
    Train(train::TrainArgs),
    /// Print completions for a shell.
    Completions(completions::Args),
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// Whatever ended it; [`CliError::report`] prints it and knows the exit code.
    pub fn run(self) -> Result<(), CliError> {
        let Self { globals, command } = self;
        match command {
            Command::Bench(args) => args.run(&globals),
            Command::BenchPass(args) => args.run(&globals),
            Command::BenchMemory(args) => args.run(),
            Command::BenchRestore(args) => args.run(),
            Command::Config(args) => args.run(&globals),
            Command::Model(args) => args.run(&globals),
            Command::Leave(args) => args.run(&globals),
            Command::Migrate(args) => args.run(&globals),
            Command::Demo(args) => args.run(&globals),
            Command::Dlq(args) => args.run(&globals),
            Command::Run(args) => args.run(&globals),
            Command::Topics(args) => args.run(&globals),
            Command::Verdicts(args) => args.run(&globals),
            Command::Doctor(args) => args.run(&globals),
            Command::Health(args) => args.run(&globals),
            Command::Feed(args) => args.run(&globals),
            Command::Simulate(args) => args.run(&globals),
            Command::Snapshot(args) => args.run(&globals),
            Command::Partition(args) => args.run(&globals),
            Command::Replay(args) => args.run(&globals),
            Command::Train(args) => args.run(&globals),
            Command::Completions(args) => args.run(),
        }
    }
}

impl Globals {
    /// What configuration is read from.
    pub fn inputs(&self) -> Inputs {
        Inputs::from_process(self.config.clone(), self.set.clone())
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(&self.inputs())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_and_flag_explains_itself() {
        let mut root = Cli::command();
        root.build();
        let mut open = vec![root.clone()];
        root.debug_assert();
        while let Some(command) = open.pop() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in
                command.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
            {
                assert!(argument.get_help().is_some(), "{} {} has no help", command.get_name(), argument.get_id());
            }
            open.extend(command.get_subcommands().cloned());
        }
    }
}
