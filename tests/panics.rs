//! A panic anywhere in a process that logs: one line of the log, with its place and nothing of its message.

use std::{process::Command, thread};

use sentra::{
    config::{Inputs, Settings},
    telemetry::init_log,
};

const PHONE: &str = "+254712345678";

/// What the test below has a process of its own do, for a hook is the whole process's.
#[test]
#[ignore = "run by the other test, in a process of its own"]
fn a_thread_that_panics() {
    let inputs = Inputs { set: vec![String::from("telemetry.format=json")], ..Inputs::default() };
    let config = Settings::load(&inputs).and_then(|settings| settings.config()).expect("a configuration");
    init_log(&config.telemetry).expect("the first one");
    let worker = thread::Builder::new().name(String::from("worker"));
    let failed = worker.spawn(|| panic!("no such customer: {PHONE}")).expect("a thread").join();
    assert!(failed.is_err());
}

#[test]
fn a_panic_is_a_line_of_the_log_with_its_place_and_nothing_of_its_message() {
    let itself = std::env::current_exe().expect("this test");
    let done = Command::new(itself)
        .args(["--exact", "a_thread_that_panics", "--ignored", "--nocapture"])
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [line] = &lines[..] else { panic!("one line, not {said}") };
    assert_eq!((&line["level"], &line["thread"]), (&"ERROR".into(), &"worker".into()));
    assert!(line["place"].as_str().is_some_and(|place| place.starts_with("tests/panics.rs:")), "{line}");
    assert!(!said.contains("712345678") && !said.contains("customer"), "{said}");
}
