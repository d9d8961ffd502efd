//! What `sentra doctor` looks at: librdkafka, broker, topics, clock, PostgreSQL, model, listener, limits of the process.
//!
//! Invariant: nothing is written, to Kafka or to disk, and one part's failure keeps no other from being looked at.
//! It mends nothing.

mod kafka;
mod postgres;

use std::net::TcpListener;

use serde::Serialize;

use crate::{config::Config, model::folder::Model};

/// How well a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Well.
    Ok,
    /// Works, but not as it should.
    Warn,
    /// Does not work.
    Fail,
}

/// What there is to say of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How well it is.
    pub health: Health,
    /// The part.
    pub part: &'static str,
    /// What was seen, and what to do.
    pub text: String,
}

impl Line {
    fn new(health: Health, part: &'static str, text: impl Into<String>) -> Self {
        Self { health, part, text: text.into().replace('\n', " ") }
    }
}

/// Open files that a process with many partitions and brokers may need.
const FILES: u64 = 4_096;

/// Looks at every part.
pub fn examine(config: &Config) -> Vec<Line> {
    let mut lines = kafka::library();
    lines.extend(kafka::broker(config));
    lines.extend(postgres::database(config));
    lines.extend([model(config), listener(config), files()]);
    lines
}

fn model(config: &Config) -> Line {
    match Model::load(&config.model.path) {
        Ok(model) => Line::new(Health::Ok, "model", format!("{} {}", model.name, model.version)),
        Err(error) => Line::new(Health::Fail, "model", error.to_string()),
    }
}

/// Whether telemetry could listen; a running Sentra on this machine is the usual reason why not.
fn listener(config: &Config) -> Line {
    let part = "telemetry";
    let Some(address) = config.telemetry.listen else {
        return Line::new(Health::Warn, part, "telemetry.listen is off: no /livez, /readyz, /metrics");
    };
    match TcpListener::bind(address) {
        Ok(_) => Line::new(Health::Ok, part, format!("{address} is free")),
        Err(error) => Line::new(
            Health::Fail,
            part,
            format!("{address} cannot be listened on ({error}): end what listens there, or set telemetry.listen"),
        ),
    }
}

fn files() -> Line {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes into the struct it is given, which lives past the call.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    match limit.rlim_cur {
        _ if answer != 0 => Line::new(Health::Warn, "open files", "the limit cannot be read"),
        files if files < FILES => {
            Line::new(Health::Warn, "open files", format!("{files} allowed: raise it to {FILES} (ulimit -n {FILES})"))
        }
        files => Line::new(Health::Ok, "open files", format!("{files} allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    #[test]
    fn a_port_in_use_and_a_missing_model_fail_each_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = format!("telemetry.listen={}", taken.local_addr().expect("an address"));
        let set = vec![listen, String::from("model.path=/nowhere")];
        let config = Config::load(&Inputs { set, folder: "/nowhere".into(), ..Inputs::default() }).expect("valid");
        let line = listener(&config);
        assert!(line.health == Health::Fail && line.text.contains("telemetry.listen"), "{line:?}");
        let line = model(&config);
        assert!(line.health == Health::Fail && line.text.contains("model.path"), "{line:?}");
    }
}
