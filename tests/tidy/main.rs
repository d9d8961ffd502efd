//! Rules of the tree that no compiler holds: the import wall round the pure core, sizes, and what stands where.

mod paths;
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use paths::{Named, named};
use source::code;

/// What each module of the pure core may name of this crate: itself and what is below it.
const CORE: [(&str, &[&str]); 3] = [
    ("domain", &["crate::domain"]),
    ("model", &["crate::domain", "crate::model"]),
    ("engine", &["crate::domain", "crate::model", "crate::engine"]),
];

/// What the core may name of the standard library, from `core` and `alloc`, too: values, and no I/O, clock, thread,
/// process, environment or network. `io::Result` is what encoders into memory answer, `arch` has the processor's vectors.
const STANDARD: [&str; 22] = [
    "arch::x86_64",
    "array",
    "borrow",
    "cmp",
    "collections",
    "f64::consts",
    "fmt",
    "hash::BuildHasher",
    "hash::Hash",
    "hash::Hasher",
    "hint::black_box",
    "io::Result",
    "iter",
    "marker::PhantomData",
    "mem",
    "num",
    "ops",
    "slice",
    "str",
    "sync::Arc",
    "sync::LazyLock",
    "time::Duration",
];

/// The dependencies that the core may name: encodings, hashes, tables and the trees' library. `time` is for its calendar.
const CRATES: [&str; 16] = [
    "bytes",
    "caseless",
    "crc32c",
    "foldhash",
    "hashbrown",
    "libm",
    "lightgbm3",
    "serde",
    "serde_json",
    "sha2",
    "siphasher",
    "thiserror",
    "time",
    "unicode_normalization",
    "xxhash_rust",
    "zstd",
];

/// Ends of paths that ask a clock, wherever they come from, and the macros that write to a stream.
const CLOCKS: [&str; 3] = ["::now", "::now_utc", "::now_local"];
const WRITERS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Files of `model` that do what the wall is there to keep out of the others, and what each may name.
const EXEMPT: [(&str, &str); 4] = [
    ("src/model/folder.rs", "std::fs"),
    ("src/model/folder.rs", "std::io"),
    ("src/model/folder.rs", "std::path"),
    ("src/model/error.rs", "std::path"),
];

const MOST_FILE_LINES: usize = 400;

const MOST_FUNCTION_LINES: usize = 70;

/// Where files are written by hand, and how their names end. A program without an ending is a script.
const BY_HAND: [(&str, &[&str]); 6] = [
    ("src", &["rs", "js", "css", "html"]),
    ("tests", &["rs", "mjs", "sql"]),
    ("scripts", &["", "sh"]),
    ("benches", &["rs"]),
    ("fuzz", &["rs"]),
    ("migrations", &["sql"]),
];

const TOP_LEVEL: [&str; 8] =
    ["Cargo.toml", "src", "migrations", "models", "schemas", "tests", "docker-compose.yml", "README.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends in one of `extensions`, as a path from the root, with its text.
fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries: Vec<PathBuf> =
            fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("readable").path()).collect();
        for path in entries {
            let extension = path.extension().unwrap_or_default().to_str().expect("UTF-8");
            if path.is_dir() {
                open.push(path);
            } else if extensions.contains(&extension) {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found.sort();
    found
}

/// Every Rust file below `folder`.
fn sources(folder: &str) -> Vec<(String, String)> {
    files(folder, &["rs"])
}

/// The modules that hold tests only, as paths without their ending: their parents declare them `#[cfg(test)]`.
fn test_modules() -> Vec<String> {
    let mut modules = Vec::new();
    for (name, text) in sources("src") {
        let own = name.strip_suffix(".rs").expect("a Rust file");
        let (beside, _) = own.rsplit_once('/').expect("below src");
        let below =
            if ["mod", "lib", "main"].iter().any(|root| own == format!("{beside}/{root}")) { beside } else { own };
        for declared in text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next()) {
            if let Some((_, module)) = declared.strip_suffix(';').and_then(|declared| declared.rsplit_once("mod ")) {
                modules.push(format!("{below}/{module}"));
            } else if let Some(path) = declared.strip_prefix("#[path = \"") {
                modules.push(format!("{beside}/{}", path.trim_end_matches(".rs\"]")));
            }
        }
    }
    modules
}

