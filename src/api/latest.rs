//! What the follower's newest verdict says about the line: which log, which model. A glance for health, not a store.

use std::sync::{Arc, Mutex, PoisonError};

use super::awaiting::{Awaiting, Place};
use crate::{
    domain::verdict::Head,
    feed::{Accepted, Listener},
};

/// The newest verdict that counted.
#[derive(Default)]
pub struct Latest(Mutex<Option<Arc<Accepted>>>);

impl Latest {
    /// The log's short name.
    pub fn log(&self) -> Option<String> {
        self.read(|head| Some(head.source.log.into_owned()))
    }

    /// The model's name and version.
    pub fn model(&self) -> Option<(String, String)> {
        self.read(|head| head.model.map(|model| (model.name.into_owned(), model.version.into_owned())))
    }

    fn read<T>(&self, pick: impl FnOnce(Head<'_>) -> Option<T>) -> Option<T> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        pick(Head::parse(&newest.value)?)
    }
}

impl Listener for Latest {
    fn accepted(&self, verdict: &Arc<Accepted>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(verdict));
    }
}

impl Listener for Awaiting<Arc<Accepted>> {
    fn accepted(&self, verdict: &Arc<Accepted>) {
        if self.is_idle() {
            return;
        }
        if let Some(id) = transaction_id(&verdict.value) {
            self.decided(id, Place { partition: verdict.partition, offset: verdict.source }, verdict);
        }
    }
}

/// The id, which our writers put first and which needs no escape; a verdict without one is of a record that no request
/// of ours could have made.
fn transaction_id(verdict: &[u8]) -> Option<&str> {
    let rest = verdict.strip_prefix(b"{\"transaction_id\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_from_the_verdicts_front() {
        assert_eq!(transaction_id(br#"{"transaction_id":"TXN-1","risk_score":3}"#), Some("TXN-1"));
        for other in [&br#"{"transaction_id":null,"risk_score":3}"#[..], b"", b"{}", br#"{"transaction_id":"cut"#] {
            assert_eq!(transaction_id(other), None);
        }
    }
}
