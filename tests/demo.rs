//! The demo as a user meets it: everything from one command, nothing left behind.

mod common;

use std::{fs, net::TcpStream, path::Path};

use common::{
    PATIENCE,
    curl::Curl,
    demo::{Demo, await_gone, lives, open_folder},
    line::until,
};

#[test]
fn a_demo_shows_alerts_and_where_everything_is_and_ctrl_c_leaves_nothing_running() {
    let folder = open_folder();
    let data = folder.path().join("data");
    let mut demo = Demo::start(&data, &[], &[]);
    demo.await_alert();
    let said = demo.err();
    for part in
        ["Kafka", &demo.variable("KAFKA_BOOTSTRAP_SERVERS"), "psql 'postgresql://sentra@/sentra?host=", "Ctrl-C"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let ready = said.lines().find_map(|line| line.trim().strip_prefix("Ready to begin after "));
    println!("the demo was ready to begin after {}", ready.and_then(|rest| rest.split(" s.").next()).expect("a time"));
    let postgres = demo.postgres();
    let (tree, ports) = (demo.tree(), ports(&demo));
    assert!(tree.contains(&postgres) && tree.len() > 3, "PostgreSQL and its own children: {tree:?}");
    assert!(ports.iter().all(|port| is_open(*port)), "{ports:?}");
    assert!(!user_of(postgres).starts_with('0'), "PostgreSQL never runs as root");
    demo.ctrl_c();
    assert!(demo.wait().success(), "{}", demo.err());
    let left: Vec<_> = tree.into_iter().filter(|pid| lives(*pid)).collect();
    assert!(left.is_empty(), "all of it is waited for: {left:?}");
    assert!(!ports.iter().any(|port| is_open(*port)), "{ports:?}");
    assert!(!data.join("env").exists(), "nothing names what is gone");
}

#[test]
fn sigterm_ends_it_in_order_too() {
    let folder = open_folder();
    let mut demo = Demo::start(&folder.path().join("data"), &[], &[]);
    let postgres = {
        demo.variable("DATABASE_URL");
        demo.postgres()
    };
    demo.signal(libc::SIGTERM);
    assert!(demo.wait().success(), "{}", demo.err());
    assert!(!lives(postgres));
}

#[test]
fn a_killed_demo_takes_its_postgresql_along_and_the_folder_serves_the_next() {
    let folder = open_folder();
    let data = folder.path().join("data");
    let mut demo = Demo::start(&data, &[], &[]);
    demo.await_alert();
    let postgres = demo.postgres();
    demo.signal(libc::SIGKILL);
    demo.wait();
    // The next one starts while the last one's database may still be writing its last page.
    let mut next = Demo::start(&data, &[], &[]);
    next.await_alert();
    await_gone(postgres);
    next.signal(libc::SIGINT);
    assert!(next.wait().success(), "{}", next.err());
}

#[test]
fn the_end_of_its_postgresql_is_the_demos() {
    let folder = open_folder();
    let mut demo = Demo::start(&folder.path().join("data"), &[], &[]);
    demo.await_alert();
    // SAFETY: kill takes plain numbers; the process is the demo's own.
    assert_eq!(unsafe { libc::kill(demo.postgres(), libc::SIGKILL) }, 0);
    assert_eq!(demo.wait().code(), Some(1));
    assert!(demo.err().contains("PostgreSQL ended by itself"), "{}", demo.err());
}

#[test]
fn run_twice_on_one_folder_it_stores_rows_both_times() {
    let folder = open_folder();
    let data = folder.path().join("data");
    let mut logs = Vec::new();
    for run in 1..=2 {
        let mut demo = Demo::start(&data, &[], &[]);
        let url = demo.variable("DATABASE_URL");
        let seen = || block_on(logs_of(&url)).filter(|logs| logs.len() == run);
        logs = until(2 * PATIENCE, || format!("rows of run {run}; it said:\n{}", demo.err()), seen);
        demo.signal(libc::SIGINT);
        assert!(demo.wait().success(), "{}", demo.err());
    }
    assert_ne!(logs[0], logs[1], "each start is another log");
}

#[test]
fn the_dashboard_asks_only_for_labels_that_a_running_sentra_gives() {
    let folder = open_folder();
    let demo = Demo::start(&folder.path().join("data"), &[], &[]);
    demo.await_alert();
    let own = demo.variable("SENTRA__TELEMETRY__LISTEN");
    let port = own.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let metrics = Curl::at(port).get("/metrics").text();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/sentra.json");
    let dashboard: serde_json::Value = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    let (mut checked, panels) = (0, dashboard["panels"].as_array().expect("panels"));
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default()) {
        let question = target["expr"].as_str().expect("a question");
        let Some(by) = question.split_once(" by (").and_then(|(_, rest)| rest.split(')').next()) else { continue };
        let name = question.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let name = name.into_iter().find(|word| word.starts_with("sentra_")).expect("a metric");
        // A metric with labels is told from its first value on; what no demo meets is not told here.
        let Some(line) = metrics.lines().find(|line| line.starts_with(&format!("{name}{{"))) else { continue };
        for label in by.split(", ").filter(|label| *label != "instance") {
            assert!(line.contains(&format!("{label}=\"")), "{question}: {line}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

/// The logs that the database has rows of; nothing where it cannot be asked.
async fn logs_of(url: &str) -> Option<Vec<String>> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.ok()?;
    tokio::spawn(connection);
    let rows = client.query("SELECT DISTINCT log FROM sentra.verdicts", &[]).await.ok()?;
    Some(rows.iter().map(|row| row.get(0)).collect())
}

/// Waits for a future that needs the network.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn a_second_demo_on_a_folder_is_refused_by_name() {
    let folder = open_folder();
    let data = folder.path().join("data");
    let mut first = Demo::start(&data, &[], &[]);
    first.variable("DATABASE_URL");
    let mut second = Demo::start_beside(&data, "second");
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.err().contains("a demo runs already on"), "{}", second.err());
    assert!(first.ended().is_none(), "the first is not disturbed");
}

#[test]
fn missing_binaries_are_refused_with_the_package_to_install() {
    let folder = open_folder();
    let mut demo = Demo::start(&folder.path().join("data"), &[("SENTRA_POSTGRES_BIN", "/nowhere")], &[]);
    assert_eq!(demo.wait().code(), Some(1));
    for part in ["/nowhere", "apt-get install postgresql"] {
        assert!(demo.err().contains(part), "{part}: {}", demo.err());
    }
}

/// Where it listens: the interface, telemetry, the broker.
fn ports(demo: &Demo) -> Vec<u16> {
    let names = ["API_PORT", "SENTRA__TELEMETRY__LISTEN", "KAFKA_BOOTSTRAP_SERVERS"];
    let port = |name| demo.variable(name).rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    names.map(port).to_vec()
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The user ids of a process.
fn user_of(pid: libc::pid_t) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a user");
    line.trim().to_owned()
}
