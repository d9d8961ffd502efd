//! A small disk for a database, which a test may fill: a tmpfs with a tablespace on it. Only root may mount one.
//!
//! Neither outlives its guard, which must be dropped after the database on it.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, chown},
    path::PathBuf,
    process::Command,
};

use super::{postgres::TestDatabase, unique_topic};

/// A tablespace on a disk of its own.
pub struct SmallDisk {
    folder: PathBuf,
    name: String,
    beside: TestDatabase,
}

impl SmallDisk {
    /// Mounts one of this many MiB for the server that all share; `None` where that is not allowed.
    pub fn mounted(mebibytes: u32) -> Option<Self> {
        let beside = TestDatabase::empty();
        let name = unique_topic("disk").replace('-', "_");
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder).expect("a folder");
        let options = format!("size={mebibytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).output();
        if !mount.is_ok_and(|done| done.status.success()) {
            fs::remove_dir(&folder).expect("an empty folder");
            return None;
        }
        let data: String = beside.query("SHOW data_directory")[0].get(0);
        let owner = fs::metadata(data).expect("the server's data");
        chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("root");
        let disk = Self { folder, name, beside };
        disk.beside.execute(&format!("CREATE TABLESPACE {} LOCATION '{}'", disk.name, disk.folder.display()));
        Some(disk)
    }

    /// Moves an empty database there.
    pub fn take(&self, database: &TestDatabase) {
        let name = database.url.rsplit('/').next().expect("a name");
        self.beside.execute(&format!("ALTER DATABASE {name} SET TABLESPACE {}", self.name));
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Makes room again.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the file");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failure here must not hide the test's.
        let _ = self.beside.try_execute(&format!("DROP TABLESPACE {}", self.name));
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = fs::remove_dir(&self.folder);
    }
}
