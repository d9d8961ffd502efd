//! As much of an HTTP client as an open loop needs: one kept connection, a request out, an answer in.
//!
//! Not for anything but this program's own interface: it knows answers with a content length and nothing else.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A kept connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Connection {
    /// To a port of this machine.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), request: Vec::new() })
    }

    /// Posts JSON; the status of the answer, once it is here whole.
    ///
    /// # Errors
    /// The connection broke, or the answer is none.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<u16> {
        self.request.clear();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
        self.exchange()
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// As for [`Connection::post`].
    pub fn get(&mut self, path: &str) -> io::Result<u16> {
        self.request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        self.exchange()
    }

    fn exchange(&mut self) -> io::Result<u16> {
        self.stream.get_mut().write_all(&self.request)?;
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            }
        }
        let length = length.filter(|length| *length <= MAX_ANSWER).ok_or_else(broken)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(status)
    }
}
