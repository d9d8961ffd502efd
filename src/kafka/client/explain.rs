//! From librdkafka's error codes to a sentence that names the setting to look at, and to what a caller should do.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

/// What the error means and which setting to look at, in one line without secrets.
pub fn describe(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => {
            // The value is left out: it may be a password.
            format!("kafka.properties.\"{name}\": {reason}; see librdkafka's CONFIGURATION.md")
        }
        KafkaError::ClientCreation(reason) => format!("no client could be made: {reason}; see kafka.properties"),
        error => match error.rdkafka_error_code() {
            Some(code) => match advice(code) {
                Some(advice) => format!("{advice} ({code})"),
                None => code.to_string(),
            },
            None => error.to_string(),
        },
    }
}

/// Whether the broker refused who we are (not what we may do), or TLS could not be agreed on.
pub fn is_refused_credentials(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL))
}

/// Whether waiting may help: the broker is away, busy, or electing.
pub fn is_transient(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::MessageTimedOut
                | Code::TimedOutQueue
                | Code::WaitingForCoordinator
                | Code::WaitCache
                | Code::Retry
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::ReplicaNotAvailable
                | Code::BrokerNotAvailable
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::KafkaStorageError
                | Code::OffsetNotAvailable
        )
    })
}

fn advice(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the broker refuses the credentials: check sasl.username, sasl.mechanism and security.protocol in \
             kafka.properties, and kafka.sasl_password"
        }
        Code::SSL => {
            "TLS with the broker failed: check ssl.ca.location and security.protocol in kafka.properties, and that \
             kafka.bootstrap_servers names the TLS listener by the name in its certificate"
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown => {
            "no broker answers: check kafka.bootstrap_servers, and security.protocol in kafka.properties"
        }
        Code::Resolve => "a host name is unknown: check kafka.bootstrap_servers",
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
            "the broker did not answer in time: check kafka.bootstrap_servers, and whether the broker is overloaded"
        }
        Code::TopicAuthorizationFailed => "this user may not use the topic: grant it the operation on the topic",
        Code::GroupAuthorizationFailed => "this user may not use the group: grant it Read on kafka.group",
        Code::ClusterAuthorizationFailed => {
            "this user may not do that on the cluster: grant it IdempotentWrite, or Create for `sentra topics apply`"
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownTopicId | Code::UnknownPartition => {
            "there is no such topic or partition, or this user may not see it: `sentra topics apply` creates it"
        }
        Code::MessageSizeTooLarge => {
            "the record is larger than may be sent: raise message.max.bytes in kafka.properties, or max.message.bytes of \
             the topic"
        }
        Code::OffsetOutOfRange | Code::AutoOffsetReset => "the log does not have that offset any more, or not yet",
        Code::PolicyViolation => "a policy of the broker's forbids it",
        Code::InvalidReplicationFactor => "there are fewer brokers than topics.replication wants",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn each_trouble_names_the_setting_to_look_at() {
        for (code, words) in [
            (Code::SaslAuthenticationFailed, "kafka.sasl_password"),
            (Code::Authentication, "sasl.mechanism"),
            (Code::SSL, "ssl.ca.location"),
            (Code::AllBrokersDown, "kafka.bootstrap_servers"),
            (Code::Resolve, "kafka.bootstrap_servers"),
            (Code::UnknownTopicOrPartition, "sentra topics apply"),
        ] {
            let text = describe(&KafkaError::Global(code));
            assert!(text.contains(words) && !text.contains('\n'), "{code:?}: {text}");
        }
    }

    #[test]
    fn a_property_is_named_without_its_value() {
        let mut client = ClientConfig::new();
        client.set("sasl.mechanismus", "hunter2");
        let error = client.create_native_config().err().expect("no such property");
        let text = describe(&error);
        assert!(text.contains("\"sasl.mechanismus\"") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn credentials_are_not_transient_and_an_absent_broker_is() {
        let refused = KafkaError::Global(Code::SaslAuthenticationFailed);
        assert!(is_refused_credentials(&refused) && !is_transient(&refused));
        let away = KafkaError::MessageConsumption(Code::BrokerTransportFailure);
        assert!(!is_refused_credentials(&away) && is_transient(&away));
    }
}
