//! PostgreSQL: reached, new enough, migrated, its roles and the next days in place.

use tokio_postgres::Client;

use super::{Health, Line};
use crate::{
    config::Config,
    store::{
        Database, Purpose, StoreError,
        days::{self, Day},
        may_take, migrate,
    },
};

const PART: &str = "postgres";
/// The oldest server, as its own number and as people say it.
const OLDEST: (i32, &str) = (140_000, "14");

/// Looks at the database of `sink.database_url`.
pub fn database(config: &Config) -> Vec<Line> {
    let Some(url) = &config.sink.database_url else {
        let text = "sink.database_url is not set: the sink has nowhere to store, and serve no history";
        return vec![Line::new(Health::Warn, PART, text)];
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Line::new(Health::Fail, PART, format!("it cannot be looked at: {error}"))],
    };
    let look = async {
        let client = Database::new(url)?.session(Purpose::Admin).await?;
        examine(&client, config).await
    };
    runtime.block_on(look).unwrap_or_else(|error: StoreError| vec![Line::new(Health::Fail, PART, error.to_string())])
}

async fn examine(client: &Client, config: &Config) -> Result<Vec<Line>, StoreError> {
    let versions = "SELECT current_setting('server_version_num')::int, current_setting('server_version')";
    let row = client.query_one(versions, &[]).await?;
    let (number, version): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    if number < OLDEST.0 {
        let text = format!("version {version}: Sentra needs {} or later", OLDEST.1);
        return Ok(vec![Line::new(Health::Fail, PART, text)]);
    }
    let mut lines = vec![Line::new(Health::Ok, PART, format!("version {version} answers and takes writes"))];
    let (found, newest) = (migrate::version(client).await?, migrate::newest());
    match found {
        Some(found) if found == newest => lines.push(Line::new(Health::Ok, PART, format!("migrated to {found}"))),
        Some(found) if found > newest => {
            let text = format!("migrated to {found}, this program knows {newest}: run a newer Sentra");
            lines.push(Line::new(Health::Fail, PART, text));
        }
        found => {
            let found =
                found.map_or_else(|| String::from("no schema"), |found| format!("migrated to {found} of {newest}"));
            lines.push(Line::new(Health::Fail, PART, format!("{found}: run `sentra migrate`")));
            return Ok(lines);
        }
    }
    lines.push(roles(client).await?);
    lines.push(next_days(client, config).await?);
    Ok(lines)
}

async fn roles(client: &Client) -> Result<Line, StoreError> {
    let names: Vec<&str> = migrate::ROLE_NAMES.to_vec();
    let held = format!("SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1) AND {}", may_take("oid"));
    let held: Vec<String> = client.query(&held, &[&names]).await?.iter().map(|row| row.get(0)).collect();
    if held.len() == names.len() {
        return Ok(Line::new(Health::Ok, PART, "this user may take the roles of owner, sink and application"));
    }
    let missing: Vec<&str> = names.into_iter().filter(|name| !held.iter().any(|held| held == name)).collect();
    let text = format!(
        "this user may not take the roles {}: it works with its own rights (README, PostgreSQL)",
        missing.join(", ")
    );
    Ok(Line::new(Health::Warn, PART, text))
}

async fn next_days(client: &Client, config: &Config) -> Result<Line, StoreError> {
    let there = days::present(client).await?;
    let missing = config.sink.days.wanted(Day::today()).filter(|day| !there.contains(day)).count();
    Ok(match missing {
        0 => Line::new(
            Health::Ok,
            PART,
            format!("{} day partitions, the next {} among them", there.len(), config.sink.days.ahead),
        ),
        missing => Line::new(
            Health::Warn,
            PART,
            format!("{missing} of the next days have no partition yet: the sink makes them, or `sentra migrate`"),
        ),
    })
}
