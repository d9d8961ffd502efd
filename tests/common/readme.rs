//! What the README has to be pasted, and a Python to paste it into.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The README's one block in that language with these words in it, as it stands there.
pub fn block(language: &str, words: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<&str> = blocks.filter(|block| block.contains(words)).collect();
    assert_eq!(found.len(), 1, "one {language} block with {words}");
    found[0].to_owned()
}

/// A Python that has `module`, by installing `package` into a virtual environment beside the build.
pub fn python(module: &str, package: &str) -> PathBuf {
    let name = module.split('.').next().unwrap_or(module);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}"));
    let python = home.join("bin/python");
    let has_it = || {
        let asked = Command::new(&python).args(["-c", &format!("import {module}")]).output();
        asked.is_ok_and(|asked| asked.status.success())
    };
    if !has_it() {
        let run = |program: &Path, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).output().expect("python3 is installed");
            assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run(Path::new("python3"), &["-m", "venv", &home.display().to_string()]);
        run(&home.join("bin/pip"), &["install", "-q", package]);
    }
    python
}
