//! Parse, run, exit code: the commands are in `sentra::cli`.

use std::process::ExitCode;

use clap::Parser;
use sentra::cli::Cli;

/// One allocator for Rust, librdkafka and LightGBM.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Usage errors end here, with clap's own code 2.
    let cli = Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
