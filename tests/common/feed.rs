//! Verdict logs written by hand, a serve process over them, and clients of its feed.

use std::{
    collections::BTreeMap,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    self, HandshakeError, Message, WebSocket,
    client::{IntoClientRequest, client},
    http::HeaderValue,
};

use super::{
    PATIENCE,
    line::{Sentra, Setup, Topics, free_port, until},
    produce::{Sender, Sent},
};

/// A verdict's place in the verdict topic.
pub type Place = (i32, i64);

/// Writes a verdict topic as owners would.
pub struct Log {
    topic: String,
    sender: Sender,
    partitions: Vec<Partition>,
}

#[derive(Clone, Debug)]
struct Partition {
    next: i64,
    epoch: i64,
    source: i64,
    /// Where each verdict that counts stands.
    accepted: Vec<i64>,
}

impl Log {
    /// An owner record in each partition.
    pub fn begin(topics: &Topics) -> Self {
        let partition = Partition { next: 0, epoch: 0, source: -1, accepted: Vec::new() };
        let partitions = vec![partition; topics.partitions as usize];
        let mut log = Self { topic: topics.verdicts.clone(), sender: Sender::default(), partitions };
        for partition in 0..topics.partitions {
            log.owner(partition);
        }
        log
    }

    /// A new owner of a partition.
    pub fn owner(&mut self, partition: i32) {
        let value = json!({"kind": "owner", "source": {"log": "7f3a9c01", "partition": partition}, "group": "g",
            "instance": "i", "version": "1", "decided_at": "2026-03-01T08:15:00.000001Z", "schema_version": 1});
        self.send(partition, &[value]);
        let at = &mut self.partitions[partition as usize];
        at.epoch = at.next - 1;
    }

    /// Verdicts of a former owner, which do not count.
    pub fn zombies(&mut self, partition: i32, count: usize) {
        let at = self.partitions[partition as usize].clone();
        let zombie = |source| verdict(partition, at.epoch - 1, source, source - 1, 95);
        let values: Vec<Value> = (at.source + 1..).take(count).map(zombie).collect();
        self.send(partition, &values);
    }

    /// Verdicts that count, with these scores.
    pub fn verdicts(&mut self, partition: i32, scores: impl IntoIterator<Item = u8>) {
        let at = &mut self.partitions[partition as usize];
        let mut values = Vec::new();
        for score in scores {
            at.source += 1;
            at.accepted.push(at.next + values.len() as i64);
            values.push(verdict(partition, at.epoch, at.source, at.source - 1, score));
        }
        self.send(partition, &values);
    }

    /// A verdict with fields of its own in place of the usual ones.
    pub fn special(&mut self, partition: i32, fields: &Value) {
        self.specials(partition, fields, 1);
    }

    /// So many of them.
    pub fn specials(&mut self, partition: i32, fields: &Value, count: usize) {
        let at = &mut self.partitions[partition as usize];
        let mut values = Vec::new();
        for _ in 0..count {
            at.source += 1;
            at.accepted.push(at.next + values.len() as i64);
            let mut value = verdict(partition, at.epoch, at.source, at.source - 1, 10);
            for (name, field) in fields.as_object().expect("fields") {
                value[name] = field.clone();
            }
            values.push(value);
        }
        self.send(partition, &values);
    }

    /// The verdict of a record that is no transaction.
    pub fn invalid(&mut self, partition: i32) {
        let nothing = json!({
            "kind": "invalid", "transaction_id": null, "risk_score": null, "risk_level": null, "signals": null,
            "recommendation": "REVIEW", "reasons": [{"code": "NOT_JSON", "text": "The record is no JSON."}],
            "phone_number": null, "amount": null, "currency": null, "event_time": null, "model": null,
            "feature_digest": null,
        });
        self.special(partition, &nothing);
    }

    /// Leaves input offsets out, so that a gap follows.
    pub fn skip(&mut self, partition: i32) {
        self.partitions[partition as usize].source += 5;
    }

    /// Everything that counts, partition by partition, in order.
    pub fn accepted(&self) -> Vec<Place> {
        let all = (0..).zip(&self.partitions);
        all.flat_map(|(number, at)| at.accepted.iter().map(move |offset| (number, *offset))).collect()
    }

    fn send(&mut self, partition: i32, values: &[Value]) {
        let records: Vec<Sent> = values
            .iter()
            .map(|value| Sent {
                partition: Some(partition),
                key: value["phone_number"].as_str().map(|phone| phone.as_bytes().to_vec()),
                value: Some(value.to_string().into_bytes()),
                ..Sent::default()
            })
            .collect();
        self.sender.send_all(&self.topic, records.iter());
        self.partitions[partition as usize].next += records.len() as i64;
    }
}

/// A scored verdict, whole.
pub fn verdict(partition: i32, epoch: i64, source: i64, previous: i64, score: u8) -> Value {
    let (level, recommendation) = match score {
        90.. => ("CRITICAL", "BLOCK"),
        70.. => ("HIGH", "FLAG"),
        40.. => ("MEDIUM", "REVIEW"),
        _ => ("LOW", "APPROVE"),
    };
    json!({
        "transaction_id": format!("T{partition}-{source}"), "risk_score": score, "risk_level": level,
        "signals": {"velocity": 0.85, "amount_anomaly": 0.72, "device_new": 0.65, "location_change": 0.45},
        "recommendation": recommendation, "processing_time_ms": 2, "verdict_id": format!("7f3a9c01-{partition}-{source}"),
        "kind": "scored", "reasons": [{"code": "VELOCITY_5M", "text": "9 transactions in 5 minutes", "contribution": 0.31}],
        "phone_number": "+254712345678", "institution_id": "bank-01", "amount": 50000, "currency": "KES",
        "event_time": "2026-03-01T08:15:00.000Z", "decided_at": "2026-03-01T08:15:00.004213Z",
        "model": {"name": "default", "version": "1"}, "policy_version": "default-1", "flags": [],
        "source": {"log": "7f3a9c01", "partition": partition, "offset": source, "previous_offset": previous, "epoch": epoch},
        "feature_digest": "0123456789abcdef", "schema_version": 1,
    })
}

