//! Records put into a topic one by one, exactly as given.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Message,
    error::RDKafkaErrorCode,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::{PATIENCE, client, kafka, line::until};

/// A record to be sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Where; `None` lets murmur2 of the key decide.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record's partition and offset, or why the broker refused it.
pub type Outcome = Result<(i32, i64), RDKafkaErrorCode>;

/// A producer that bounds no record itself: the broker's limits decide.
pub struct Sender(BaseProducer<Outcomes>);

#[derive(Default)]
struct Outcomes(Mutex<Vec<Outcome>>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().expect("a code")),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    }
}

impl Default for Sender {
    fn default() -> Self {
        let mut config = client(&[("bootstrap.servers", kafka())]);
        config.set("partitioner", "murmur2_random").set("message.max.bytes", "4000000").set("linger.ms", "0");
        Self(config.create_with_context(Outcomes::default()).expect("a producer"))
    }
}

impl Sender {
    /// Sends one record and waits for its acknowledgement.
    pub fn send(&self, topic: &str, record: &Sent) -> Outcome {
        self.queue(topic, record);
        until(
            PATIENCE,
            || String::from("an acknowledgement"),
            || {
                self.0.poll(Duration::from_millis(20));
                self.0.context().0.lock().unwrap_or_else(PoisonError::into_inner).pop()
            },
        )
    }

    /// Sends many and waits for all acknowledgements.
    pub fn send_all<'r>(&self, topic: &str, records: impl Iterator<Item = &'r Sent>) {
        records.for_each(|record| self.queue(topic, record));
        self.0.flush(PATIENCE).expect("acknowledgements");
        let outcomes = std::mem::take(&mut *self.0.context().0.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }

    fn queue(&self, topic: &str, sent: &Sent) {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.partition = sent.partition;
        record.key = sent.key.as_deref();
        record.payload = sent.value.as_deref();
        if !sent.headers.is_empty() {
            record.headers = Some(sent.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_deref() })
            }));
        }
        self.0.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
}

/// An ordinary transaction of customer `number`, with its phone as key.
pub fn good(number: u32, id: &str) -> Sent {
    let phone = format!("+2547{number:08}");
    let value = format!(
        r#"{{"transaction_id":"{id}","amount":150.5,"phone_number":"{phone}","timestamp":"2026-03-02T10:00:00+03:00","device_id":"d{number}","location":"Nairobi"}}"#
    );
    Sent { key: Some(phone.into_bytes()), value: Some(value.into_bytes()), ..Sent::default() }
}
