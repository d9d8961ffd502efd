//! A client's way back to the servers it began with.
//!
//! A broker that has just begun, or hung for long, may answer for a moment that its cluster has no brokers. librdkafka then
//! strikes off all it knows, and where its threads meet in an unlucky order it asks nobody ever again: it knows none, or one
//! that it struck off and still holds, to which it does not connect
//! (<https://github.com/confluentinc/librdkafka/issues/5301>, since 2.10). No error comes, and what was queued waits for ever.
//! So each client that lives on is tied to its servers, and is told them again when it tries none.

use std::{
    ffi::CString,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    client::Client,
    error::{KafkaError, KafkaResult},
};
use rdkafka_sys as sys;
use serde::Deserialize;

use super::values;

/// A client without a connection tries to make one every few seconds (`reconnect.backoff.max.ms`); one that has not for so
/// long is told its servers. So is one that waits for a broker that hangs, or that its user lets wait for longer: it makes one
/// connection more until it is told who the brokers are.
const IDLE: Duration = Duration::from_secs(8);

/// What an answer may take that shows that a client has whom to ask.
const PROBE: Duration = Duration::from_millis(100);

/// The line from a client's context to the client's servers; without effect until [`tie`] ties it.
#[derive(Debug, Default)]
pub struct Lifeline {
    tied: OnceLock<Tied>,
    seen: Mutex<Option<Attempts>>,
}

/// How often a client without a connection had tried to make one.
#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: i64,
    since: Instant,
}

#[derive(Debug)]
struct Tied {
    client: AtomicPtr<sys::rd_kafka_t>,
    servers: CString,
}

/// A context that holds its client's lifeline.
pub trait Held: ClientContext {
    /// The lifeline.
    fn lifeline(&self) -> &Lifeline;
}

/// Ties a client that was just made to the servers it was made with.
///
/// # Errors
/// The servers' names hold a zero byte, which no client would have been made with.
pub fn tie<C: Held>(client: &Client<C>, config: &ClientConfig) -> KafkaResult<()> {
    let servers = CString::new(config.get("bootstrap.servers").unwrap_or_default()).map_err(KafkaError::Nul)?;
    let tied = Tied { client: AtomicPtr::new(client.native_ptr()), servers };
    // A client is made once: a second tie would be the same.
    let _ = client.context().lifeline().tied.set(tied);
    Ok(())
}

/// How long nothing has come to a client that does not tell of itself, for it is not served all the time.
#[derive(Debug)]
pub struct Silence(Instant);

impl Silence {
    /// Something came just now.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Still nothing came. After a while, each time, the client is asked for `topic`, which takes up to a tenth of a second.
    pub fn goes_on<C: Held>(&mut self, client: &Client<C>, topic: &str) {
        if self.0.elapsed() >= IDLE {
            *self = Self::begin();
            probe(client, topic);
        }
    }
}

/// Tells a client its servers again where nobody answers what it asks about `topic`.
pub fn probe<C: Held>(client: &Client<C>, topic: &str) {
    if client.fetch_metadata(Some(topic), PROBE).is_err() {
        remind(client);
    }
}

/// Tells a client its servers again whom nobody answered.
pub fn remind<C: Held>(client: &Client<C>) {
    tracing::debug!("nobody answers a client; it is told its servers again");
    client.context().lifeline().pull();
}

impl Lifeline {
    /// Tells the client its servers again where its own `statistics` say that it knows no broker, or tries none. Only for the
    /// callback that brings them: the line does not keep the client alive.
    pub(crate) fn look(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stranded = statistics.is_stranded(&mut seen, Instant::now());
        drop(seen);
        if stranded {
            tracing::debug!("a client tries no broker any more; it is told its servers again");
            self.pull();
        }
    }

    /// The client's list of what it was told grows by each call: do it seldom.
    fn pull(&self) {
        let Some(Tied { client, servers }) = self.tied.get() else { return };
        // SAFETY: the context belongs to the client, and whoever calls is in one of its callbacks or holds it: it lives. The
        // text ends in a zero, and is copied.
        unsafe { sys::rd_kafka_brokers_add(client.load(Ordering::Relaxed), servers.as_ptr()) };
    }
}

/// What is read of librdkafka's statistics (its STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    #[serde(deserialize_with = "values")]
    brokers: Vec<BrokerStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    source: String,
    state: String,
    connects: i64,
}

