//! The id that a broker gave to a topic when it was created: what tells a topic from another of the same name.
//!
//! Invariant: a [`TopicId`] is never all zeros; brokers without ids, and topics that cannot be described, are errors.
//! It calls librdkafka past rdkafka's safe interface, which knows no topic ids, as only `fetch`, `produce` and the clients'
//! lifelines do beside it; it is not a general admin client.

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;

/// How much longer than the request's own timeout we wait for librdkafka to report its outcome.
const REPORT_GRACE: Duration = Duration::from_secs(1);

/// Room for librdkafka's reason when it refuses an option, in bytes.
const REASON_BYTES: usize = 256;

/// A topic's 128-bit id (KIP-516), most significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The id of these 16 bytes, most significant first; `None` for Kafka's "no id", all zeros.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The id's bytes, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 lower-case hex digits.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a topic's id could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicIdError {
    /// There is no such topic, or this user may not see it.
    #[error("topic \"{topic}\" does not exist, or this user may not describe it: sentra topics apply creates it")]
    Unknown {
        /// The topic asked for.
        topic: String,
    },
    /// The user may not describe the topic.
    #[error("topic \"{topic}\": the broker refuses this user: grant it Describe on the topic")]
    Refused {
        /// The topic asked for.
        topic: String,
    },
    /// The broker gave no id.
    #[error("topic \"{topic}\" has no id: Kafka 3.1 or later is needed")]
    WithoutId {
        /// The topic asked for.
        topic: String,
    },
    /// The broker did not answer, or answered with another error; asking again may help.
    #[error("topic \"{topic}\" cannot be described: {reason} ({code:?})")]
    Failed {
        /// The topic asked for.
        topic: String,
        /// librdkafka's or the broker's code.
        code: RDKafkaErrorCode,
        /// Its sentence.
        reason: String,
    },
}

impl TopicIdError {
    fn new(topic: &str, code: RDKafkaErrorCode, reason: String) -> Self {
        let topic = topic.to_owned();
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Self::Unknown { topic },
            RDKafkaErrorCode::TopicAuthorizationFailed => Self::Refused { topic },
            _ => Self::Failed { topic, code, reason },
        }
    }
}

/// Asks the broker for the id of `topic`. Blocks for `timeout` plus one second at most.
///
/// # Errors
/// [`TopicIdError`] says whether the topic, the permission, the broker's version or the connection is at fault.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<TopicId, TopicIdError> {
    let name = CString::new(topic).map_err(|_| TopicIdError::Unknown { topic: topic.to_owned() })?;
    let event = describe(client, topic, &name, timeout)?;
    let description = single_description(&event, topic)?;
    // SAFETY: `description` points into `event`, which outlives it; the error it returns does too.
    let (code, reason) = unsafe { error_of(sys::rd_kafka_TopicDescription_error(description)) };
    if code != RDKafkaErrorCode::NoError {
        return Err(TopicIdError::new(topic, code, reason));
    }
    // SAFETY: `description` points into `event`, which outlives it.
    let uuid = unsafe { sys::rd_kafka_TopicDescription_topic_id(description) };
    uuid_bytes(uuid).and_then(TopicId::from_bytes).ok_or_else(|| TopicIdError::WithoutId { topic: topic.to_owned() })
}

/// Something of librdkafka's that we must destroy, exactly once.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes what a constructor of librdkafka returned; `None` where it returned null.
    ///
    /// # Safety
    /// `pointer` is null or owned by the caller alone, and `destroy` is the function that frees it.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, destroy })
    }

    fn as_ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: by the contract of `new` the pointer is ours and this function frees it; drop runs once.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}

