//! What a client tells between its answers: log lines go to the log, and the last reason is kept, because an error
//! that comes back from a call is a bare code.

use std::sync::Mutex;

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
};

use super::{Held, Lifeline, explain::describe, tie};

/// The context of clients that need no callbacks of their own.
#[derive(Debug, Default)]
pub struct Session {
    last: Mutex<Option<Trouble>>,
    lifeline: Lifeline,
}

#[derive(Clone, Debug)]
struct Trouble {
    error: KafkaError,
    reason: String,
}

impl Session {
    /// A consumer that is set so, tied to its servers. It speaks to no broker yet.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn consumer(config: &ClientConfig) -> KafkaResult<BaseConsumer<Self>> {
        let consumer: BaseConsumer<Self> = config.create_with_context(Self::default())?;
        tie(consumer.client(), config)?;
        Ok(consumer)
    }

    /// Writes a line of librdkafka's to the log; for contexts of other parts too. All are for those who look closely:
    /// what matters comes back as an error and is told once, while an outage brings such a line at each new attempt.
    pub fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{line}");
    }

    /// The last trouble with the connection, as [`describe`] tells it, with librdkafka's own reason. Credentials that
    /// were refused stay in view until [`Session::forget`], since what follows them says less.
    pub fn last_trouble(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        last.as_ref().map(|trouble| match trouble.reason.is_empty() {
            true => describe(&trouble.error),
            false => format!("{} [{}]", describe(&trouble.error), trouble.reason),
        })
    }

    /// Why a call failed: the last trouble, where there was one, says more than its bare error.
    pub fn why(&self, error: &KafkaError) -> String {
        self.last_trouble().unwrap_or_else(|| describe(error))
    }

    /// Whether the broker, or the TLS handshake with it, refused what this client brought.
    pub fn credentials_refused(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        last.as_ref().is_some_and(|trouble| super::is_refused_credentials(&trouble.error))
    }

    /// Forgets the last trouble.
    pub fn forget(&self) {
        *self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }
}

impl Held for Session {
    fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }
}

impl ClientContext for Session {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Self::log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if matches!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::PartitionEOF)) {
            return;
        }
        tracing::debug!(target: "librdkafka", %error, reason);
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let keep = last.as_ref().is_some_and(|trouble| super::is_refused_credentials(&trouble.error));
        if !keep || super::is_refused_credentials(&error) {
            *last = Some(Trouble { error, reason: reason.to_owned() });
        }
    }
}

impl ConsumerContext for Session {}
