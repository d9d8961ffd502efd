//! Whether librdkafka knows a property and takes its value: asked of the library itself, so that a misspelt one is a
//! line at start and not a surprise later. Nothing connects.

use rdkafka::{ClientConfig, error::KafkaError};

/// Asks librdkafka about one property.
///
/// # Errors
/// The library's own words, which name the property and, of an enum, the value.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, why, _, _)) => Err(why),
        Err(other) => Err(other.to_string()),
    }
}
