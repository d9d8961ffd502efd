//! Migrations: roles, schema, tables, grants, the first days; planned or applied.
//!
//! Invariant: one migration at a time in a database (an advisory lock; refinery takes none), and applying twice changes
//! nothing the second time. A user who may not make roles owns everything himself, and is told what that means.

use serde::Serialize;
use tokio_postgres::{Client, error::SqlState};

use super::{
    Database, Purpose, StoreError,
    connect::may_take,
    days::{self, Day, Policy},
};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The oldest server: row-level security, partitions and `ATTACH` as they are used here.
const OLDEST_SERVER: i32 = 140_000;
/// The advisory lock of migrations: "sentra" in ASCII.
const LOCK: i64 = 0x7365_6e74_7261;
const ROLES: &str = include_str!("../../migrations/roles.sql");
const GRANTS: &str = include_str!("../../migrations/grants.sql");
/// The roles, of whom the migration's user becomes a member.
pub const ROLE_NAMES: [&str; 3] = ["sentra_owner", "sentra_sink", "sentra_app"];

/// Whether things are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only told.
    Plan,
    /// Done.
    Apply,
}

/// One thing that should be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is.
    pub what: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub action: Action,
}

/// What becomes of a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// It is made, or would be.
    Make,
    /// It is right already.
    Right,
    /// It cannot be made by this user.
    Skip {
        /// Why, and what that means.
        why: String,
    },
}

/// The version of the newest migration this program has.
pub fn newest() -> i64 {
    let versions = embedded::migrations::runner();
    versions.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or_default()
}

/// The version the database has; `None` without the schema.
///
/// # Errors
/// The database fails.
pub async fn version(client: &Client) -> Result<Option<i64>, StoreError> {
    if !exists(client, "sentra.refinery_schema_history").await? {
        return Ok(None);
    }
    let row = client.query_one("SELECT max(version)::bigint FROM sentra.refinery_schema_history", &[]).await?;
    Ok(row.try_get(0)?)
}

/// Plans or applies everything; `days` are the partitions to begin with.
///
/// # Errors
/// The server is too old, the user may not do what is needed, or a statement fails; a failed migration leaves nothing.
pub async fn migrate(database: &Database, mode: Mode, days: Policy) -> Result<Vec<Step>, StoreError> {
    let mut client = database.session(Purpose::Admin).await?;
    if mode == Mode::Apply {
        client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    }
    let user = User::read(&client).await?;
    let mut steps = roles(&client, &user, mode).await?;
    let (schema, there) = schema(&client, mode).await?;
    steps.push(schema);
    steps.extend(versions(&mut client, mode, there).await?);
    if mode == Mode::Apply {
        client.batch_execute(GRANTS).await?;
    }
    steps.extend(first_days(&client, mode, days).await?);
    Ok(steps)
}

/// What the connected user may do.
struct User {
    superuser: bool,
    makes_roles: bool,
}

impl User {
    async fn read(client: &Client) -> Result<Self, StoreError> {
        let question = "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
            rolsuper, rolcreaterole AND rolbypassrls FROM pg_roles WHERE rolname = current_user";
        let row = client.query_one(question, &[]).await?;
        if row.try_get::<_, i32>(0)? < OLDEST_SERVER {
            let version: String = row.try_get(1)?;
            return Err(StoreError::Failed(format!("this server is version {version}; Sentra needs 14 or later")));
        }
        let superuser: bool = row.try_get(2)?;
        Ok(Self { superuser, makes_roles: superuser || row.try_get(3)? })
    }
}

async fn roles(client: &Client, user: &User, mode: Mode) -> Result<Vec<Step>, StoreError> {
    let there = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1)";
    let names: Vec<&str> = ROLE_NAMES.to_vec();
    let there: Vec<String> = client.query(there, &[&names]).await?.iter().map(|row| row.get(0)).collect();
    let missing = |name: &&str| !there.iter().any(|known| known == name);
    let mut refused = None;
    if names.iter().any(missing) {
        refused = match (user.makes_roles, mode) {
            (false, _) => Some(String::from("this user may not make roles with BYPASSRLS")),
            (true, Mode::Plan) => None,
            (true, Mode::Apply) => client.batch_execute(ROLES).await.map_or_else(refusal, |()| Ok(None))?,
        };
    }
    let mut steps = Vec::new();
    for name in names {
        let action = match (&refused, missing(&name)) {
            (_, false) => Action::Right,
            (None, true) => Action::Make,
            (Some(why), true) => Action::Skip {
                why: format!(
                    "{why}: this user will own the tables and do the work of all three; a superuser may run this again later"
                ),
            },
        };
        let exists = matches!((&action, mode), (Action::Right, _) | (Action::Make, Mode::Apply));
        steps.push(Step { what: format!("role {name}"), action });
        if exists && !user.superuser {
            steps.extend(membership(client, name, mode).await?);
        }
    }
    Ok(steps)
}

