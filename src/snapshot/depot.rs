//! Where snapshots are kept: a folder, or a bucket that speaks S3. `<log>-<verdict log>/<partition>/<end>-<epoch>`.
//!
//! Invariant: a name exists only with all of its bytes: they are written elsewhere first, on a disk made durable, and
//! then renamed. What bytes mean is the engine's; when they are written is the shard's.

use std::{
    fs,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    MultipartUpload, ObjectMeta, ObjectStore, PutPayload, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem,
    path::Path,
};
use thiserror::Error;
use tokio::runtime::Runtime;

use super::{Name, name::superseded};

/// Bytes asked for and sent at a time: S3 wants parts of 5 MiB at least.
const PIECE: usize = 8 << 20;

/// How often one request is tried again, and within what time: whoever asks has a rhythm of its own.
const RETRIES: usize = 2;
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// Why the depot cannot be used.
#[derive(Debug, Error)]
pub enum DepotError {
    /// The location is neither a folder nor an S3 URL.
    #[error("snapshots.location {0}; give a folder, s3://bucket/prefix, or off")]
    Location(String),
    /// It cannot be read or written.
    #[error("snapshots.location: {0}")]
    Store(#[from] object_store::Error),
    /// The folder cannot be made or written.
    #[error("snapshots.location, {}: {error}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What failed.
        error: std::io::Error,
    },
    /// The threads that wait for the store cannot be started.
    #[error("snapshots: {0}")]
    Runtime(#[source] std::io::Error),
}

impl DepotError {
    /// Whether asking again may help: the store did not say that there is nothing. One that refuses these credentials
    /// may still hold what is looked for.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if !matches!(error, object_store::Error::NotFound { .. }))
    }
}

/// The snapshots of one log's verdicts. All calls block; none may be made from async code.
#[derive(Clone)]
pub struct Depot {
    store: Arc<dyn ObjectStore>,
    runtime: Arc<Runtime>,
    prefix: Path,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

/// Bytes on their way to a snapshot that has no name yet.
pub struct Upload {
    parts: Box<dyn MultipartUpload>,
    buffer: Vec<u8>,
    at: Path,
    bytes: u64,
}

impl Depot {
    /// Opens the depot at `location` for the log and verdict log with these ids, 32 hex digits each.
    ///
    /// # Errors
    /// The location is wrong, or its folder cannot be made.
    pub fn open(location: &str, log: &str, verdict_log: &str) -> Result<Self, DepotError> {
        let below = format!("{log}-{verdict_log}");
        if !location.contains("://") {
            let folder = FilePath::new(location).join(&below);
            fs::create_dir_all(&folder).map_err(|error| DepotError::Folder { path: folder, error })?;
        }
        Self::existing(location, &below)
    }

    /// Which logs have snapshots at `location`, as [`Depot::existing`] takes them, in order.
    ///
    /// # Errors
    /// The location is wrong, or does not answer.
    pub fn logs(location: &str) -> Result<Vec<String>, DepotError> {
        let root = Self::existing(location, "")?;
        let found = root.runtime.block_on(root.store.list_with_delimiter(Some(&root.prefix)))?;
        let mut logs: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| Some(path.filename()?.to_owned())).collect();
        logs.sort_unstable();
        Ok(logs)
    }

