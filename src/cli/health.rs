//! `sentra health`: asks the process of the same configuration, on its health listener. For images without a shell, whose
//! orchestrator can run nothing but this program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{CliError, Globals, Out};
use crate::operate::ask;

/// Asks the process whose telemetry.listen this configuration names; prints its answer.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Ask whether it is alive, not whether it is ready.
    #[arg(long)]
    live: bool,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let Some(listen) = globals.load()?.telemetry.listen else {
            return Err(CliError::Failed(String::from("telemetry.listen is off: there is nobody to ask")));
        };
        let address = reachable(listen);
        let path = if self.live { "/livez" } else { "/readyz" };
        let told = ask(address, path);
        let (well, body) = told.map_err(|error| CliError::Failed(format!("telemetry.listen: {address}: {error}")))?;
        let mut out = Out::stdout();
        out.line(body)?;
        out.finish()?;
        if well { Ok(()) } else { Err(CliError::No) }
    }
}

/// Who listens on every address is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(loopback, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Server, Telemetry};

    #[test]
    fn a_process_says_whether_it_is_alive_and_ready() {
        let telemetry = Telemetry::new(1);
        let server = Server::start("0.0.0.0:0".parse().unwrap(), telemetry.clone()).unwrap();
        let address = reachable(server.address());
        assert!(address.ip().is_loopback());
        assert!(ask(address, "/livez").unwrap().0);
        let (ready, body) = ask(address, "/readyz").unwrap();
        assert!(!ready && body.contains("has not joined"), "{body}");
        telemetry.health.joined(0);
        assert!(ask(address, "/readyz").unwrap().0);
        drop(server);
        assert!(ask(address, "/readyz").is_err(), "nobody is there");
    }
}