/// The user becomes a member of the role who may take it, so that sessions do.
async fn membership(client: &Client, role: &str, mode: Mode) -> Result<Option<Step>, StoreError> {
    let may: bool = client.query_one(&format!("SELECT {}", may_take("$1::text")), &[&role]).await?.try_get(0)?;
    if may {
        return Ok(None);
    }
    let what = format!("membership of {role}");
    if mode == Mode::Plan {
        return Ok(Some(Step { what, action: Action::Make }));
    }
    let granted = client.batch_execute(&format!("GRANT {role} TO CURRENT_USER")).await;
    let action = match granted.map_or_else(refusal, |()| Ok(None))? {
        None => Action::Make,
        Some(why) => Action::Skip { why: format!("{why}: whoever administers {role} may grant it to this user") },
    };
    Ok(Some(Step { what, action }))
}

/// A refusal for want of rights is an answer; anything else a failure.
fn refusal(error: tokio_postgres::Error) -> Result<Option<String>, StoreError> {
    match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(Some(super::error::describe(&error))),
        _ => Err(error.into()),
    }
}

/// Makes the schema, takes its owner's role, and works in it from here on. False where it is not there (yet).
async fn schema(client: &Client, mode: Mode) -> Result<(Step, bool), StoreError> {
    let may = may_take("nspowner");
    let question = format!("SELECT pg_get_userbyid(nspowner)::text, {may} FROM pg_namespace WHERE nspname = 'sentra'");
    let found = client.query_opt(&question, &[]).await?;
    let action = if found.is_some() { Action::Right } else { Action::Make };
    let step = Step { what: String::from("schema sentra"), action };
    if found.is_none() && mode == Mode::Plan {
        return Ok((step, false));
    }
    if found.is_none() {
        let owner = format!("SELECT FROM pg_roles WHERE rolname = 'sentra_owner' AND {}", may_take("oid"));
        let owned = client.query_opt(&owner, &[]).await?.is_some();
        let by = if owned { " AUTHORIZATION sentra_owner" } else { "" };
        client.batch_execute(&format!("CREATE SCHEMA sentra{by}")).await?;
    }
    let row = client.query_one(&question, &[]).await?;
    let (owner, may): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !may {
        return Err(StoreError::Forbidden(format!(
            "schema sentra belongs to {owner}, whose role this user may not take"
        )));
    }
    client.execute("SELECT set_config('role', $1, false)", &[&owner]).await?;
    client.batch_execute("SET search_path = sentra").await?;
    Ok((step, true))
}

async fn versions(client: &mut Client, mode: Mode, schema: bool) -> Result<Vec<Step>, StoreError> {
    let runner = embedded::migrations::runner();
    let mut applied: Vec<i32> = Vec::new();
    if schema && exists(client, "sentra.refinery_schema_history").await? {
        let rows = client.query("SELECT version::int FROM sentra.refinery_schema_history", &[]).await?;
        applied = rows.iter().map(|row| row.get(0)).collect();
    }
    let mut steps: Vec<Step> = runner
        .get_migrations()
        .iter()
        .map(|migration| Step {
            what: format!("migration {migration}"),
            action: if applied.contains(&migration.version()) { Action::Right } else { Action::Make },
        })
        .collect();
    steps.sort_by(|a, b| a.what.cmp(&b.what));
    if mode == Mode::Apply {
        runner.run_async(client).await.map_err(|error| StoreError::Failed(format!("migrations: {}", whole(&error))))?;
    }
    Ok(steps)
}

/// refinery's words, and what they rest on.
fn whole(error: &refinery::Error) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {}", super::error::describe(source)))
}

async fn first_days(client: &Client, mode: Mode, policy: Policy) -> Result<Vec<Step>, StoreError> {
    let there = if exists(client, "sentra.verdicts").await? { days::present(client).await? } else { Vec::new() };
    let mut steps = Vec::new();
    for day in policy.wanted(Day::today()) {
        let right = there.contains(&day);
        if !right && mode == Mode::Apply {
            days::make(client, day).await?;
        }
        let action = if right { Action::Right } else { Action::Make };
        steps.push(Step { what: format!("day {day}"), action });
    }
    Ok(steps)
}

async fn exists(client: &Client, name: &str) -> Result<bool, StoreError> {
    Ok(client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&name]).await?.try_get(0)?)
}