/// A serve process and the port of its feed.
pub struct Serving {
    /// The process.
    pub process: Sentra,
    /// Where it listens.
    pub port: u16,
}

impl Serving {
    /// Starts one and waits until it follows the topic.
    pub fn start(topics: &Topics, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut setup = Setup::new(topics).roles("serve").with("SENTRA__SERVE__PORT", &port.to_string());
        for (name, value) in settings {
            setup = setup.with(name, value);
        }
        let serving = Self { process: setup.start(), port };
        let what = || format!("the feed to be ready; its log:\n{}", serving.process.log());
        until(PATIENCE, what, || serving.process.get("/readyz").filter(|answer| answer.code == 200));
        serving
    }

    /// Connects a client.
    pub fn client(&self, query: &str) -> Client {
        Client::connect(self.port, query, &[]).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A client of the feed.
pub struct Client(WebSocket<TcpStream>);

/// How a session ended.
#[derive(Debug)]
pub struct Ended {
    /// The `bye` frame.
    pub bye: Value,
    /// The close code.
    pub code: u16,
}

impl Client {
    /// Opens a session, or says with which status it was refused.
    pub fn connect(port: u16, query: &str, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        Self::with(TcpStream::connect(("127.0.0.1", port))?, query, headers)
    }

    /// The same over a connection with properties of its own.
    pub fn over(stream: TcpStream, query: &str) -> Result<Self, tungstenite::Error> {
        Self::with(stream, query, &[])
    }

    fn with(stream: TcpStream, query: &str, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{}/v1/feed?{query}", stream.peer_addr()?).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header's value"));
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        match client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(error)) => Err(error),
            Err(HandshakeError::Interrupted(_)) => panic!("no answer"),
        }
    }

    /// The next frame; `None` at the connection's end.
    pub fn next(&mut self) -> Option<Value> {
        match self.message()? {
            Message::Text(text) => Some(serde_json::from_str(&text).expect("frames are JSON")),
            _ => None,
        }
    }

    fn message(&mut self) -> Option<Message> {
        loop {
            match self.0.read() {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("no frame in time")
                }
                Err(_) => return None,
            }
        }
    }

    /// The next frame of that type; others are passed over.
    pub fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("the connection ended before a {kind} frame"));
            if frame["type"] == kind {
                return frame;
            }
            assert_ne!(frame["type"], "bye", "{frame}");
        }
    }

    /// Sends a text.
    pub fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).expect("sent");
    }

    /// Sends any message.
    pub fn send_message(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.0.send(message)
    }

    /// Reads to the end: the farewell and the close code.
    pub fn end(&mut self) -> Ended {
        let mut bye = Value::Null;
        loop {
            match self.message() {
                Some(Message::Text(text)) => {
                    let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                    if frame["type"] == "bye" {
                        bye = frame;
                    }
                }
                Some(Message::Close(Some(close))) => return Ended { bye, code: close.code.into() },
                other => panic!("no close frame but {other:?}, after {bye}"),
            }
        }
    }

    /// Gathers places of verdicts until there are so many; the newest cursor on the way comes too.
    pub fn gather(&mut self, count: usize) -> (Vec<Place>, String) {
        let (mut places, mut cursor) = (Vec::new(), String::new());
        let deadline = Instant::now() + 2 * PATIENCE;
        while places.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} verdicts", places.len());
            let frame = self.next().unwrap_or_else(|| panic!("the end, after {} of {count}", places.len()));
            match frame["type"].as_str() {
                Some("verdict") => places.push(place(&frame)),
                Some("stats" | "hello") => cursor = cursor_of(&frame),
                _ => panic!("{frame}"),
            }
        }
        (places, cursor)
    }
}

/// A verdict frame's place.
pub fn place(frame: &Value) -> Place {
    let partition = frame["partition"].as_i64().expect("a partition");
    (partition as i32, frame["offset"].as_i64().expect("an offset"))
}

/// A frame's cursor.
pub fn cursor_of(frame: &Value) -> String {
    frame["cursor"].as_str().unwrap_or_else(|| panic!("no cursor in {frame}")).to_owned()
}

/// Places in each partition's order, partition by partition; fails where an order is broken.
pub fn by_partition(places: &[Place]) -> Vec<Place> {
    let mut sorted: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, offset) in places {
        sorted.entry(*partition).or_default().push(*offset);
    }
    for (partition, offsets) in &sorted {
        assert!(offsets.is_sorted(), "partition {partition}: {offsets:?}");
    }
    sorted.into_iter().flat_map(|(partition, offsets)| offsets.into_iter().map(move |at| (partition, at))).collect()
}

/// Waits a little, for what must not happen.
pub fn a_moment() {
    thread::sleep(Duration::from_millis(300));
}

/// Asks for a ticket: status and body.
pub fn post_ticket(port: u16, authorization: Option<&str>) -> (u16, Value) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let header = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    write!(
        stream,
        "POST /v1/feed/tickets HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (code, serde_json::from_str(body).expect("JSON"))
}