/// Sends the request and waits for its result event.
fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    name: &CStr,
    timeout: Duration,
) -> Result<Owned<sys::rd_kafka_event_t>, TopicIdError> {
    let failed = |code, reason: &str| TopicIdError::new(topic, code, reason.to_owned());
    let no_memory = || failed(RDKafkaErrorCode::Fail, "librdkafka could not make the request");
    let handle = client.native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: `client` keeps its handle alive for the whole function; `names` holds one valid C string, which
    // librdkafka copies; each constructor hands over a fresh object, and each is paired with its own destructor.
    let (names, options, queue) = unsafe {
        (
            Owned::new(
                sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
                sys::rd_kafka_TopicCollection_destroy,
            )
            .ok_or_else(no_memory)?,
            Owned::new(
                sys::rd_kafka_AdminOptions_new(handle, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
                sys::rd_kafka_AdminOptions_destroy,
            )
            .ok_or_else(no_memory)?,
            Owned::new(sys::rd_kafka_queue_new(handle), sys::rd_kafka_queue_destroy).ok_or_else(no_memory)?,
        )
    };
    set_request_timeout(&options, topic, timeout)?;
    // SAFETY: all four objects are alive; librdkafka copies the names and the options and counts its own reference to
    // the queue, so that a request still under way when we return harms nothing.
    unsafe { sys::rd_kafka_DescribeTopics(handle, names.as_ptr(), options.as_ptr(), queue.as_ptr()) };
    // SAFETY: the queue is alive, and the event it returns, if any, is ours to destroy.
    let event = unsafe {
        Owned::new(
            sys::rd_kafka_queue_poll(queue.as_ptr(), millis(timeout.saturating_add(REPORT_GRACE))),
            sys::rd_kafka_event_destroy,
        )
    };
    event.ok_or_else(|| failed(RDKafkaErrorCode::OperationTimedOut, "the broker did not answer in time"))
}

fn set_request_timeout(
    options: &Owned<sys::rd_kafka_AdminOptions_t>,
    topic: &str,
    timeout: Duration,
) -> Result<(), TopicIdError> {
    let mut reason: [c_char; REASON_BYTES] = [0; REASON_BYTES];
    // SAFETY: the options are alive, and librdkafka writes at most `reason.len()` bytes, the last of them zero.
    let (code, reason) = unsafe {
        let code = sys::rd_kafka_AdminOptions_set_request_timeout(
            options.as_ptr(),
            millis(timeout),
            reason.as_mut_ptr(),
            reason.len(),
        );
        (RDKafkaErrorCode::from(code), text(reason.as_ptr()))
    };
    match code {
        RDKafkaErrorCode::NoError => Ok(()),
        _ => Err(TopicIdError::new(topic, code, reason)),
    }
}

/// The description of the one topic asked for; it lives as long as `event`.
fn single_description(
    event: &Owned<sys::rd_kafka_event_t>,
    topic: &str,
) -> Result<*const sys::rd_kafka_TopicDescription_t, TopicIdError> {
    // SAFETY: the event is alive; its code and its sentence are read before it is destroyed.
    let (code, reason) = unsafe {
        (
            RDKafkaErrorCode::from(sys::rd_kafka_event_error(event.as_ptr())),
            text(sys::rd_kafka_event_error_string(event.as_ptr())),
        )
    };
    if code != RDKafkaErrorCode::NoError {
        return Err(TopicIdError::new(topic, code, reason));
    }
    let mut count = 0;
    // SAFETY: the event is alive. Its result is null for an event of another kind, which is checked first; otherwise
    // the result is an array of `count` valid pointers into the event, of which only the first is read.
    let first = unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() {
            ptr::null()
        } else {
            let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            if count == 0 || descriptions.is_null() { ptr::null() } else { *descriptions }
        }
    };
    if first.is_null() {
        return Err(TopicIdError::new(topic, RDKafkaErrorCode::Fail, String::from("librdkafka reported no topic")));
    }
    Ok(first)
}

/// Code and sentence of librdkafka's error object; null means no error.
///
/// # Safety
/// `error` is null or points to a live error object.
unsafe fn error_of(error: *const sys::rd_kafka_error_t) -> (RDKafkaErrorCode, String) {
    if error.is_null() {
        return (RDKafkaErrorCode::NoError, String::new());
    }
    // SAFETY: not null, so a live error object by this function's contract; its sentence lives as long.
    unsafe { (sys::rd_kafka_error_code(error).into(), text(sys::rd_kafka_error_string(error))) }
}

/// The 16 bytes of librdkafka's UUID, most significant first; `None` for null.
fn uuid_bytes(uuid: *const sys::rd_kafka_Uuid_t) -> Option<[u8; 16]> {
    if uuid.is_null() {
        return None;
    }
    // SAFETY: not null; both callees only read the object.
    let (most, least) =
        unsafe { (sys::rd_kafka_Uuid_most_significant_bits(uuid), sys::rd_kafka_Uuid_least_significant_bits(uuid)) };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&most.to_be_bytes());
    bytes[8..].copy_from_slice(&least.to_be_bytes());
    Some(bytes)
}

/// A copy of a C string; empty for null.
///
/// # Safety
/// `string` is null or points to a string that ends with a zero byte.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a C string by this function's contract.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_of_librdkafka_becomes_its_bytes_most_significant_first() {
        // SAFETY: the UUID is made, read and destroyed here.
        let bytes = unsafe {
            let uuid = sys::rd_kafka_Uuid_new(0x7f3a_9c01_0203_0405, -2);
            let bytes = uuid_bytes(uuid);
            sys::rd_kafka_Uuid_destroy(uuid);
            bytes
        };
        let id = bytes.and_then(TopicId::from_bytes).expect("not zero");
        assert_eq!(id.to_string(), "7f3a9c0102030405fffffffffffffffe");
        assert_eq!(id.as_bytes()[..4], [0x7f, 0x3a, 0x9c, 0x01]);
    }

    #[test]
    fn all_zeros_and_null_are_no_id() {
        assert_eq!(TopicId::from_bytes([0; 16]), None);
        assert_eq!(uuid_bytes(ptr::null()), None);
    }

    #[test]
    fn errors_name_the_topic_and_the_way_out() {
        let error = |code| TopicIdError::new("payments", code, String::from("why")).to_string();
        assert!(error(RDKafkaErrorCode::UnknownTopicOrPartition).contains("\"payments\" does not exist"));
        assert!(error(RDKafkaErrorCode::TopicAuthorizationFailed).contains("grant it Describe"));
        assert!(error(RDKafkaErrorCode::OperationTimedOut).contains("cannot be described: why"));
    }
}
