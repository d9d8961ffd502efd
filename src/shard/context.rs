//! What librdkafka tells a shard from inside `poll`: assignments, acknowledgements, the broker's state. Callbacks only
//! write down; the turn acts. They never wait and never panic.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::ProducerContext,
    types::RDKafkaRespErr,
};
use serde::Deserialize;

use crate::kafka::client::{self, Held, Lifeline, Session};

/// A change the turn must act on.
#[derive(Debug)]
pub enum Notice {
    /// Partitions came; they are paused at the log's start.
    Assigned(Vec<i32>),
    /// Partitions are to go, once they are drained and given up.
    Leaving(Vec<i32>),
    /// Partitions went.
    Revoked(Vec<i32>),
    /// No broker is reached, or it refuses us.
    Trouble(String),
    /// At least one broker answers; the assigned partitions as last fetched.
    Connected(Vec<(i32, Ends)>),
}

/// Where a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// One past its last record; below 0 while the client does not know, as when nobody leads it.
    pub end: i64,
    /// One past the last record that readers are given: below `end` while a producer's transaction is open.
    pub stable: i64,
    /// All below was taken, or holds nothing for readers.
    pub taken: i64,
    /// Whether no broker leads it, or the one that does has been silent.
    pub away: bool,
}

/// A broker that owes an answer for so long does not answer: fetches are answered within a tenth of a second, heartbeats
/// at once. A frozen process keeps its connections up, so that their state tells nothing.
const SILENT_US: i64 = 5_000_000;

/// The consumer's context.
#[derive(Default)]
pub struct InputContext {
    topic: String,
    notices: Mutex<Vec<Notice>>,
    commit_failed: AtomicBool,
    /// Whether partitions are given up here, not by the turn.
    at_once: AtomicBool,
    /// What the group wants back and the turn has not given up yet.
    leaving: Mutex<Vec<i32>>,
    lifeline: Lifeline,
}

/// An acknowledgement, or a failure for good.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// The verdict partition.
    pub partition: i32,
    /// The slot's generation when the record was sent.
    pub generation: usize,
    /// The record's offset, `None` where the broker told none.
    pub outcome: Result<Option<i64>, RDKafkaErrorCode>,
}

/// The verdict producer's context.
#[derive(Default)]
pub struct VerdictContext {
    acks: Mutex<Vec<Ack>>,
    lifeline: Lifeline,
}

impl InputContext {
    /// For the transaction topic of this name.
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            notices: Mutex::default(),
            commit_failed: AtomicBool::new(false),
            at_once: AtomicBool::new(true),
            leaving: Mutex::default(),
            lifeline: Lifeline::default(),
        }
    }

    /// The same for one that gives partitions up when they are drained.
    pub fn draining(topic: &str) -> Self {
        Self { at_once: AtomicBool::new(false), ..Self::new(topic) }
    }

    /// From now on partitions go at once.
    pub fn close_soon(&self) {
        self.at_once.store(true, Ordering::Relaxed);
    }

    /// Takes what is still to be given up.
    pub fn take_leaving(&self) -> Vec<i32> {
        std::mem::take(&mut *locked(&self.leaving))
    }

    /// These went at once: giving them up later would fail, for all that are given up with them.
    fn gone(&self, partitions: &[i32]) {
        locked(&self.leaving).retain(|leaving| !partitions.contains(leaving));
    }

    /// Takes what was noted since the last call.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *locked(&self.notices))
    }

    /// Whether a commit failed since the last call.
    pub fn commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    fn note(&self, notice: Notice) {
        self.note_all(Some(notice));
    }

    fn note_all(&self, notices: impl IntoIterator<Item = Notice>) {
        locked(&self.notices).extend(notices);
    }
}

impl Held for InputContext {
    fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }
}

impl ClientContext for InputContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error or a notice, once; the client's own lines are for those who look closely.
        Session::log_line(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.lifeline.look(statistics);
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        self.note_all(statistics.notice(&self.topic));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.note(Notice::Trouble(String::from("all brokers are down"))),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
                self.note(Notice::Trouble(client::describe(&error)));
            }
            _ => tracing::debug!(target: "librdkafka", %error, reason),
        }
    }
}

impl ConsumerContext for InputContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let numbers = partitions.elements().iter().map(|element| element.partition()).collect();
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // Where reading really begins is known only after recovery: until then they stand still.
                let placed = partitions.set_all_offsets(Offset::Beginning);
                self.note(Notice::Assigned(numbers));
                placed.and_then(|()| consumer.incremental_assign(partitions)).and_then(|()| consumer.pause(partitions))
            }
            // What the group believes lost is another's by now: there is nothing to hand over.
            _ if !self.at_once.load(Ordering::Relaxed) && !consumer.assignment_lost() => {
                locked(&self.leaving).clone_from(&numbers);
                self.note(Notice::Leaving(numbers));
                Ok(())
            }
            _ => {
                self.gone(&numbers);
                self.note(Notice::Revoked(numbers));
                consumer.incremental_unassign(partitions)
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "an assignment could not be followed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets were not committed");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl VerdictContext {
    /// Moves what was acknowledged since the last call into `to`, in order.
    pub fn take(&self, to: &mut Vec<Ack>) {
        to.append(&mut locked(&self.acks));
    }
}

impl Held for VerdictContext {
    fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }
}

impl ClientContext for VerdictContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Session::log_line(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.lifeline.look(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for VerdictContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, generation: usize) {
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(Some(message.offset()).filter(|offset| *offset >= 0))),
            Err((error, message)) => (message, Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))),
        };
        locked(&self.acks).push(Ack { partition: message.partition(), generation, outcome });
    }
}

