//! `sentra snapshot list|inspect|verify` on a folder: what is there, what one says of itself, and every way in which one
//! cannot be restored. No broker is asked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// Transaction topic and verdict topic of the fixture.
const LOGS: &str = "4084ded4a3be4ee9b07bc55851ba44bf-06d7f332a46347d1bcd4062b5d55c499";

/// Its end and epoch.
const NAME: &str = "00000000000000000060-00000000000000000000.snapshot";

fn fixture() -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1.snapshot")).expect("the fixture")
}

/// A folder with that snapshot by that name.
fn kept(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let partition = home.path().join("snapshots").join(LOGS).join("0");
    fs::create_dir_all(&partition).expect("a folder");
    fs::write(partition.join(name), bytes).expect("written");
    home
}

fn snapshot(home: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.env_clear().current_dir(home).arg("snapshot").args(args);
    let Output { status, stdout, stderr } = command.output().expect("the binary");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn address() -> String {
    format!("{LOGS}/0/{NAME}")
}

#[test]
fn what_is_kept_is_listed_and_says_what_it_holds() {
    let home = kept(NAME, &fixture());
    let (code, listed, _) = snapshot(home.path(), &["list"]);
    assert_eq!(code, Some(0));
    assert_eq!(listed, format!("{}  up to offset 60, epoch 0, {} bytes\n", address(), fixture().len()));
    let (_, listed, _) = snapshot(home.path(), &["list", "--json", "--partition", "0"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((&listed[0]["snapshot"], &listed[0]["end"]), (&address().into(), &60.into()));
    let (code, listed, said) = snapshot(home.path(), &["list", "--partition", "1"]);
    assert_eq!((code, listed.as_str()), (Some(0), ""));
    assert!(said.contains("no snapshots at snapshots"), "{said}");

    let (code, said, _) = snapshot(home.path(), &["inspect", &address()]);
    assert_eq!(code, Some(0));
    for part in ["format             1\n", "phones             7\n", "0 of 1", "before offset 60", "a policy not named"]
    {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let (code, said, _) = snapshot(home.path(), &["verify"]);
    assert_eq!((code, said), (Some(0), format!("{}  ok, 7 phones\n", address())));
}

#[test]
fn what_cannot_be_restored_is_told_with_its_reason() {
    let renamed = NAME.replace("60-", "61-");
    let other_epoch = NAME.replace("00.", "05.");
    let (mut flipped, mut longer) = (fixture(), fixture());
    flipped[200] ^= 1;
    longer.push(0);
    let twice = [fixture(), fixture()].concat();
    let cut = fixture()[..fixture().len() - 1].to_vec();
    for (name, bytes, why) in [
        (NAME, &flipped, "checksum"),
        (NAME, &longer, "goes on behind its end"),
        (NAME, &twice, "it is damaged"),
        (NAME, &cut, "cut off"),
        (NAME, &b"no snapshot at all".to_vec(), "no snapshot of Sentra"),
        (renamed.as_str(), &fixture(), "its name is another snapshot's"),
        (other_epoch.as_str(), &fixture(), "its name is another snapshot's"),
    ] {
        let home = kept(name, bytes);
        let (code, said, _) = snapshot(home.path(), &["verify"]);
        assert_eq!(code, Some(1), "{why}: {said}");
        assert!(said.contains(why), "{why}: {said}");
        // What is whole says what it holds, by whatever name.
        let (code, _, said) = snapshot(home.path(), &["inspect", &format!("{LOGS}/0/{name}")]);
        let is_whole = why.contains("name");
        assert_eq!(code == Some(0), is_whole, "{why}: {said}");
        assert!(is_whole || said.contains(why), "{why}: {said}");
    }
    let home = kept(NAME, &fixture());
    fs::write(home.path().join("sentra.toml"), "[time]\nforget = \"90d\"\n").expect("written");
    let (code, said, _) = snapshot(home.path(), &["verify", &address()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("other settings"), "{said}");
    assert_eq!(snapshot(home.path(), &["inspect", "elsewhere"]).0, Some(2), "no address");
}
