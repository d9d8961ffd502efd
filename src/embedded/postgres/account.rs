//! Who PostgreSQL runs as: this process's user, or where that is root, `postgres` or `nobody`.
//!
//! Invariant: no command made here runs as root.

use std::{
    ffi::OsStr,
    fs,
    hash::Hasher,
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use siphasher::sip::SipHasher13;

use super::PostgresError;

/// Whom root drops to, the first that there is.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Where root's private databases are when the wanted folder cannot be reached by an unprivileged user.
const REACHABLE: &str = "/var/lib/sentra-demo";

/// A user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// Set where it is another than this process's.
    other: Option<(u32, u32)>,
}

impl Account {
    /// Whom this process may run PostgreSQL as.
    pub(super) fn for_this_process() -> Result<Self, PostgresError> {
        // SAFETY: geteuid only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(Self { other: None });
        }
        let found = UNPRIVILEGED.into_iter().find_map(numbers_of).ok_or(PostgresError::NoAccount)?;
        Ok(Self { other: Some(found) })
    }

    /// A command that will run as this user, with nothing of our variables that libpq would read.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(b"PG"));
        for name in ours {
            command.env_remove(name);
        }
        if let Some((user, group)) = self.other {
            // The folder we are in may be closed to that user.
            command.uid(user).gid(group).current_dir("/");
        }
        command
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        self.other.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
    }

    /// The folder for PostgreSQL's files: `folder` itself, or where this user cannot reach it (below /root, say) one
    /// below [`REACHABLE`] that is `folder`'s alone.
    pub(super) fn home(&self, folder: &Path) -> Result<PathBuf, PostgresError> {
        let failed = |path: &Path, source| PostgresError::Folder { path: path.to_owned(), source };
        let folder = std::path::absolute(folder).map_err(|source| failed(folder, source))?;
        self.make(&folder).map_err(|source| failed(&folder, source))?;
        if self.reaches(&folder) {
            return Ok(folder);
        }
        let mut hash = SipHasher13::new();
        hash.write(folder.as_os_str().as_bytes());
        let reachable = Path::new(REACHABLE).join(format!("{:016x}", hash.finish()));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(REACHABLE)
            .map_err(|source| failed(&reachable, source))?;
        self.make(&reachable).map_err(|source| failed(&reachable, source))?;
        if self.reaches(&reachable) {
            return Ok(reachable);
        }
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "an unprivileged user cannot reach it");
        Err(failed(&folder, source))
    }

    /// Makes the folder where it is missing, for this user alone; what is there must be this user's or ours.
    fn make(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder.parent().unwrap_or(folder))?;
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let owner = fs::symlink_metadata(folder)?.uid();
        // SAFETY: geteuid only returns a number.
        let ours = owner == unsafe { libc::geteuid() } || Some(owner) == self.other.map(|(user, _)| user);
        if !ours {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
        }
        self.own(folder)
    }

    fn reaches(&self, folder: &Path) -> bool {
        let mut command = self.command("/bin/sh");
        command.args(["-c", "cd \"$0\" && test -w ."]).arg(folder);
        let said = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        said.is_ok_and(|status| status.success())
    }
}

/// A user's id and group, as `/etc/passwd` has them: system users are there, whatever else names users.
fn numbers_of(name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = fields.into_iter().find(|fields| fields.first() == Some(&name))?;
    let (user, group) = (entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?);
    (user != 0).then_some((user, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_runs_as_root() {
        let account = Account::for_this_process().expect("postgres or nobody");
        let said = account.command("/usr/bin/id").arg("-u").output().expect("id runs");
        assert_ne!(String::from_utf8_lossy(&said.stdout).trim(), "0");
    }

    #[test]
    fn a_user_that_does_not_exist_has_no_numbers_and_root_is_none() {
        assert_eq!(numbers_of("no-such-user-here"), None);
        assert_eq!(numbers_of("root"), None);
    }
}