    /// Opens what is there `below` the location: `LOG-VERDICTLOG`.
    ///
    /// # Errors
    /// The location is wrong, or a folder that is not there.
    pub fn existing(location: &str, below: &str) -> Result<Self, DepotError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("snapshot-io")
            .enable_all()
            .build()
            .map_err(DepotError::Runtime)?;
        let (store, prefix, folder): (Arc<dyn ObjectStore>, _, _) = match location.split_once("://") {
            None => {
                let folder = FilePath::new(location).join(below);
                let folder = folder.canonicalize().map_err(|error| DepotError::Folder { path: folder, error })?;
                (Arc::new(LocalFileSystem::new_with_prefix(&folder)?), Path::default(), Some(folder))
            }
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_WITHIN, ..RetryConfig::default() };
                let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build()?;
                let prefix = Path::parse(prefix.trim_matches('/')).map_err(object_store::Error::from)?;
                let prefix = if below.is_empty() { prefix } else { prefix.child(below) };
                (Arc::new(store), prefix, None)
            }
            Some((scheme, _)) => return Err(DepotError::Location(format!("speaks {scheme}, which Sentra does not"))),
        };
        Ok(Self { store, runtime: Arc::new(runtime), prefix, folder })
    }

    /// A partition's snapshots, newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn list(&self, partition: i32) -> Result<Vec<Name>, DepotError> {
        Ok(self.sizes(partition)?.into_iter().map(|(name, _)| name).collect())
    }

    /// The same with the bytes of each.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn sizes(&self, partition: i32) -> Result<Vec<(Name, u64)>, DepotError> {
        let found = self.runtime.block_on(self.store.list_with_delimiter(Some(&self.partition(partition))))?;
        let named = |object: &ObjectMeta| Some((object.location.filename()?.parse().ok()?, object.size));
        let mut sizes: Vec<(Name, u64)> = found.objects.iter().filter_map(named).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        Ok(sizes)
    }

    /// The partitions that have snapshots, in order.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn partitions(&self) -> Result<Vec<i32>, DepotError> {
        let found = self.runtime.block_on(self.store.list_with_delimiter(Some(&self.prefix)))?;
        let numbers = found.common_prefixes.iter().filter_map(|path| path.filename()?.parse().ok());
        let mut numbers: Vec<i32> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Hands over a snapshot's bytes piece by piece, the next one being fetched meanwhile; returns how many.
    ///
    /// # Errors
    /// The store fails, or `each` does.
    pub fn read<E: From<DepotError>>(
        &self,
        partition: i32,
        name: Name,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.read_while(partition, name, |piece| each(piece).map(|()| true))
    }

    /// The same while `each` wants more.
    ///
    /// # Errors
    /// The store fails, or `each` does.
    pub fn read_while<E: From<DepotError>>(
        &self,
        partition: i32,
        name: Name,
        mut each: impl FnMut(&[u8]) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let at = self.partition(partition).child(name.to_string());
        let store = |error: object_store::Error| E::from(DepotError::from(error));
        let size = self.runtime.block_on(self.store.head(&at)).map_err(store)?.size;
        let fetch = |from: u64| {
            let (store, at, to) = (Arc::clone(&self.store), at.clone(), size.min(from + PIECE as u64));
            self.runtime.spawn(async move { store.get_range(&at, from..to).await })
        };
        let mut next = (size > 0).then(|| fetch(0));
        let mut from = 0;
        while let Some(asked) = next.take() {
            let piece = self.runtime.block_on(asked).map_err(|error| store(error.into()))?.map_err(store)?;
            from += piece.len() as u64;
            if from < size && !piece.is_empty() {
                next = Some(fetch(from));
            }
            if !each(&piece)? {
                break;
            }
        }
        Ok(from)
    }

    /// Begins to write a snapshot that is being taken under `epoch`.
    ///
    /// # Errors
    /// The store refuses.
    pub fn begin(&self, partition: i32, epoch: i64) -> Result<Upload, DepotError> {
        let at = self.partition(partition).child(format!("taking-{epoch:020}"));
        let parts = self.runtime.block_on(self.store.put_multipart(&at))?;
        Ok(Upload { parts, buffer: Vec::with_capacity(PIECE), at, bytes: 0 })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The store fails, or is full.
    pub fn append(&self, upload: &mut Upload, bytes: &[u8]) -> Result<(), DepotError> {
        upload.bytes += bytes.len() as u64;
        upload.buffer.extend_from_slice(bytes);
        if upload.buffer.len() >= PIECE { self.send(upload) } else { Ok(()) }
    }

    /// Gives the snapshot its name, once every byte of it is safe; returns its size. Then lower ones beyond the
    /// generations kept are deleted.
    ///
    /// # Errors
    /// The store fails; what was written is given up then.
    pub fn publish(&self, mut upload: Upload, partition: i32, name: Name) -> Result<u64, DepotError> {
        if let Err(error) = self.complete(&mut upload) {
            self.abort(upload);
            return Err(error);
        }
        if let Err(error) = self.give_name(&upload.at, partition, name) {
            // It has its bytes, but no name, and nobody will look for it.
            if let Err(error) = self.runtime.block_on(self.store.delete(&upload.at)) {
                tracing::debug!(%error, "what was written of a snapshot is left behind");
            }
            return Err(error);
        }
        self.prune(partition, name);
        Ok(upload.bytes)
    }

    fn complete(&self, upload: &mut Upload) -> Result<(), DepotError> {
        self.send(upload)?;
        self.runtime.block_on(upload.parts.complete())?;
        Ok(())
    }

    fn give_name(&self, written: &Path, partition: i32, name: Name) -> Result<(), DepotError> {
        let to = self.partition(partition).child(name.to_string());
        if let Some(file) = self.file(written) {
            durable(&file)?;
        }
        self.runtime.block_on(self.store.rename(written, &to))?;
        if let Some(folder) = self.file(&self.partition(partition)) {
            durable(&folder)?;
        }
        Ok(())
    }

    /// Gives up a snapshot that is being written.
    pub fn abort(&self, mut upload: Upload) {
        if let Err(error) = self.runtime.block_on(upload.parts.abort()) {
            tracing::debug!(%error, "what was written of a snapshot is left behind");
        }
    }

    /// Deletes what is lower than the generations kept below `newest`: never anything greater, which another owner
    /// may have written. What cannot be deleted, or another owner has deleted already, is left to the next time: the
    /// newest is published all the same.
    fn prune(&self, partition: i32, newest: Name) {
        let names = self.list(partition).unwrap_or_else(|error| {
            tracing::warn!(partition, %error, "old snapshots cannot be listed");
            Vec::new()
        });
        for name in superseded(&names, newest) {
            let at = self.partition(partition).child(name.to_string());
            match self.runtime.block_on(self.store.delete(&at)) {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(partition, %name, %error, "an old snapshot cannot be deleted"),
            }
        }
        self.clear_remains(partition, newest.epoch);
    }

    /// Removes what crashes left half written under epochs up to `epoch`. A bucket's own rules do it for S3.
    fn clear_remains(&self, partition: i32, epoch: i64) {
        let Some(folder) = self.file(&self.partition(partition)) else { return };
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let taken = name.to_str().and_then(|name| name.strip_prefix("taking-"));
            let under = taken.and_then(|taken| taken.split('#').next()?.parse::<i64>().ok());
            if under.is_some_and(|under| under <= epoch) {
                // Someone else may have removed it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn send(&self, upload: &mut Upload) -> Result<(), DepotError> {
        let piece = std::mem::replace(&mut upload.buffer, Vec::with_capacity(PIECE));
        if piece.is_empty() {
            return Ok(());
        }
        Ok(self.runtime.block_on(upload.parts.put_part(PutPayload::from(piece)))?)
    }

    fn partition(&self, partition: i32) -> Path {
        self.prefix.child(partition.to_string())
    }

    fn file(&self, at: &Path) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(at.as_ref()))
    }
}

/// Has the disk keep a file, or a folder's names.
fn durable(path: &FilePath) -> Result<(), DepotError> {
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| DepotError::Folder { path: path.to_owned(), error })
}
