//! docker-compose.yml and the image, read for the traps that nobody sees before the first restart. Nothing is run here;
//! `scripts/test` also asks docker-compose itself, where it is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::Path,
};

use clap::Parser;
use sentra::{
    cli::Cli,
    config::{Config, Inputs},
};

const SERVICES: [&str; 5] = ["kafka", "postgres", "topics", "migrate", "sentra"];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The lines below a key, without comments, as they stand: of YAML only what this file of ours uses.
fn below(lines: &[String], key: &str) -> Vec<String> {
    let begins = |line: &String| {
        let line = line.trim_start();
        line.strip_prefix(key).is_some_and(|rest| rest == ":" || rest.starts_with(": &"))
    };
    let Some(at) = lines.iter().position(begins) else { return Vec::new() };
    let depth = indent(&lines[at]);
    lines[at + 1..].iter().take_while(|line| indent(line) > depth).cloned().collect()
}

fn compose() -> Vec<String> {
    let text = file("docker-compose.yml");
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

/// A service's lines, those that all of Sentra's share included.
fn service(name: &str) -> Vec<String> {
    let all = compose();
    let own = below(&below(&all, "services"), name);
    assert!(!own.is_empty(), "no service {name}");
    let shared = own.iter().any(|line| line.trim() == "<<: *sentra");
    own.into_iter().chain(if shared { below(&all, "x-sentra") } else { Vec::new() }).collect()
}

/// `key: value` pairs of a service's environment, merged ones included.
fn environment(name: &str) -> BTreeMap<String, String> {
    let lines = service(name);
    let mut all = below(&lines, "environment");
    if all.iter().any(|line| line.trim() == "<<: *environment") {
        all.extend(below(&below(&compose(), "x-sentra"), "environment"));
    }
    let pairs = all.iter().filter_map(|line| line.trim().split_once(": "));
    pairs
        .filter(|(name, _)| *name != "<<")
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// The items of a service's list.
fn items(name: &str, key: &str) -> Vec<String> {
    let lines = below(&service(name), key);
    lines
        .iter()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map(|item| item.trim_matches('"').to_owned())
        .collect()
}

/// The words of `key: ["a", "b"]`.
fn words(name: &str, key: &str) -> Vec<String> {
    let lines = service(name);
    let list = lines.iter().find_map(|line| line.trim().strip_prefix(&format!("{key}: ["))).expect(key);
    list.trim_end_matches(']').split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
}

fn line_of(name: &str, key: &str) -> String {
    let lines = service(name);
    let found = lines.iter().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
    found.unwrap_or_else(|| panic!("{name} has no {key}")).to_owned()
}

#[test]
fn what_must_outlive_a_container_is_in_a_volume_where_its_image_really_writes() {
    let image = line_of("postgres", "image");
    let major: u32 = image.strip_prefix("postgres:").and_then(|tag| tag.parse().ok()).expect("postgres:MAJOR");
    assert!(major >= 18);
    // Below 18 it was /var/lib/postgresql/data: mounted there, 18's data would go with the container.
    assert_eq!(items("postgres", "volumes"), ["postgres-data:/var/lib/postgresql"]);
    // Kafka's image writes below /tmp unless it is told.
    let folder = environment("kafka")["KAFKA_LOG_DIRS"].clone();
    assert_eq!(items("kafka", "volumes"), [format!("kafka-data:{folder}")]);
    assert!(!folder.starts_with("/tmp"));
    for volume in ["kafka-data:", "postgres-data:", "snapshots:"] {
        assert!(compose().iter().any(|line| line.trim() == volume && indent(line) == 2), "{volume} is declared");
    }
}

#[test]
fn the_score_role_may_write_where_it_keeps_snapshots_and_locks_though_the_rest_is_read_only() {
    let wanted = environment("sentra").remove("SENTRA__SNAPSHOTS__LOCATION").expect("a place of its own");
    let mounts: Vec<String> = items("sentra", "volumes");
    let folders = mounts.iter().filter_map(|mount| mount.split(':').nth(1));
    let below_one = folders.into_iter().any(|folder| Path::new(&wanted).starts_with(folder));
    assert_eq!(line_of("sentra", "read_only"), "true");
    assert!(below_one, "{wanted} is below none of {mounts:?}, and everything else is read-only");
    assert_eq!(items("sentra", "tmpfs"), ["/tmp"], "instances lock there");
    assert_eq!(line_of("sentra", "hostname"), "sentra", "a container made anew is the same host to its group");
    // A volume takes its first owner from the image's folder, which must be the user's.
    let image = file("deploy/Dockerfile");
    let (build, last) = image.rsplit_once("\nFROM ").expect("stages");
    assert!(build.contains("mkdir -p /out/lib /out/data/snapshots"));
    assert!(last.contains("COPY --from=build --chown=nonroot:nonroot /out/data/ /var/lib/sentra/\n"));
    assert!(last.contains(&format!("SENTRA__SNAPSHOTS__LOCATION={wanted}\n")), "the image alone works too");
}

#[test]
fn secrets_are_files_that_are_never_committed_and_stand_in_no_variable() {
    let all = compose();
    let at = all.iter().position(|line| line == "secrets:").expect("secrets");
    let declared: BTreeMap<String, String> = all[at + 1..]
        .chunks(2)
        .take_while(|pair| indent(&pair[0]) == 2)
        .map(|pair| {
            (pair[0].trim().trim_end_matches(':').to_owned(), pair[1].trim().trim_start_matches("file: ").to_owned())
        })
        .collect();
    let ignored = file(".gitignore");
    let made = file("deploy/secrets.sh");
    for (name, path) in &declared {
        assert_eq!(path, &format!("./deploy/secrets/{name}"));
        assert!(made.contains(name.as_str()), "deploy/secrets.sh makes {name}");
    }
    assert!(ignored.lines().any(|line| line == "/deploy/secrets/"));
    for name in SERVICES {
        let given: BTreeSet<String> = items(name, "secrets").into_iter().collect();
        for (variable, value) in environment(name) {
            if let Some(secret) = value.strip_prefix("/run/secrets/") {
                assert!(variable.ends_with("_FILE") && given.contains(secret), "{name}: {variable} reads {secret}");
                assert!(declared.contains_key(secret), "{secret} is declared");
            }
            let telling = ["PASSWORD", "TOKEN", "SECRET", "DATABASE_URL"].iter().any(|word| variable.contains(word));
            assert!(
                !telling || variable.ends_with("_FILE"),
                "{name}: {variable} would show a secret to `docker inspect`"
            );
        }
    }
}

#[test]
fn nothing_listens_beyond_this_machine() {
    for name in SERVICES {
        for port in items(name, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn what_lasts_is_watched_and_nothing_starts_before_what_it_needs() {
    for name in ["kafka", "postgres", "sentra"] {
        let check = below(&service(name), "healthcheck");
        for key in ["test:", "interval:", "retries:", "start_period:"] {
            assert!(check.iter().any(|line| line.trim().starts_with(key)), "{name}: {key}");
        }
        assert_eq!(line_of(name, "restart"), "unless-stopped");
    }
    for (name, needs, state) in [
        ("topics", "kafka", "service_healthy"),
        ("migrate", "postgres", "service_healthy"),
        ("sentra", "topics", "service_completed_successfully"),
        ("sentra", "migrate", "service_completed_successfully"),
    ] {
        let condition = below(&below(&service(name), "depends_on"), needs);
        assert_eq!(condition.first().map(|line| line.trim()), Some(format!("condition: {state}").as_str()), "{name}");
    }
}

#[test]
fn every_command_and_every_variable_is_one_that_sentra_knows() {
    let secrets = tempfile::tempdir().expect("a folder");
    for name in ["topics", "migrate", "sentra"] {
        let command = std::iter::once(String::from("sentra")).chain(words(name, "command"));
        Cli::try_parse_from(command).unwrap_or_else(|error| panic!("{name}: {error}"));
        let variables = environment(name).into_iter().map(|(variable, value)| {
            let Some(secret) = value.strip_prefix("/run/secrets/") else { return (variable, OsString::from(value)) };
            let path = secrets.path().join(secret);
            let url = "postgres://sentra:a-secret-of-the-test@postgres:5432/sentra";
            let text = if secret == "database_url" { url } else { "0123456789abcdef0123456789abcdef" };
            fs::write(&path, text).expect("written");
            (variable, path.into_os_string())
        });
        let inputs = Inputs { variables: variables.collect(), ..Inputs::default() };
        let config = Config::load(&inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(config.sink.database_url.is_some(), "{name}");
        assert_eq!(config.kafka.bootstrap_servers, "kafka:19092");
    }
    assert_eq!(words("sentra", "command"), ["run", "--roles", "score,sink,serve"]);
}

#[test]
fn the_broker_is_the_one_that_the_tests_run_on() {
    let pom = file("deploy/kafka/pom.xml");
    let version = pom.split("<kafka.version>").nth(1).and_then(|rest| rest.split('<').next()).expect("a version");
    assert_eq!(line_of("kafka", "image"), format!("apache/kafka:{version}"));
}

#[test]
fn the_image_runs_the_program_itself_as_nobody_in_particular() {
    let dockerfile = file("deploy/Dockerfile");
    let last: Vec<&str> = dockerfile.split("\nFROM ").last().expect("stages").lines().collect();
    assert!(last[0].starts_with("gcr.io/distroless/cc-"), "{}", last[0]);
    assert!(last.contains(&"USER nonroot"));
    // Dependencies and program by one profile, or the first layer would be of no use.
    for step in
        ["cargo chef cook --profile dist --locked", "cargo build --profile dist --locked", "cp target/dist/sentra "]
    {
        assert!(dockerfile.contains(step), "{step}");
    }
    let program = "/opt/sentra/bin/sentra";
    assert!(last.contains(&format!("ENTRYPOINT [\"{program}\"]").as_str()));
    assert_eq!(words("sentra", "test"), ["CMD", program, "health"], "without a shell only the program can be asked");
    assert!(dockerfile.contains(&format!("CMD [\"{program}\", \"health\"]")));
}

#[test]
fn the_image_is_built_from_all_that_the_program_includes() {
    let allowed: BTreeSet<String> =
        file(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    let mut wanted: BTreeSet<String> = ["Cargo.toml", "Cargo.lock", "src", "models"].map(str::to_owned).into();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") && !is_test(&entry) {
                wanted.extend(included(&entry));
            }
        }
    }
    assert!(wanted.contains("migrations") && wanted.contains("schemas"), "{wanted:?}");
    for folder in &wanted {
        assert!(allowed.contains(folder), ".dockerignore keeps {folder} out of the image");
    }
    assert!(!allowed.contains("deploy"), "secrets stay out");
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// The folders at the top that a source file takes something from when it is compiled.
fn included(source: &Path) -> Vec<String> {
    let text = fs::read_to_string(source).expect("UTF-8");
    let paths = text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1));
    let climbing = paths.filter_map(|rest| rest.split('"').next()).filter(|path| path.starts_with("../../"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tops = climbing.filter_map(|path| {
        let full = source.parent()?.join(path).canonicalize().ok()?;
        Some(full.strip_prefix(root.canonicalize().ok()?).ok()?.components().next()?.as_os_str().to_str()?.to_owned())
    });
    let embedded =
        text.split("embed_migrations!(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    tops.chain(embedded).collect()
}
