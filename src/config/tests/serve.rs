//! Who may reach the HTTP interface.

use super::*;

#[test]
fn a_listener_that_others_can_reach_wants_a_token_and_the_error_names_both_settings() {
    for host in ["0.0.0.0", "::", "10.1.2.3", "api.internal"] {
        let refused = given("").var("API_HOST", host).lines();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("serve.host") && refused[0].contains("serve.token"), "{refused:?}");
        given("").var("API_HOST", host).var("SENTRA__SERVE__TOKEN", "0123456789abcdef").load();
    }
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
        given("").var("API_HOST", host).load();
    }
}

#[test]
fn the_token_may_come_from_a_file_and_is_never_shown() {
    let inputs = given("");
    let file = inputs.file("token", "a-token-of-the-integrator\n");
    let config = inputs.var("SENTRA__SERVE__TOKEN_FILE", &file).load();
    assert_eq!(config.serve.token.as_ref().map(Secret::expose), Some("a-token-of-the-integrator"));
    assert!(!format!("{config:?}").contains("integrator"));
}