/// What is read of librdkafka's statistics (its STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    #[serde(default, deserialize_with = "client::values")]
    brokers: Vec<BrokerStatistics>,
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    nodeid: i32,
    state: String,
    /// Requests that await their answer.
    waitresp_cnt: i64,
    /// Microseconds since anything came from it, -1 where nothing did.
    rxidle: i64,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: HashMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    leader: i32,
    hi_offset: i64,
    ls_offset: i64,
    next_offset: i64,
    /// Records fetched and not yet polled, of all partitions.
    fetchq_cnt: i64,
}

impl Statistics {
    /// What they say of the brokers and of the topic's partitions; `None` while no broker is connected.
    fn notice(&self, topic: &str) -> Option<Notice> {
        let mut up = self.brokers.iter().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").peekable();
        up.peek()?;
        if up.clone().all(BrokerStatistics::is_silent) {
            let longest = up.map(|broker| broker.rxidle).max().unwrap_or_default();
            return Some(Notice::Trouble(format!("the broker has not answered for {} s", longest / 1_000_000)));
        }
        let answering: HashSet<i32> = up.filter(|broker| !broker.is_silent()).map(|broker| broker.nodeid).collect();
        let partitions = self.topics.get(topic).into_iter().flat_map(|topic| &topic.partitions);
        let real = partitions.filter(|(partition, _)| **partition >= 0);
        let ends = real.map(|(partition, at)| {
            let ends = Ends {
                end: at.hi_offset,
                stable: if at.ls_offset >= 0 { at.ls_offset } else { at.hi_offset },
                taken: if at.fetchq_cnt == 0 { at.next_offset } else { -1 },
                away: !answering.contains(&at.leader),
            };
            (*partition, ends)
        });
        Some(Notice::Connected(ends.collect()))
    }
}

impl BrokerStatistics {
    fn is_silent(&self) -> bool {
        self.waitresp_cnt > 0 && self.rxidle >= SILENT_US
    }
}

/// A panic elsewhere leaves the list as it was: whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn broker(nodeid: i32, state: &str, waitresp_cnt: i64, rxidle_s: i64) -> Value {
        json!({"nodeid": nodeid, "state": state, "waitresp_cnt": waitresp_cnt, "rxidle": rxidle_s * 1_000_000})
    }

    fn notice(brokers: &[Value], fetched: i64) -> Option<Notice> {
        // Named by their nodes, as librdkafka does: a name may come twice.
        let brokers: Vec<String> =
            brokers.iter().map(|broker| format!(r#""b/{}":{broker}"#, broker["nodeid"])).collect();
        let partition = |leader: i32, end: i64, next: i64| json!({"leader": leader, "hi_offset": end, "ls_offset": end - 2, "next_offset": next, "fetchq_cnt": fetched});
        let partitions = json!({
            "0": partition(1, 12, 10), "1": partition(2, 12, 7), "2": partition(-1, -1, 7), "-1": partition(-1, -1001, -1)
        });
        let topics = json!({"in": {"partitions": partitions}, "other": {"partitions": {}}});
        let text = format!(r#"{{"brokers":{{{}}},"topics":{topics}}}"#, brokers.join(","));
        serde_json::from_str::<Statistics>(&text).expect("as librdkafka writes them").notice("in")
    }

    #[test]
    fn a_broker_that_owes_an_answer_is_silent_though_its_connection_is_up() {
        assert!(notice(&[], 0).is_none());
        assert!(notice(&[broker(1, "CONNECT", 0, 0), broker(-1, "UP", 0, 0)], 0).is_none(), "none is connected");
        let frozen = [broker(1, "UP", 2, 7), broker(2, "UP", 1, 5), broker(3, "DOWN", 0, 0)];
        assert!(matches!(notice(&frozen, 0), Some(Notice::Trouble(why)) if why.contains("for 7 s")));
        for answering in [broker(1, "UP", 1, 4), broker(1, "UP", 0, 600)] {
            assert!(matches!(notice(&[answering], 0), Some(Notice::Connected(_))), "an idle one owes nothing");
        }
    }

    #[test]
    fn a_broker_that_was_struck_off_does_not_hide_the_one_that_was_learned_of_since() {
        let (up, struck_off) = (broker(1, "UP", 0, 0), broker(1, "INIT", 0, 0));
        for both in [[up.clone(), struck_off.clone()], [struck_off, up]] {
            assert!(matches!(notice(&both, 0), Some(Notice::Connected(_))), "{both:?}");
        }
    }

    #[test]
    fn what_went_at_once_is_not_given_up_again_with_the_others() {
        let context = InputContext::draining("in");
        locked(&context.leaving).extend([1, 2, 3]);
        context.gone(&[2, 7]);
        assert_eq!(context.take_leaving(), [1, 3]);
    }

    #[test]
    fn partitions_are_told_with_their_ends_what_was_taken_and_whether_their_broker_answers() {
        let brokers = [broker(1, "UP", 1, 0), broker(2, "UP", 1, 9)];
        let Some(Notice::Connected(mut told)) = notice(&brokers, 0) else { panic!("one answers") };
        told.sort_by_key(|(partition, _)| *partition);
        let ends = |taken, away| Ends { end: 12, stable: 10, taken, away };
        let unknown = Ends { end: -1, stable: -1, taken: 7, away: true };
        assert_eq!(told, [(0, ends(10, false)), (1, ends(7, true)), (2, unknown)]);
        let Some(Notice::Connected(told)) = notice(&brokers, 3) else { panic!("one answers") };
        assert!(told.iter().all(|(_, ends)| ends.taken < 0), "what was fetched may still wait: {told:?}");
    }
}