impl Statistics {
    /// Whether the client knows no broker but what stands for one (a group's coordinator), or is connected to none and has
    /// tried none since what was `seen` for [`IDLE`].
    fn is_stranded(&self, seen: &mut Option<Attempts>, now: Instant) -> bool {
        let mut known = self.brokers.iter().filter(|broker| broker.source != "logical").peekable();
        if known.peek().is_none() {
            return true;
        }
        if known.clone().any(|broker| broker.state == "UP") {
            *seen = None;
            return false;
        }
        let count = known.map(|broker| broker.connects).sum();
        let fresh = Attempts { count, since: now };
        let before = seen.filter(|before| before.count == count).unwrap_or(fresh);
        let stranded = now.duration_since(before.since) >= IDLE;
        *seen = Some(if stranded { fresh } else { before });
        stranded
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        sync::{Arc, atomic::AtomicBool},
        thread,
        time::{Duration, Instant},
    };

    use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

    use super::*;

    #[derive(Default)]
    struct Telling(Lifeline);

    impl Held for Telling {
        fn lifeline(&self) -> &Lifeline {
            &self.0
        }
    }

    impl ClientContext for Telling {
        fn stats_raw(&self, statistics: &[u8]) {
            self.0.look(statistics);
        }
    }

    impl ConsumerContext for Telling {}

    /// Answers two questions of Kafka's protocol in their oldest form: which it knows (ApiVersions 0), and what the cluster
    /// looks like (Metadata 1): a topic, and itself, unless it is told to name no broker.
    struct Fake {
        port: u16,
        names_none: Arc<AtomicBool>,
    }

    const API_VERSIONS: i16 = 18;
    const METADATA: i16 = 3;
    const UNSUPPORTED_VERSION: i16 = 35;
    const LEADER_NOT_AVAILABLE: i16 = 5;