/// Every Rust file below `folder` that is not for tests alone.
fn product(folder: &str) -> impl Iterator<Item = (String, String)> + use<> {
    let tests = test_modules();
    let is_test = move |name: &str| {
        let rest = |module: &String| {
            name.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        tests.iter().any(rest)
    };
    sources(folder).into_iter().filter(move |(name, _)| !is_test(name))
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// What a file of the core names beyond its wall.
fn beyond_the_wall(name: &str, text: &str) -> Vec<String> {
    let below_src: Vec<&str> = name.trim_start_matches("src/").split('/').collect();
    let (_, own) = CORE.into_iter().find(|(module, _)| *module == below_src[0]).expect("a module of the core");
    let depth = below_src.len() - usize::from(name.ends_with("/mod.rs"));
    let forbidden = dependencies();
    let is_beyond = |path: &str| {
        let (head, rest) = path.split_once("::").unwrap_or((path, ""));
        match head {
            "crate" => !own.iter().any(|allowed| is_within(path, allowed)),
            "std" | "core" | "alloc" => !STANDARD.iter().any(|allowed| is_within(rest, allowed)),
            _ => {
                let asks = CLOCKS.iter().any(|clock| path.ends_with(clock));
                forbidden.contains(head) || WRITERS.contains(&head) || asks
            }
        }
    };
    let offences = named(&code(text), depth).into_iter().filter(|named| is_beyond(&named.path));
    let offences =
        offences.filter(|named| !EXEMPT.iter().any(|(file, allowed)| *file == name && is_within(&named.path, allowed)));
    offences.map(|Named { line, path }| format!("{name}:{line} names {path}")).collect()
}

fn is_within(path: &str, allowed: &str) -> bool {
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The dependencies that the core may not name, as code spells them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("UTF-8");
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    let all = lines.filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")));
    all.filter(|name| !CRATES.contains(&name.as_str())).collect()
}

/// Functions longer than allowed, by counting braces from the line that declares one.
fn long_functions(name: &str, text: &str) -> Vec<String> {
    let lines = code(text);
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
    let core = CORE.into_iter().flat_map(|(module, _)| product(&format!("src/{module}")));
    let offences: Vec<String> = core.flat_map(|(name, text)| beyond_the_wall(&name, &text)).collect();
    report(&offences);
}

#[test]
fn topic_ids_are_asked_for_in_one_place_which_knows_the_embedded_broker_too() {
    let all = sources("src").into_iter().filter(|(name, _)| !name.starts_with("src/kafka/topic_id"));
    let asking = all.filter(|(_, text)| code(text).iter().any(|(_, line)| line.contains(" topic_id(")));
    assert_eq!(asking.map(|(name, _)| name).collect::<Vec<_>>(), ["src/kafka/identity.rs"]);
}

#[test]
fn files_are_short() {
    let by_hand = BY_HAND.into_iter().flat_map(|(folder, extensions)| files(folder, extensions));
    let long = by_hand.map(|(name, text)| (name, text.lines().count())).filter(|(_, lines)| *lines > MOST_FILE_LINES);
    report(&long.map(|(name, lines)| format!("{name} has {lines} lines")).collect::<Vec<_>>());
}

#[test]
fn functions_are_short() {
    report(&sources("src").iter().flat_map(|(name, text)| long_functions(name, text)).collect::<Vec<_>>());
}

#[test]
fn public_items_must_be_documented() {
    // With the lints of scripts/test, which deny warnings.
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("UTF-8");
    assert!(code(&library).iter().any(|(_, line)| line == "#![warn(missing_docs)]"));
}

#[test]
fn files_are_for_tests_alone_where_they_are_declared_so_whatever_they_are_called() {
    let product: BTreeSet<String> = product("src").map(|(name, _)| name).collect();
    for (name, expected) in [
        ("src/config/properties.rs", true),
        ("src/config/tests/properties.rs", false),
        ("src/domain/decode/properties.rs", false),
        ("src/model/bytes_tests.rs", false),
        ("src/shard/tests.rs", false),
    ] {
        assert!(root().join(name).is_file(), "{name} is gone");
        assert_eq!(product.contains(name), expected, "{name}");
    }
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut offences = Vec::new();
    for (name, text) in product("src") {
        let unwraps = code(&text).into_iter().filter(|(_, line)| line.contains(".unwrap()"));
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
fn the_wall_catches_what_it_is_for() {
    for (line, named) in [
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, fs};", "std::fs"),
        ("use std::{\n    fmt,\n    io::{self as streams, Result},\n};", "std::io"),
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("use std::time::*;", "std::time::*"),
        ("use std as system;", "std"),
        ("use ::core::time;", "core::time"),
        ("let n = std::thread::available_parallelism();", "std::thread::available_parallelism"),
        ("use std::{process, env::{self, var}};", "std::process"),
        ("use crate::{\n    domain::phone::Phone,\n    kafka::{self, client},\n};", "crate::kafka"),
        ("use crate::snapshot::Depot;", "crate::snapshot::Depot"),
        ("use crate::{domain, *};", "crate::*"),
        ("use super::super::store;", "crate::store"),
        ("let now = time::OffsetDateTime::now_utc();", "time::OffsetDateTime::now_utc"),
        ("tracing::info!(phone);", "tracing::info"),
        ("use rdkafka as log;", "rdkafka"),
        ("println!(\"{phone}\");", "println"),
        ("#[cfg(test)]\nuse std::env;\nuse std::net;", "std::net"),
        ("/* a comment */ use std::os::fd;", "std::os::fd"),
        ("let quote = '\"'; std::env::args();", "std::env::args"),
    ] {
        let caught = beyond_the_wall("src/engine/x.rs", line);
        assert!(caught.iter().any(|offence| offence.ends_with(&format!(" names {named}"))), "{line}: {caught:?}");
    }
}

#[test]
fn the_wall_lets_through_what_it_is_not_for() {
    for line in [
        "use crate::{domain::{self, phone::Phone}, engine::plan, model::forest};",
        "use std::{array, fmt, sync::{Arc, LazyLock}, time::Duration};",
        "use super::{plan, super::domain::time};",
        "pub(crate) fn now(&self) { self.clock.now() }",
        "// std::net in a comment\nlet a = (\"tokio::x\", r#\"std::fs \"quoted\" \"#, b'\"', '\\'');",
        "/* std::fs /* nested */ std::env */",
        "#[cfg(test)]\nmod tests {\n    use std::env;\n}",
        "    #[cfg(test)]\n    #[inline]\n    fn of(\n        a: u8,\n    ) -> u8 {\n        std::process::id();\n    }",
        "#[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod tests;",
    ] {
        assert_eq!(beyond_the_wall("src/engine/x.rs", line), Vec::<String>::new(), "{line}");
    }
    assert!(beyond_the_wall("src/model/folder.rs", "use std::fs;").is_empty());
    assert_eq!(beyond_the_wall("src/model/folder/x.rs", "use std::fs;").len(), 1);
    assert_eq!(beyond_the_wall("src/domain/x.rs", "use crate::{model, engine};").len(), 2);
    assert_eq!(beyond_the_wall("src/model/x.rs", "use crate::{model, engine};").len(), 1);
    assert_eq!(beyond_the_wall("src/engine/mod.rs", "use super::kafka;").len(), 1);
    assert!(beyond_the_wall("src/engine/x.rs", "use super::kafka;").is_empty(), "the engine's own, if there is one");
}

#[test]
fn a_long_function_is_caught() {
    let long = format!("fn long() {{\n{}}}\nfn short() {{\n}}\n", "    call('{');\n".repeat(MOST_FUNCTION_LINES));
    assert_eq!(long_functions("x.rs", &long), ["x.rs:1 is a function of 72 lines"]);
    let behind_a_test = format!("#[cfg(test)]\nfn of() {{\n    \"}}\";\n}}\n{long}");
    assert_eq!(long_functions("x.rs", &behind_a_test), ["x.rs:5 is a function of 72 lines"]);
}
