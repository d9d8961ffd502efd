//! From text to value: each kind of setting, its limits, and what it says when a text is not of it.

use std::net::SocketAddr;

use super::secret::Secret;
use crate::domain::{
    identity::LogId,
    time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS},
};

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// `host:port` list, separated by commas.
    Servers,
    /// A Kafka topic's name.
    Topic,
    /// A member's name, of Kafka's own characters; a shard's number follows it.
    Member,
    /// A path.
    Path,
    /// A whole number from .. to, both included.
    Int(i64, i64),
    /// Yes or no.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number and a unit (`ms`, `s`, `m`, `h`, `d`), within limits; `off` where allowed.
    Duration {
        /// The shortest.
        min: &'static str,
        /// The longest.
        max: &'static str,
        /// Whether `off` is a value.
        off: bool,
    },
    /// `+03:00`.
    UtcOffset,
    /// Three capital letters.
    Currency,
    /// One to three digits.
    CallingCode,
    /// `ip:port` or `off`.
    Listen,
    /// A host's name or IP address.
    Host,
    /// Web origins, separated by commas.
    Origins,
    /// The 16 bytes of a log's id in hex.
    LogId,
    /// A tracing filter.
    Filter,
    /// Never printed.
    Secret,
    /// A secret that goes into a header of HTTP.
    Token,
}

/// A valid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Texts, paths, choices.
    Text(String),
    /// Whole numbers.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// Durations and offsets, in milliseconds; `None` is off.
    Millis(Option<i64>),
    /// A socket address; `None` is off.
    Listen(Option<SocketAddr>),
    /// A secret.
    Secret(Secret),
}

/// How a value was written: sources without types (variables, command line) are read by the kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// From a variable or the command line.
    Untyped,
    /// A TOML string.
    Text,
    /// A TOML integer.
    Int,
    /// A TOML boolean.
    Bool,
    /// Any other TOML type, by name.
    Other(&'static str),
}

impl Kind {
    /// Reads a text of that shape.
    ///
    /// # Errors
    /// What is wrong and what is wanted; never the text of a secret.
    pub fn parse(self, text: &str, shape: Shape) -> Result<Value, String> {
        let wanted = match self {
            Self::Int(..) => Shape::Int,
            Self::Bool => Shape::Bool,
            _ => Shape::Text,
        };
        if shape != Shape::Untyped && shape != wanted {
            return Err(format!("is {}, wanted {}", shape.name(), self.describe()));
        }
        match self {
            Self::Secret if text.is_empty() => Err(String::from("is empty; remove it or give it a value")),
            Self::Secret => Ok(Value::Secret(Secret::new(text.to_owned()))),
            Self::Token if is_token(text) => Ok(Value::Secret(Secret::new(text.to_owned()))),
            Self::Token => Err(format!("is not {}", self.describe())),
            _ => self.read(text).ok_or_else(|| format!("{} is not {}", printable(text), self.describe())),
        }
    }

