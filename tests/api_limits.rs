//! Limits of the HTTP interface that the system or the protocol sets: open files, a request's head.

mod common;

use std::fs;

use common::{
    curl::Curl,
    line::{Sentra, Setup, Topics},
};

#[test]
fn the_limit_of_open_files_is_raised_for_all_connections_and_where_it_cannot_be_that_is_told() {
    let topics = Topics::create("api.files", 1);
    let soft_limit = |process: &Sentra| -> u64 {
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).expect("Linux");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("the limit");
        line.split_whitespace().next().and_then(|soft| soft.parse().ok()).expect("a number")
    };
    let most = [("SENTRA__SERVE__MAX_CONNECTIONS", "300"), ("SENTRA__SERVE__FEED_CLIENTS", "100")];
    let setup = || most.iter().fold(Setup::new(&topics).roles("serve"), |setup, (name, value)| setup.with(name, value));
    let (enough, short) = (setup().files(256, 4_096), setup().files(256, 640));
    let (raised, told) = (enough.start(), short.start());
    Curl::new(&enough).await_ready(&raised);
    Curl::new(&short).await_ready(&told);
    assert_eq!((soft_limit(&raised), soft_limit(&told)), (300 + 100 + 512, 640));
    assert!(!raised.log().contains("open fewer files"), "{}", raised.log());
    for part in ["open fewer files", "serve.max_connections", "\"allowed\":640", "\"needed\":912"] {
        assert!(told.log().contains(part), "{part}: {}", told.log());
    }
}

#[test]
fn a_head_that_is_too_large_is_a_431_and_the_next_request_is_answered() {
    let topics = Topics::create("api.head", 1);
    let setup = Setup::new(&topics).roles("serve");
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    // A head that comes at once may be read a little beyond the limit.
    let long = format!("X-Long: {}", "x".repeat(40 * 1_024));
    let many: Vec<String> = (0..70).flat_map(|n| [String::from("-H"), format!("X-{n}: y")]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (what, headers) in [("a long one", &["-H", &long, "-H", &long][..]), ("many", &many)] {
        let reply = curl.run("/v1/health", headers, None);
        assert_eq!(reply.code, 431, "{what}: {}", reply.text());
    }
    let room = format!("X-Long: {}", "x".repeat(28 * 1_024));
    assert_eq!(curl.run("/v1/health", &["-H", &room], None).code, 200, "below the limit");
}
