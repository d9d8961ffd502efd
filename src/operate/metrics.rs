//! What a process of the line says of its partitions over its health listener: `/metrics` and `/readyz`.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use serde::Deserialize;

/// An answer takes microseconds; a process that needs longer is not well.
const WITHIN: Duration = Duration::from_secs(5);

/// More than any answer has.
const MOST_BYTES: u64 = 16 << 20;

/// A process's answers.
#[derive(Clone, Debug)]
pub struct Process {
    metrics: String,
    /// What speaks against its being ready.
    reasons: Vec<String>,
}

/// What `/readyz` answers.
#[derive(Deserialize)]
struct Ready {
    reasons: Vec<String>,
}

impl Process {
    /// Asks the process that listens at `url`: `http://HOST:PORT`, with or without `/metrics` behind it.
    ///
    /// # Errors
    /// The URL is none of that shape, or nobody answers there.
    pub fn ask(url: &str) -> io::Result<Self> {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let host = rest.split_once('/').map_or(rest, |(host, _)| host);
        let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let metrics = ask(address, "/metrics")?.1;
        let Ready { reasons } = serde_json::from_str(&ask(address, "/readyz")?.1)?;
        Ok(Self { metrics, reasons })
    }

    /// Why it does not serve the partition, where it says so.
    pub fn refusal(&self, partition: i32) -> Option<String> {
        let begin = format!("partition {partition} is refused: ");
        self.reasons.iter().find_map(|reason| Some(reason.strip_prefix(&begin)?.to_owned()))
    }

    /// How many of its verdicts await their acknowledgement, where it has the partition.
    pub fn undelivered(&self, partition: i32) -> Option<i64> {
        let name = format!("sentra_undelivered{{partition=\"{partition}\"}} ");
        self.metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    }
}

/// The status is 200 or not, and the body.
///
/// # Errors
/// Nobody answers in time, or not in HTTP.
pub fn ask(address: SocketAddr, path: &str) -> io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((head.split(' ').nth(1) == Some("200"), body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        Fact, Server, Telemetry,
        facts::{PartitionRefused, RecoveryStarted},
    };

    #[test]
    fn a_process_tells_what_it_refuses_and_what_it_waits_for() {
        let telemetry = Telemetry::new(1);
        let server = Server::start("127.0.0.1:0".parse().unwrap(), telemetry.clone()).unwrap();
        for partition in [1, 11] {
            RecoveryStarted { partition, shard: 0 }.emit(&telemetry);
        }
        telemetry.metrics.undelivered(11, 7);
        PartitionRefused { partition: 11, why: "it is broken: so" }.emit(&telemetry);
        let process = Process::ask(&format!("http://{}/metrics", server.address())).unwrap();
        assert_eq!(process.refusal(11).as_deref(), Some("it is broken: so"));
        assert_eq!((process.refusal(1), process.undelivered(11), process.undelivered(1)), (None, Some(7), None));
        drop(server);
        assert!(Process::ask("http://no port").is_err());
    }
}
