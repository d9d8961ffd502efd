//! What `scripts/setup` installs by npm for the tests.

use std::{env, path::PathBuf};

/// The folder in which `node_modules` stands.
pub fn folder() -> PathBuf {
    let cache = env::var_os("SENTRA_CACHE").map(PathBuf::from).or_else(|| {
        let home = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache"))).map(|home| home.join("sentra"))
    });
    cache.expect("a home").join("browser")
}

/// A package's folder.
pub fn package(name: &str) -> PathBuf {
    let package = folder().join("node_modules").join(name);
    assert!(package.is_dir(), "{}: missing; scripts/setup installs it", package.display());
    package
}
