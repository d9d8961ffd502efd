//! A topic of a producer's, to which records are handed without being looked up by name, each: `rd_kafka_produce`, or some
//! at once: `rd_kafka_produce_batch`.
//!
//! The record's partition is given, its bytes are copied, and what becomes of it is told as of any other record.

use std::{
    ffi::{CString, c_int, c_void},
    ptr::{self, NonNull},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, Producer, ProducerContext},
};
use rdkafka_sys as sys;

/// `RD_KAFKA_MSG_F_COPY` of rdkafka.h: librdkafka keeps a copy of key and value.
const COPY: c_int = 0x2;

/// A topic of a producer's.
pub struct Outlet<C: ProducerContext<DeliveryOpaque = usize> + 'static> {
    topic: NonNull<sys::rd_kafka_topic_t>,
    /// Outlives the topic, which is part of it.
    producer: BaseProducer<C>,
}

impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> Outlet<C> {
    /// `topic` as `producer` is set.
    ///
    /// # Errors
    /// The client refuses the name.
    pub fn new(producer: BaseProducer<C>, topic: &str) -> Result<Self, KafkaError> {
        let name = CString::new(topic).map_err(KafkaError::Nul)?;
        // SAFETY: the client lives, the name ends in a zero, and without settings of its own the topic has the client's.
        let topic = unsafe { sys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        // SAFETY: asking for the calling thread's last error has no conditions.
        let topic = NonNull::new(topic).ok_or_else(|| KafkaError::ClientCreation(last_error().to_string()))?;
        Ok(Self { topic, producer })
    }

    /// Hands over a record without headers; `opaque` comes back with its acknowledgement.
    ///
    /// # Errors
    /// Why the client does not take it.
    pub fn send(
        &self,
        partition: i32,
        key: Option<&[u8]>,
        value: &[u8],
        opaque: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        let (key, key_length) = key.map_or((ptr::null(), 0), |key| (key.as_ptr().cast(), key.len()));
        // SAFETY: the topic lives; key and value are only read, and copied before the call returns.
        let answer = unsafe {
            sys::rd_kafka_produce(
                self.topic.as_ptr(),
                partition,
                COPY,
                value.as_ptr().cast_mut().cast(),
                value.len(),
                key,
                key_length,
                ptr::without_provenance_mut::<c_void>(opaque),
            )
        };
        if answer == 0 { Ok(()) } else { Err(last_error()) }
    }

    /// Hands over records without headers, keys and values, to one partition; what each met, in order. Once the client has no
    /// room, or does not know the partition, it takes none that follow; one that is too large is passed over.
    pub fn send_all(
        &self,
        partition: i32,
        records: &[(Option<&[u8]>, &[u8])],
        opaque: usize,
    ) -> Vec<Result<(), RDKafkaErrorCode>> {
        let message = |(key, value): &(Option<&[u8]>, &[u8])| sys::rd_kafka_message_t {
            err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: ptr::null_mut(),
            partition,
            payload: value.as_ptr().cast_mut().cast(),
            len: value.len(),
            key: key.map_or(ptr::null_mut(), |key| key.as_ptr().cast_mut().cast()),
            key_len: key.map_or(0, <[u8]>::len),
            offset: 0,
            _private: ptr::without_provenance_mut::<c_void>(opaque),
        };
        let mut messages: Vec<sys::rd_kafka_message_t> = records.iter().map(message).collect();
        let count = c_int::try_from(messages.len()).expect("fewer records than a queue holds");
        // SAFETY: the topic lives; keys and values are only read, and copied before the call returns; of the messages it reads
        // these fields, writes `err`, and keeps none.
        unsafe {
            sys::rd_kafka_produce_batch(self.topic.as_ptr(), partition, COPY, messages.as_mut_ptr(), count);
        }
        let answer = |message: sys::rd_kafka_message_t| match message.err {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(error.into()),
        };
        messages.into_iter().map(answer).collect()
    }

    /// The producer.
    pub fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> Drop for Outlet<C> {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_topic_new`, and its client lives.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

/// What the calling thread's last call met.
fn last_error() -> RDKafkaErrorCode {
    // SAFETY: it reads a variable of the thread's.
    unsafe { sys::rd_kafka_last_error() }.into()
}
