//! Rules of the tree that no compiler holds: the import wall round the pure core, sizes, and what stands where.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the pure core may not name: I/O, clocks, the environment, chance, logging, and the modules above it.
const FORBIDDEN: [&str; 22] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "time::Instant",
    "SystemTime",
    "now_utc",
    "tokio",
    "rdkafka",
    "tracing",
    "prometheus",
    "println!",
    "rand::",
    "rand_chacha",
    "crate::kafka",
    "crate::shard",
    "crate::train",
    "crate::telemetry",
    "crate::config",
    "crate::cli",
    "crate::bench",
];

/// Files of `model` that do what the wall is there to keep out of the others, and what each may name.
const EXEMPT: [(&str, &str); 1] = [("src/model/folder.rs", "std::fs")];

const MOST_FILE_LINES: usize = 400;

const MOST_FUNCTION_LINES: usize = 70;

const TOP_LEVEL: [&str; 8] =
    ["Cargo.toml", "src", "migrations", "models", "schemas", "tests", "docker-compose.yml", "README.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, as a path from the root, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries: Vec<PathBuf> =
            fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("readable").path()).collect();
        for path in entries {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found.sort();
    found
}

/// The lines of code with their numbers: no comments, no text in quotes, nothing from `#[cfg(test)]` on.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> {
    let own = text.lines().take_while(|line| line.trim() != "#[cfg(test)]" || is_declaration(text, line));
    own.enumerate().map(|(at, line)| (at + 1, without_text(line)))
}

/// `#[cfg(test)]` before `mod tests;` ends nothing: the module is another file.
fn is_declaration(text: &str, attribute: &str) -> bool {
    let after = text.lines().skip_while(|line| !std::ptr::eq(line.as_ptr(), attribute.as_ptr())).nth(1);
    after.is_some_and(|line| line.trim_start().starts_with("mod ") && line.ends_with(';'))
}

fn without_text(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => _ = letters.next(),
            '"' => quoted = !quoted,
            '\'' if !quoted => {
                // A quote, brace or backslash as a character; anything else may be a lifetime.
                let rest: String = letters.clone().take(3).collect();
                let skip = if rest.starts_with('\\') { 3 } else { 2 };
                if rest.chars().nth(skip - 1) == Some('\'') {
                    letters.nth(skip - 1);
                }
            }
            '/' if !quoted && letters.peek() == Some(&'/') => break,
            letter if !quoted => out.push(letter),
            _ => {}
        }
    }
    out
}

/// Files that hold tests only, declared `#[cfg(test)]` by their parents.
fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.ends_with("properties.rs")
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// What of the wall a file names.
fn beyond_the_wall(name: &str, text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in code(text) {
        for word in FORBIDDEN {
            if line.contains(word) && !EXEMPT.contains(&(name, word)) {
                offences.push(format!("{name}:{number} names {word}"));
            }
        }
    }
    offences
}

/// Functions longer than allowed, by counting braces from the line that declares one.
fn long_functions(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<(usize, String)> = code(text).collect();
    let mut offences = Vec::new();
    for (at, (number, line)) in lines.iter().enumerate() {
        if !line.trim_start().starts_with("fn ") && !line.contains(" fn ") {
            continue;
        }
        let (mut depth, mut opened, mut length) = (0_i64, false, 0);
        for (_, line) in &lines[at..] {
            length += 1;
            depth += line.matches('{').count() as i64 - line.matches('}').count() as i64;
            opened |= line.contains('{');
            if (opened && depth <= 0) || (!opened && line.trim_end().ends_with(';')) {
                break;
            }
        }
        if length > MOST_FUNCTION_LINES {
            offences.push(format!("{name}:{number} is a function of {length} lines"));
        }
    }
    offences
}

#[test]
fn the_pure_core_names_no_io_no_clock_and_nothing_above_it() {
    let core = ["src/domain", "src/model", "src/engine"].into_iter().flat_map(sources);
    let offences: Vec<String> =
        core.filter(|(name, _)| !is_test_file(name)).flat_map(|(name, text)| beyond_the_wall(&name, &text)).collect();
    report(&offences);
}

#[test]
fn domain_knows_neither_model_nor_engine_and_model_no_engine() {
    let mut offences = Vec::new();
    for (folder, above) in [("src/domain", ["crate::model", "crate::engine"]), ("src/model", ["crate::engine"; 2])] {
        for (name, text) in sources(folder) {
            let named = code(&text).filter(|(_, line)| above.iter().any(|word| line.contains(word)));
            offences.extend(named.map(|(number, _)| format!("{name}:{number} names a module above it")));
        }
    }
    report(&offences);
}

#[test]
fn topic_ids_are_asked_for_in_one_place_which_knows_the_embedded_broker_too() {
    let all = sources("src").into_iter().filter(|(name, _)| !name.starts_with("src/kafka/topic_id"));
    let asking = all.filter(|(_, text)| code(text).any(|(_, line)| line.contains(" topic_id(")));
    assert_eq!(asking.map(|(name, _)| name).collect::<Vec<_>>(), ["src/kafka/identity.rs"]);
}

#[test]
fn files_and_functions_are_short() {
    let mut offences = Vec::new();
    for (name, text) in sources("src") {
        let lines = text.lines().count();
        if lines > MOST_FILE_LINES {
            offences.push(format!("{name} has {lines} lines"));
        }
        offences.extend(long_functions(&name, &text));
    }
    report(&offences);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut offences = Vec::new();
    for (name, text) in sources("src").into_iter().filter(|(name, _)| !is_test_file(name)) {
        let unwraps = code(&text).filter(|(_, line)| line.contains(".unwrap()"));
        offences.extend(unwraps.map(|(number, _)| format!("{name}:{number} unwraps")));
    }
    report(&offences);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources("src").into_iter().filter(|(_, text)| {
        let head = text.lines().next().unwrap_or_default();
        !head.starts_with("//! ") || head.len() < 20
    });
    report(&silent.map(|(name, _)| format!("{name} does not begin with a sentence about itself")).collect::<Vec<_>>());
}

#[test]
fn what_a_reader_looks_for_stands_at_the_top() {
    let missing = TOP_LEVEL.into_iter().filter(|entry| !root().join(entry).exists());
    report(&missing.map(|entry| format!("{entry} is missing")).collect::<Vec<_>>());
}

#[test]
fn the_rules_catch_what_they_are_for() {
    let offending = "//! x\nuse std::fs;\n// std::net in a comment\nlet a = \"tokio\";\n#[cfg(test)]\nmod tests {\n use std::env;\n}\n";
    assert_eq!(beyond_the_wall("src/engine/x.rs", offending), ["src/engine/x.rs:2 names std::fs"]);
    assert!(beyond_the_wall("src/model/folder.rs", offending).is_empty());
    let long = format!("fn long() {{\n{}}}\nfn short() {{\n}}\n", "    call('{');\n".repeat(MOST_FUNCTION_LINES));
    assert_eq!(long_functions("x.rs", &long), ["x.rs:1 is a function of 72 lines"]);
}