    fn read(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::Text | Self::Path => (!text.is_empty()).then(|| owned(text)),
            Self::Servers => text.split(',').all(is_server).then(|| owned(text)),
            Self::Topic => is_topic(text).then(|| owned(text)),
            Self::Member => (is_topic(text) && text.len() <= MEMBER_CHARS).then(|| owned(text)),
            Self::Int(min, max) => text.parse().ok().filter(|n| (min..=max).contains(n)).map(Value::Int),
            Self::Bool => boolean(text).map(Value::Bool),
            Self::Choice(words) => words.contains(&text).then(|| owned(text)),
            Self::Duration { off: true, .. } if text == OFF => Some(Value::Millis(None)),
            Self::Duration { min, max, .. } => {
                let range = duration_ms(min)?..=duration_ms(max)?;
                duration_ms(text).filter(|ms| range.contains(ms)).map(|ms| Value::Millis(Some(ms)))
            }
            Self::UtcOffset => utc_offset_ms(text).map(|ms| Value::Millis(Some(ms))),
            Self::Currency => (text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())).then(|| owned(text)),
            Self::CallingCode => is_calling_code(text).then(|| owned(text)),
            Self::Listen if text == OFF => Some(Value::Listen(None)),
            Self::Listen => text.parse().ok().map(|address| Value::Listen(Some(address))),
            Self::LogId => LogId::from_hex(text).map(|_| owned(text)),
            Self::Filter => is_filter(text).then(|| owned(text)),
            Self::Host => is_host(text).then(|| owned(text)),
            Self::Origins => text.split(',').all(is_origin).then(|| owned(text)),
            Self::Secret | Self::Token => None,
        }
    }

    /// Milliseconds as the kind writes them, in the largest unit that leaves no rest (a day is 24h); `None` is off.
    pub(super) fn millis_text(self, ms: Option<i64>) -> String {
        let Some(ms) = ms else { return String::from(OFF) };
        if self == Self::UtcOffset {
            let (sign, ms) = if ms < 0 { ('-', -ms) } else { ('+', ms) };
            return format!("{sign}{:02}:{:02}", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS);
        }
        let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")];
        let fits = |unit_ms: i64| ms > 0 && ms % unit_ms == 0 && (unit_ms, ms) != (DAY_MS, DAY_MS);
        let (unit_ms, unit) = units.into_iter().find(|(unit_ms, _)| fits(*unit_ms)).unwrap_or((1, "ms"));
        format!("{}{unit}", ms / unit_ms)
    }

    /// What is wanted, as the end of a sentence.
    pub fn describe(self) -> String {
        match self {
            Self::Text => String::from("a text that is not empty"),
            Self::Servers => String::from("a list such as host1:9092,host2:9092"),
            Self::Topic => String::from("a topic name (1 to 249 of A-Z a-z 0-9 . _ -)"),
            Self::Member => String::from("a name (1 to 200 of A-Z a-z 0-9 . _ -)"),
            Self::Path => String::from("a path"),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bool => String::from("true or false"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Duration { min, max, off } => {
                let or_off = if off { ", or off" } else { "" };
                format!("a duration with its unit (ms, s, m, h, d) from {min} to {max}{or_off}")
            }
            Self::UtcOffset => String::from("an offset such as +03:00, from -18:00 to +18:00"),
            Self::Currency => String::from("an ISO 4217 code such as KES"),
            Self::CallingCode => String::from("a calling code such as 254 (1 to 3 digits, no plus)"),
            Self::Listen => String::from("an address such as 127.0.0.1:9464, or off"),
            Self::LogId => String::from("32 lower-case hex digits, not all of them 0"),
            Self::Filter => String::from("a log filter such as info or info,sentra::shard=debug"),
            Self::Host => String::from("a host name or IP address, without a port"),
            Self::Origins => {
                String::from("a list such as https://console.example,http://localhost:3000 (no path, no *)")
            }
            Self::Secret => String::from("a text"),
            Self::Token => format!("a text of {TOKEN_CHARACTERS:?} of A-Z a-z 0-9 - . _ ~ + / ="),
        }
    }
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Untyped | Self::Text => "a text",
            Self::Int => "a number",
            Self::Bool => "a boolean",
            Self::Other(name) => name,
        }
    }
}

const OFF: &str = "off";

/// A faulty value as errors show it: short, and not at all where it may hold credentials (`user:password@host`).
fn printable(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        _ if text.contains('@') => String::from("the value"),
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

fn owned(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `90s`, `5m`, `24h`, `180d`, `250ms`; a unit is required.
fn duration_ms(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms)
}

/// `+03:00`, `-05:30`, `Z`.
fn utc_offset_ms(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let two_digits = |part: &str| {
        let fits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let ms = hours * HOUR_MS + minutes * MINUTE_MS;
    (minutes < 60 && ms <= 18 * HOUR_MS).then_some(sign * ms)
}

/// `host:port`, with an optional `PROTOCOL://` before it; an IPv6 host stands in brackets.
fn is_server(server: &str) -> bool {
    let server = server.trim();
    let address = server.split_once("://").map_or(server, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', ' ', '@']),
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// How long a token is: below it could be guessed, above it headers become too large.
const TOKEN_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=512;

/// What a bearer token may hold (RFC 6750, `b64token`).
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    TOKEN_CHARACTERS.contains(&text.len()) && text.bytes().all(allowed)
}

fn is_host(text: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.parse::<std::net::IpAddr>().is_ok() || (!text.is_empty() && text.bytes().all(name))
}

/// `https://host[:port]`, as browsers spell it in the header Origin: lower case, no path.
fn is_origin(text: &str) -> bool {
    let text = text.trim();
    let Some(address) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().is_ok_and(|port| port > 0)),
        _ => (address, true),
    };
    let host_fits = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => is_host(host) && !host.contains(':'),
    };
    port && host_fits && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A member's name with a shard's number behind it is shorter than Kafka's limit of 249.
const MEMBER_CHARS: usize = 200;

/// Kafka's own rule (`org.apache.kafka.common.internals.Topic`).
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_calling_code(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
}

/// A bare word must be a level: the library would take `inf` for a module's name, and log nothing at all.
fn is_filter(text: &str) -> bool {
    use tracing_subscriber::{EnvFilter, filter::LevelFilter};
    let known = |part: &str| part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok();
    let given = |part: &str| !part.trim().is_empty();
    text.split(',').all(|part| given(part) && known(part)) && EnvFilter::builder().parse(text).is_ok()
}
