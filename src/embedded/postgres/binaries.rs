//! Where PostgreSQL's server programs are, and whether they fit a folder. Packages keep them off the PATH, by version.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::PostgresError;

/// The oldest that the store works with.
const OLDEST: u32 = 14;

/// Names the folder of the binaries where it is none of the usual.
const VARIABLE: &str = "SENTRA_POSTGRES_BIN";

/// Where distributions put versions side by side: Debian and Ubuntu, then the others.
const VERSIONED: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];

/// The server programs of one version.
#[derive(Debug)]
pub(super) struct Binaries {
    /// Where initdb and postgres are.
    pub(super) folder: PathBuf,
    version: u32,
}

impl Binaries {
    /// The newest that will do.
    pub(super) fn find() -> Result<Self, PostgresError> {
        Self::among(&candidates())
    }

    fn among(folders: &[PathBuf]) -> Result<Self, PostgresError> {
        let whole =
            folders.iter().filter(|folder| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file()));
        let known = whole.filter_map(|folder| Some(Self { version: version(folder)?, folder: folder.clone() }));
        known.filter(|found| found.version >= OLDEST).max_by_key(|found| found.version).ok_or_else(|| {
            let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            PostgresError::Missing { oldest: OLDEST, looked: looked.join(", ") }
        })
    }

    /// Refuses a data folder of another major version, which PostgreSQL could not read.
    pub(super) fn fit(&self, data: &Path) -> Result<(), PostgresError> {
        let file = data.join("PG_VERSION");
        let made = fs::read_to_string(&file).map_err(|source| PostgresError::Folder { path: file, source })?;
        let made = made.trim().to_owned();
        if made == self.version.to_string() {
            return Ok(());
        }
        Err(PostgresError::Version { folder: data.to_owned(), made, have: self.version })
    }
}

fn candidates() -> Vec<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return vec![named.into()];
    }
    let mut folders = Vec::new();
    for (parent, child) in VERSIONED {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = entries.map(|entry| entry.path().join(child));
        folders.extend(versions.filter(|folder| folder.join("initdb").is_file()));
    }
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    folders
}

/// The major version that `postgres --version` names: `postgres (PostgreSQL) 15.4 (Debian …)`.
fn version(folder: &Path) -> Option<u32> {
    let said = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    major(&String::from_utf8_lossy(&said.stdout))
}

fn major(said: &str) -> Option<u32> {
    let number = said.split_once("(PostgreSQL) ")?.1;
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("postgres: command not found\n"), None);
    }

    #[test]
    fn missing_binaries_are_told_with_the_package_to_install() {
        let error = Binaries::among(&[PathBuf::from("/nowhere")]).expect_err("nothing there").to_string();
        for part in ["/nowhere", "apt-get install postgresql", "SENTRA_POSTGRES_BIN"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
