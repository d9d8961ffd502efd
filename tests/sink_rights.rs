//! Who may do what in PostgreSQL: each role has its rights and no more, whatever user migrates, and sessions really take
//! the role of their purpose.

mod common;

use std::process::{Command, Output};

use common::{
    line::{Setup, Topics},
    postgres::{Server, TestDatabase},
    produce::{Sender, Sent, good},
    rows::await_stored,
};
use sentra::{config::Secret, store::queries::Reader};
use tokio_postgres::error::SqlState;

fn migrate(url: &str) -> Output {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.arg("migrate").env_clear().env("DATABASE_URL", url).current_dir(home.path()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The database's address for a user of this name.
fn url_of(database: &TestDatabase, user: &str) -> String {
    let (_, host) = database.url.split_once('@').expect("a host");
    format!("postgres://{user}:simple@{host}")
}

#[test]
fn a_user_who_may_make_roles_migrates_and_each_session_takes_the_one_of_its_purpose() {
    let (topics, server) = (Topics::create("sink-maker", 1), Server::up());
    let database = TestDatabase::on(&server.url());
    let name = database.url.rsplit('/').next().expect("a name");
    database.execute(&format!(
        "CREATE USER maker PASSWORD 'simple' CREATEROLE BYPASSRLS; ALTER DATABASE {name} OWNER TO maker"
    ));
    if database.number("SELECT current_setting('server_version_num')::bigint") < 160_000 {
        // Before 16 only a super user makes a role that bypasses row-level security.
        database.execute(include_str!("../migrations/roles.sql"));
    }
    let url = url_of(&database, "maker");
    for words in ["schema sentra: made", "schema sentra: already right"] {
        let done = migrate(&url);
        assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
        assert!(
            text(&done.stdout).contains(words) && !text(&done.stdout).contains("left out"),
            "{}",
            text(&done.stdout)
        );
    }
    let owner = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'sentra'";
    assert_eq!(database.query(owner)[0].get::<_, String>(0), "sentra_owner");
    database.execute(
        "CREATE TABLE public.seen (what text, who text);
         GRANT INSERT ON public.seen TO PUBLIC;
         CREATE FUNCTION public.see(what text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.seen VALUES (what, current_user); RETURN true; END $$;
         CREATE FUNCTION public.see_write() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM public.see('write'); RETURN NULL; END $$;
         CREATE TRIGGER see AFTER INSERT ON sentra.verdicts FOR EACH STATEMENT EXECUTE FUNCTION public.see_write();
         CREATE POLICY see ON sentra.verdicts AS RESTRICTIVE FOR SELECT USING (public.see('read'))",
    );
    let process = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &url).start();
    Sender::default().send_all(&topics.transactions, [good(1, "M-1"), good(1, "M-2")].iter());
    await_stored(&process, 2);
    let reader = Reader::new(&Secret::new(url), 1).expect("a reader");
    let rows = database.block_on(reader.verdicts_of_transaction("M-1", 10)).expect("rows");
    assert_eq!(rows.len(), 1);
    let seen = database.query("SELECT DISTINCT what, who FROM public.seen ORDER BY what");
    let seen: Vec<(String, String)> = seen.iter().map(|row| (row.get(0), row.get(1))).collect();
    let pair = |what: &str, who: &str| (what.to_owned(), who.to_owned());
    assert_eq!(seen, [pair("read", "sentra_app"), pair("write", "sentra_sink")]);
}

#[test]
fn a_user_who_owns_only_its_database_migrates_and_stores_without_the_roles() {
    let (topics, database) = (Topics::create("sink-owner", 1), TestDatabase::empty());
    let user = database.url.rsplit('/').next().expect("a name").to_owned();
    database.execute(&format!("CREATE USER {user} PASSWORD 'simple'; ALTER DATABASE {user} OWNER TO {user}"));
    let url = url_of(&database, &user);
    let done = migrate(&url);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("schema sentra: made"), "{}", text(&done.stdout));
    let process = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &url).start();
    Sender::default().send_all(&topics.transactions, [good(1, "O-1"), good(1, "O-2")].iter());
    await_stored(&process, 2);
    drop(process);
    database.execute(&format!("REASSIGN OWNED BY {user} TO postgres; DROP OWNED BY {user}; DROP USER {user}"));
}

#[test]
fn each_role_has_its_rights_and_no_more() {
    let database = TestDatabase::migrated();
    let today = database.query("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")[0].get::<_, String>(0);
    for (role, sql, allowed) in [
        ("sentra_app", String::from("SELECT count(*) FROM sentra.verdicts"), true),
        ("sentra_app", format!("SELECT count(*) FROM sentra.verdicts_{today}"), false),
        ("sentra_app", String::from("DELETE FROM sentra.verdicts"), false),
        ("sentra_app", String::from("SELECT sentra.make_day('2030-01-01')"), false),
        ("sentra_sink", String::from("SELECT sentra.make_day('2030-01-01')"), true),
        ("sentra_sink", String::from("SELECT count(*) FROM sentra.verdicts"), false),
        ("sentra_sink", String::from("DELETE FROM sentra.verdicts"), false),
        ("sentra_sink", format!("DROP TABLE sentra.verdicts_{today}"), false),
        ("sentra_owner", format!("DROP TABLE sentra.verdicts_{today}"), true),
    ] {
        let refused = database.try_execute(&format!("SET ROLE {role}; {sql}")).err();
        let code = refused.map(|error| error.code().unwrap_or_else(|| panic!("{sql}: {error}")).clone());
        let wanted = (!allowed).then_some(SqlState::INSUFFICIENT_PRIVILEGE);
        assert_eq!(code, wanted, "{role}: {sql}");
    }
}

#[test]
fn the_application_sees_one_institution_where_its_session_names_one() {
    let (topics, database) = (Topics::create("sink-rows", 1), TestDatabase::migrated());
    let process = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &database.url).start();
    let of = |bank: &str, number: u32| {
        let one = good(number, &format!("I-{bank}-{number}"));
        Sent { headers: vec![(String::from("institution"), Some(bank.as_bytes().to_vec()))], ..one }
    };
    let sent = [of("bank-a", 1), of("bank-b", 2), of("bank-b", 3)];
    Sender::default().send_all(&topics.transactions, sent.iter());
    await_stored(&process, 3);
    for (named, rows) in [("", 3), ("bank-a", 1), ("bank-b", 2), ("bank-c", 0)] {
        let work = format!(
            "BEGIN; SET LOCAL ROLE sentra_app; SET LOCAL sentra.institution = '{named}';
             DO $$ BEGIN IF (SELECT count(*) FROM sentra.verdicts) <> {rows} THEN RAISE 'other rows'; END IF; END $$; COMMIT"
        );
        database.execute(&work);
    }
}