    impl Fake {
        fn listen() -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            let names_none = Arc::new(AtomicBool::new(false));
            let none = Arc::clone(&names_none);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let none = Arc::clone(&none);
                    // It ends with its client.
                    thread::spawn(move || while serve(&stream, port, &none).is_some() {});
                }
            });
            Self { port, names_none }
        }

        fn client(&self, tied: bool) -> BaseConsumer<Telling> {
            let mut config = ClientConfig::new();
            config
                .set("bootstrap.servers", format!("127.0.0.1:{}", self.port))
                .set("statistics.interval.ms", "100")
                // With the client's own way back it would depend on chance whether it needs another.
                .set("metadata.recovery.strategy", "none");
            let client: BaseConsumer<Telling> = config.create_with_context(Telling::default()).expect("a client");
            if tied {
                tie(client.client(), &config).expect("tied");
            }
            client
        }

        /// Lets the client strike off all brokers.
        fn strand(&self, client: &BaseConsumer<Telling>) {
            assert!(reaches(client, Duration::from_secs(30)));
            self.names_none.store(true, Ordering::Relaxed);
            let told = client.fetch_metadata(Some("t"), Duration::from_secs(30)).expect("an answer");
            assert!(told.brokers().is_empty());
            self.names_none.store(false, Ordering::Relaxed);
        }
    }

    fn serve(mut stream: &TcpStream, port: u16, names_none: &AtomicBool) -> Option<()> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).ok()?;
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let mut answer = request[4..8].to_vec();
        match (number(0), number(2)) {
            (API_VERSIONS, version) => {
                let error = if version == 0 { 0 } else { UNSUPPORTED_VERSION };
                answer.extend(error.to_be_bytes());
                answer.extend(2_i32.to_be_bytes());
                for [key, least, most] in [[API_VERSIONS, 0, 0], [METADATA, 0, 1]] {
                    answer.extend([key, least, most].map(i16::to_be_bytes).concat());
                }
            }
            (METADATA, _) => {
                let named = !names_none.load(Ordering::Relaxed);
                answer.extend(i32::from(named).to_be_bytes());
                if named {
                    // Node 1, without a rack.
                    answer.extend(1_i32.to_be_bytes());
                    answer.extend(text("127.0.0.1"));
                    answer.extend(i32::from(port).to_be_bytes());
                    answer.extend((-1_i16).to_be_bytes());
                }
                // No controller; one topic, not an internal one; one partition, of a leader, replicas and those in sync.
                answer.extend([(-1_i32).to_be_bytes(), 1_i32.to_be_bytes()].concat());
                answer.extend(0_i16.to_be_bytes());
                answer.extend(text("t"));
                answer.push(0);
                answer.extend(1_i32.to_be_bytes());
                answer.extend(if named { 0 } else { LEADER_NOT_AVAILABLE }.to_be_bytes());
                answer.extend([0_i32, if named { 1 } else { -1 }, 0, 0].map(i32::to_be_bytes).concat());
            }
            _ => return None,
        }
        stream.write_all(&(answer.len() as u32).to_be_bytes()).ok()?;
        stream.write_all(&answer).ok()
    }

    fn text(value: &str) -> Vec<u8> {
        [&(value.len() as i16).to_be_bytes()[..], value.as_bytes()].concat()
    }

    /// Whether the client is told of a broker in time, served or not.
    fn reaches(client: &BaseConsumer<Telling>, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let told = client.fetch_metadata(Some("t"), Duration::from_millis(200));
            if told.is_ok_and(|told| !told.brokers().is_empty()) {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_client_that_was_told_of_no_broker_asks_its_servers_again_once_it_is_served_or_probed() {
        // A server each: what one is told of, the others are not.
        let fakes = [(); 3].map(|()| Fake::listen());
        let [untied, served, probed] =
            [(&fakes[0], false), (&fakes[1], true), (&fakes[2], true)].map(|(fake, tied)| {
                let client = fake.client(tied);
                fake.strand(&client);
                client
            });
        for client in [&untied, &probed] {
            assert!(!reaches(client, Duration::from_secs(2)), "nothing brings it back by itself");
        }
        let until = Instant::now() + Duration::from_secs(30);
        while !reaches(&served, Duration::from_millis(1)) {
            assert!(Instant::now() < until, "its statistics bring it back");
            for client in [&served, &untied] {
                assert!(client.poll(Duration::from_millis(50)).is_none_or(|polled| polled.is_err()), "no record");
            }
        }
        probe(probed.client(), "t");
        assert!(reaches(&probed, Duration::from_secs(30)));
        assert!(!reaches(&untied, Duration::from_secs(2)), "but for the line it would ask nobody");
    }

    #[test]
    fn a_client_is_stranded_where_it_knows_no_broker_or_tries_none() {
        let (mut seen, began) = (None, Instant::now());
        let mut stranded = |brokers: &str, seconds: u64| {
            let told = format!(r#"{{"name":"c","brokers":{brokers}}}"#);
            let told: Statistics = serde_json::from_str(&told).expect("as librdkafka writes them");
            told.is_stranded(&mut seen, began + Duration::from_secs(seconds))
        };
        let coordinator = r#""GroupCoordinator":{"source":"logical","state":"UP","connects":3}"#;
        assert!(stranded("{}", 0));
        assert!(stranded(&format!("{{{coordinator}}}"), 0));
        let one = |state: &str, connects: i64| {
            let source = if connects == 0 { "configured" } else { "learned" };
            let broker = format!(r#""a:1/1":{{"source":"{source}","state":"{state}","connects":{connects}}}"#);
            format!("{{{broker},{coordinator}}}")
        };
        assert!(!stranded(&one("INIT", 0), 10));
        assert!(!stranded(&one("INIT", 7), 18), "it has tried meanwhile");
        assert!(!stranded(&one("CONNECT", 7), 25));
        assert!(stranded(&one("INIT", 7), 26));
        assert!(!stranded(&one("INIT", 7), 33), "it was just told");
        assert!(stranded(&one("INIT", 7), 34));
        assert!(!stranded(&one("UP", 7), 60), "an idle connection is one");
        let [up, struck_off] =
            ["UP", "INIT"].map(|state| format!(r#""a:1/1":{{"source":"learned","state":"{state}","connects":7}}"#));
        assert!(!stranded(&format!("{{{up},{struck_off}}}"), 70), "what it struck off is told under the same name");
        assert!(!stranded(&format!("{{{struck_off},{up}}}"), 79));
        assert!(!stranded(&one("DOWN", 7), 80), "and lasted until now");
        assert!(stranded(&one("DOWN", 7), 88));
    }
}
