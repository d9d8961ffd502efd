//! How every session with PostgreSQL is made: TLS as `sslmode` says, only writable servers, bounded waits, and the role
//! that its purpose needs and no more.
//!
//! Invariant: no session is made past [`Database`], and the connection string is never printed. It runs no statements
//! of its own but those that set the session up.

use std::{future::Future, pin::Pin, time::Duration};

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, config::TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    StoreError,
    hosts::{CONNECT, Hosts},
    tls,
};
use crate::config::Secret;

/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// How long a request waits for a session of a pool.
const POOL_WAIT: Duration = Duration::from_secs(2);

/// What a session is for: the role it takes, and how long it may hold things up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Migrations: the user's own rights, and waits as long as it takes.
    Admin,
    /// Day partitions: the schema's owner.
    Owner,
    /// Rows and progress; the client gives a transaction up after so long, and the server before that.
    Sink {
        /// `sink.timeout`.
        within: Duration,
    },
    /// Looking at other sessions, and ending them: with the rights of the user, whose they are.
    Usher,
    /// Questions.
    App,
}

impl Purpose {
    /// What sets the session up. Roles are taken where they exist and the user may; a user who owns everything himself
    /// works without.
    fn setup(self) -> String {
        let take = |role: &str| {
            let may = may_take("oid");
            format!("SELECT set_config('role', rolname, false) FROM pg_roles WHERE rolname = {role} AND {may}")
        };
        match self {
            Self::Admin => String::from("SET lock_timeout = '5min'"),
            Self::Owner => {
                let owner = "(SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'sentra')";
                format!("SET statement_timeout = '30s'; SET lock_timeout = '2s'; SET timezone = 'UTC'; {}", take(owner))
            }
            // A frozen sink must not hold its progress rows for ever.
            Self::Sink { within } => format!(
                "SELECT set_config('application_name', left(current_setting('application_name'), 50) || ' sink', false);
                 SET statement_timeout = {}; SET lock_timeout = {}; SET timezone = 'UTC';
                 SET idle_in_transaction_session_timeout = {}; {}",
                (within * 3 / 4).as_millis(),
                (within / 2).as_millis(),
                (within / 4).as_millis(),
                take("'sentra_sink'")
            ),
            Self::Usher => String::from("SET statement_timeout = '5s'"),
            Self::App => format!(
                "SET statement_timeout = '5s'; SET lock_timeout = '2s'; SET timezone = 'UTC'; {}",
                take("'sentra_app'")
            ),
        }
    }
}

/// The SQL condition that the current user may take the role of this name or oid. From PostgreSQL 16 on being a member
/// does not say so: whoever made a role is a member who may administer it, and nothing else.
pub fn may_take(role: &str) -> String {
    format!(
        "pg_has_role({role}, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)"
    )
}

/// A database that sessions can be had of.
#[derive(Clone)]
pub struct Database {
    config: Config,
    hosts: Hosts,
    tls: MakeRustlsConnect,
}

impl Database {
    /// Reads a connection string, as a URL or as `host=… user=…`; speaks to no server yet. Beyond tokio-postgres's
    /// parameters it takes `sslmode=verify-full` and `sslrootcert`.
    ///
    /// # Errors
    /// It cannot be used; the text names the parameter, never a value that may be secret.
    pub fn new(url: &Secret) -> Result<Self, StoreError> {
        let (mut config, wanted) = read(url.expose()).map_err(StoreError::Url)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if config.get_application_name().is_none() {
            config.application_name("sentra");
        }
        let tls = MakeRustlsConnect::new(wanted.client().map_err(StoreError::Url)?);
        let hosts = Hosts::of(&config).map_err(StoreError::Url)?;
        Ok(Self { config, hosts, tls })
    }

    /// A new session; the handle is the task that drives it, which ends with the client.
    ///
    /// # Errors
    /// No writable server is reached, or the user is refused.
    pub async fn session(&self, purpose: Purpose) -> Result<Client, StoreError> {
        Ok(self.open(purpose).await?.0)
    }

    /// A pool of at most `size` sessions, none made yet.
    ///
    /// # Errors
    /// None in practice: the pool has a runtime and sane sizes.
    pub fn pool(&self, purpose: Purpose, size: usize) -> Result<Pool, StoreError> {
        let opener = Opener { database: self.clone(), purpose };
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let timeouts = Timeouts { wait: Some(POOL_WAIT), create: Some(CONNECT), recycle: Some(POOL_WAIT) };
        let manager = Manager::from_connect(self.config.clone(), opener, fast);
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).timeouts(timeouts).build();
        pool.map_err(|error| StoreError::Failed(error.to_string()))
    }

    async fn open(&self, purpose: Purpose) -> Result<(Client, JoinHandle<()>), Error> {
        let open = async |host: Config| {
            let (client, connection) = host.connect(self.tls.clone()).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a session with PostgreSQL ended");
                }
            });
            client.batch_execute(&purpose.setup()).await?;
            Ok((client, driver))
        };
        self.hosts.first_that(open).await
    }
}

/// What stands against a connection string by itself, without its values; files and servers are not looked at.
pub fn fault(url: &str) -> Option<String> {
    read(url).err()
}

fn read(url: &str) -> Result<(Config, tls::Wanted), String> {
    let (plain, wanted) = tls::split(url)?;
    let mut config: Config = plain.parse().map_err(|error: Error| reason(&error))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(String::from("names no host; write postgres://user:password@host:5432/database"));
    }
    Hosts::of(&config)?;
    config.ssl_mode(wanted.mode);
    if !plain.contains("target_session_attrs") {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    Ok((config, wanted))
}

/// Sessions for a pool.
struct Opener {
    database: Database,
    purpose: Purpose,
}

/// What the pool expects of an opener.
type Opening<'o> = Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'o>>;

impl Connect for Opener {
    fn connect(&self, _: &Config) -> Opening<'_> {
        Box::pin(self.database.open(self.purpose))
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Away(String::from("no session within the time allowed")),
            other => Self::Away(other.to_string()),
        }
    }
}

/// What is wrong with a connection string, without its values.
fn reason(error: &Error) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}; write postgres://user:password@host:5432/database")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(url: &str) -> String {
        match Database::new(&Secret::new(url.to_owned())) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it is accepted"),
        }
    }

    #[test]
    fn a_connection_string_that_cannot_be_used_is_told_by_its_fault_without_its_values() {
        for (url, words) in [
            ("postgres://sink:hunter2@db:port/sentra", "invalid connection string"),
            ("postgres://sink:hunter2@db/sentra?colour=red", "unknown option `colour`"),
            ("postgres://sink:hunter2@db/sentra?sslmode=verify-ca", "sslmode"),
            ("postgres://sink:hunter2@db/sentra?sslmode=verify-full&sslrootcert=/nowhere.pem", "sslrootcert"),
            ("user=sink password=hunter2", "names no host"),
            ("host=a,b port=1,2,3 user=sink password=hunter2", "another number of hosts"),
        ] {
            let told = complaint(url);
            assert!(told.starts_with("sink.database_url: ") && told.contains(words), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn only_writable_servers_will_do_unless_the_string_says_otherwise() {
        let of = |url: &str| Database::new(&Secret::new(url.to_owned())).expect("a database").config;
        let plain = of("postgres://sink@a,b/sentra");
        assert_eq!(plain.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(of("postgres://a/b?target_session_attrs=any").get_target_session_attrs(), TargetSessionAttrs::Any);
        assert_eq!(plain.get_connect_timeout(), Some(&CONNECT));
    }
}
