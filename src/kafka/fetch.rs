//! Records taken from a consumer by the batch. `BaseConsumer::poll` makes an event, reads clocks and takes locks for each;
//! `rd_kafka_consume_batch_queue` does so once, but knows nothing of the events of a group. So the partitions' records come
//! here, and all else is left to `poll`.
//!
//! Invariant: what is fetched of a partition comes out of one queue, in order. It is sent here while it stands still or
//! after it was sent here before, so that nothing of it is in the other queue.

use std::{
    ffi::{CStr, CString},
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    Timestamp,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers, Message},
};
use rdkafka_sys as sys;

/// A queue of a consumer's for what is fetched of its partitions.
pub struct FetchQueue<C: ConsumerContext> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Lives as long as the queue, which is part of it.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues are locked by themselves; nothing in one belongs to a thread.
unsafe impl<C: ConsumerContext> Send for FetchQueue<C> {}

impl<C: ConsumerContext> FetchQueue<C> {
    /// An empty queue of `consumer`.
    ///
    /// # Panics
    /// No memory is left: librdkafka's only reason to make none.
    pub fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client lives, for it is borrowed.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue: NonNull::new(queue).expect("librdkafka makes a queue, or ends the process"), consumer }
    }

    /// From now on what is fetched of `partition` comes here. Call it after each assignment that gives the partition a place,
    /// before it is resumed: the end of an assignment takes it back.
    pub fn send_here(&self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: the client lives, and the name ends in a zero.
        let own = unsafe {
            sys::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition)
        };
        if own.is_null() {
            return;
        }
        // SAFETY: both queues live; the handle of the partition's is given back, not the queue.
        unsafe {
            sys::rd_kafka_queue_forward(own, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(own);
        }
    }

    /// Appends up to `most` records to `to`, waiting for the first for up to `wait`; the errors that came in place of records,
    /// each with its partition. After an error the client counts the record that it was in place of as taken, and may pass it
    /// over after a pause: such a partition is to be placed anew.
    pub fn take<'q>(&'q self, wait: Duration, most: usize, to: &mut Vec<Fetched<'q>>) -> Vec<(i32, KafkaError)> {
        self.take_now(0, most, to);
        if to.is_empty() {
            // One alone: a call waits until it has all it may take.
            self.take_now(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX), 1, to);
            self.take_now(0, most - to.len(), to);
        }
        if to.iter().all(|fetched| fetched.error().is_none()) {
            return Vec::new();
        }
        let failed =
            |fetched: &Fetched<'_>| Some((fetched.partition(), KafkaError::MessageConsumption(fetched.error()?)));
        let errors = to.iter().filter_map(failed).collect();
        to.retain(|fetched| fetched.error().is_none());
        errors
    }

    fn take_now<'q>(&'q self, wait_ms: i32, most: usize, to: &mut Vec<Fetched<'q>>) {
        to.reserve(most);
        let room = to.spare_capacity_mut()[..most].as_mut_ptr().cast::<*mut sys::rd_kafka_message_t>();
        // SAFETY: the queue lives; a `Fetched` is a pointer to a message, never null, and there is room for `most` of them. Those
        // written are ours to destroy.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, room, most);
            to.set_len(to.len() + usize::try_from(taken).unwrap_or(0));
        }
    }
}

impl<C: ConsumerContext> Drop for FetchQueue<C> {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_queue_new`, its client lives, and what was taken from it was given back: it borrowed.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record in the client's memory, or an error in place of one.
#[repr(transparent)]
pub struct Fetched<'q> {
    message: NonNull<sys::rd_kafka_message_t>,
    queue: PhantomData<&'q ()>,
}

impl Fetched<'_> {
    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: librdkafka keeps the message until it is destroyed, and changes nothing of it.
        unsafe { self.message.as_ref() }
    }

    fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.message().err;
        (error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }
}

impl Message for Fetched<'_> {
    type Headers = FetchedHeaders;

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: where there is a key, it has so many bytes.
        unsafe { bytes(self.message().key, self.message().key_len) }
    }

    fn payload(&self) -> Option<&[u8]> {
        // SAFETY: where there is a value, it has so many bytes.
        unsafe { bytes(self.message().payload, self.message().len) }
    }

    unsafe fn payload_mut(&mut self) -> Option<&mut [u8]> {
        let message = self.message();
        // SAFETY: as above; that nobody else minds is the caller's word.
        (!message.payload.is_null()).then(|| unsafe { slice::from_raw_parts_mut(message.payload.cast(), message.len) })
    }

    fn topic(&self) -> &str {
        // SAFETY: a record has a topic, whose name librdkafka keeps as long as the topic.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message().rkt)) };
        // Kafka's topics have names of ASCII.
        name.to_str().unwrap_or_default()
    }

    fn partition(&self) -> i32 {
        self.message().partition
    }

    fn offset(&self) -> i64 {
        self.message().offset
    }

    fn timestamp(&self) -> Timestamp {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        match kind {
            _ if ms < 0 => Timestamp::NotAvailable,
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => Timestamp::NotAvailable,
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => Timestamp::CreateTime(ms),
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => Timestamp::LogAppendTime(ms),
        }
    }

    fn headers(&self) -> Option<&FetchedHeaders> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives, and keeps its headers once they are read.
        let error = unsafe { sys::rd_kafka_message_headers(self.message.as_ptr(), &raw mut headers) };
        let found = error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null();
        // SAFETY: they are there; what stands for them has no bytes of its own.
        found.then(|| unsafe { &*headers.cast::<FetchedHeaders>() })
    }
}

impl Drop for Fetched<'_> {
    fn drop(&mut self) {
        // SAFETY: it came from a queue, and goes back once.
        unsafe { sys::rd_kafka_message_destroy(self.message.as_ptr()) };
    }
}

/// A record's headers in the client's memory.
#[repr(C)]
pub struct FetchedHeaders {
    opaque: [u8; 0],
}

impl FetchedHeaders {
    fn pointer(&self) -> *const sys::rd_kafka_headers_t {
        ptr::from_ref(self).cast()
    }
}

impl Headers for FetchedHeaders {
    fn count(&self) -> usize {
        // SAFETY: the headers live as long as their message, which is borrowed.
        unsafe { sys::rd_kafka_header_cnt(self.pointer()) }
    }

    /// A header whose name is not UTF-8 counts as one without a name.
    fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: as above; librdkafka writes all three where it finds the header.
        unsafe {
            let error =
                sys::rd_kafka_header_get_all(self.pointer(), index, &raw mut name, &raw mut value, &raw mut length);
            (error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
                .then(|| Header { key: CStr::from_ptr(name).to_str().unwrap_or_default(), value: bytes(value, length) })
        }
    }
}

/// # Safety
/// Unless null, `from` points to `length` bytes that outlive `'a`.
unsafe fn bytes<'a>(from: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's word.
    (!from.is_null()).then(|| unsafe { slice::from_raw_parts(from.cast(), length) })
}
