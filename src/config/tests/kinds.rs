//! Each kind of setting: what it shows, and what it refuses.

use super::*;

#[test]
fn durations_are_shown_as_people_write_them_and_read_back_the_same() {
    let kind = TIME_MAX_FUTURE.setting().kind;
    for text in ["90s", "5m", "24h", "25h", "2d", "180d", "250ms", "0ms", "off"] {
        let Ok(value::Value::Millis(ms)) = kind.parse(text, value::Shape::Untyped) else { panic!("{text}") };
        assert_eq!(kind.millis_text(ms), text);
    }
    for text in ["+03:00", "-05:30", "+00:00", "+14:00"] {
        let Ok(value::Value::Millis(ms)) = value::Kind::UtcOffset.parse(text, value::Shape::Untyped) else {
            panic!("{text}")
        };
        assert_eq!(value::Kind::UtcOffset.millis_text(ms), text);
    }
}

#[test]
fn each_kind_refuses_what_it_cannot_hold() {
    for (id, texts) in [
        (TIME_MAX_FUTURE, &["5", "5 m", "m", "-5m", "1.5h", "366d", "99999999999999999999d", "5M", ""][..]),
        (TIME_LATENESS, &["off", "0s", "999ms"]),
        (TIME_UTC_OFFSET, &["03:00", "+3:00", "+03:60", "+19:00", "+0300", "+é3:00", "EAT"]),
        (
            KAFKA_BOOTSTRAP_SERVERS,
            &["", "host", "host:", ":9092", "host:0", "host:70000", "a:1,,b:2", "http://h/x:1", "::1:9092"],
        ),
        (TOPICS_VERDICTS, &["", ".", "..", "a b", "a/b", "é"]),
        (WINDOWS_HOME_CURRENCY, &["kes", "KE", "KESH", "K3S"]),
        (WINDOWS_CALLING_CODE, &["+254", "0254", "2547", ""]),
        (WINDOWS_RING_CAP, &["63", "65537", "1e4", "0x40"]),
        (TELEMETRY_LISTEN, &["9464", "localhost:9464", "127.0.0.1", "on"]),
        (TELEMETRY_LOG, &["", "loud", "sentra=louder"]),
        (SERVE_HOST, &["", "127.0.0.1:8000", "http://localhost", "a b", "[::1]"]),
        (SERVE_TOKEN, &["", "fifteen_letters", "with a blank inside it", "grüße_aus_nairobi"]),
        (
            SERVE_CORS_ORIGINS,
            &[
                "",
                "*",
                "example.com",
                "https://a.example/",
                "https://A.example",
                "https://a.example,",
                "ftp://a",
                "https://a:0",
            ],
        ),
        (DEBUG, &["2", "*", "TRUE!"]),
        (ENVIRONMENT, &["prod", "Production", ""]),
    ] {
        for text in texts {
            let parsed = id.setting().kind.parse(text, value::Shape::Untyped);
            assert!(parsed.is_err(), "{}: {text:?} gave {parsed:?}", id.setting().key);
        }
    }
}

#[test]
fn origins_and_hosts_are_taken_as_browsers_and_people_write_them() {
    for text in ["https://console.example", "http://localhost:3000, https://[::1]:8443", "https://10.0.0.1"] {
        assert!(SERVE_CORS_ORIGINS.setting().kind.parse(text, value::Shape::Untyped).is_ok(), "{text}");
    }
    for text in ["localhost", "0.0.0.0", "::", "fd00::1", "api-1.internal"] {
        assert!(SERVE_HOST.setting().kind.parse(text, value::Shape::Untyped).is_ok(), "{text}");
    }
}
