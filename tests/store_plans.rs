//! How PostgreSQL answers the questions: by the index that is meant for each, reading a few pages of a big day.

mod common;

use common::postgres::{DAYS, TestDatabase};
use sentra::{
    config::Secret,
    store::{
        Database,
        migrate::{Mode, migrate},
    },
};

/// Rows of a day: its index has a hundred pages and more.
const ROWS: i64 = 40_000;
const DAYS_FILLED: i64 = 3;

/// Days of rows of two logs and four partitions, as the sink would have stored them.
fn fill(database: &TestDatabase) {
    database.execute(&format!(
        "SELECT sentra.make_day((now() AT TIME ZONE 'UTC')::date - past) FROM generate_series(1, {DAYS_FILLED}) AS past;
         INSERT INTO sentra.verdicts (source_offset, previous_offset, epoch, verdict_offset, recorded_at, decided_at,
             processing_time_ms, day, partition, schema_version, log, kind, transaction_id, phone_number, risk_level,
             recommendation, policy_version, flags, reasons)
         SELECT n, n - 1, 0, n, at, at, 1, at::date, n % 4, 1, CASE WHEN n % 8 < 4 THEN '7f3a9c01' ELSE '00000001' END,
             'scored', 'T-' || n, '+2547' || n % 999, CASE WHEN n % 50 = 0 THEN 'HIGH' ELSE 'LOW' END, 'APPROVE', 'p', '{{}}', '[]'
         FROM generate_series(0, {ROWS} * {DAYS_FILLED} - 1) AS n,
             LATERAL (SELECT (now() AT TIME ZONE 'UTC')::date - {DAYS_FILLED} + n / {ROWS} * interval '1 day'
                 + n % {ROWS} * interval '1 second') AS t (at);
         ANALYZE sentra.verdicts"
    ));
}

/// The plan of a question, and how many pages it read.
fn plan(database: &TestDatabase, question: &str) -> (String, u64) {
    let explain = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)";
    let rows = database.query(&format!("{explain} SELECT * FROM sentra.verdicts WHERE {question}"));
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // The first such line is the whole plan's.
    let buffers = lines.iter().find(|line| line.trim_start().starts_with("Buffers: ")).expect("buffers");
    let pages = buffers.split([' ', '=']).filter_map(|word| word.parse::<u64>().ok()).sum();
    (lines.join("\n"), pages)
}

#[test]
fn one_verdict_is_found_by_its_key_in_every_day_and_a_partitions_page_is_read_in_order() {
    let database = TestDatabase::migrated();
    fill(&database);
    let one = "log = '7f3a9c01' AND partition = 3 AND source_offset = 100003 LIMIT 1";
    let page = "log = '7f3a9c01' AND partition = 3 AND source_offset >= 50000 ORDER BY source_offset LIMIT 50";
    let alerts = "risk_level <> 'LOW' AND risk_level = ANY('{HIGH,CRITICAL}') AND recorded_at >= to_timestamp(0)
        AND day >= '1970-01-01' ORDER BY day DESC, recorded_at DESC, log DESC, partition DESC, source_offset DESC LIMIT 50";
    // With the day first in the key, one verdict cost some two thousand pages, and so did a page of a partition.
    for (question, index, most) in [(one, "_pkey", 40), (page, "_pkey", 120), (alerts, "_day_recorded_at", 4_000)] {
        let (plan, pages) = plan(&database, question);
        assert!(plan.contains(index) && plan.contains("Index Cond"), "{plan}");
        assert!(pages <= most, "{pages} pages: {plan}");
    }
}

#[test]
fn a_database_of_the_first_version_with_rows_is_brought_to_the_newest() {
    let database = TestDatabase::migrated();
    database.execute(
        "ALTER TABLE sentra.verdicts DROP CONSTRAINT verdicts_pkey;
         ALTER TABLE sentra.verdicts ADD CONSTRAINT verdicts_pkey PRIMARY KEY (day, log, partition, source_offset);
         DELETE FROM sentra.refinery_schema_history WHERE version > 1",
    );
    fill(&database);
    let url = Secret::new(database.url.clone());
    let database_of = Database::new(&url).expect("a connection string");
    database.block_on(migrate(&database_of, Mode::Apply, DAYS)).expect("a migration");
    assert_eq!(database.number("SELECT count(*) FROM sentra.verdicts"), ROWS * DAYS_FILLED);
    let keys = "SELECT count(DISTINCT pg_get_indexdef(i.indexrelid, 1, true))::bigint FROM pg_index i
        JOIN pg_inherits h ON h.inhrelid = i.indrelid WHERE h.inhparent = 'sentra.verdicts'::regclass AND i.indisprimary
        AND pg_get_indexdef(i.indexrelid, 1, true) = 'log'";
    assert_eq!(database.number(keys), 1, "the key begins with the log");
    let indexes =
        "SELECT max(count)::bigint FROM (SELECT count(*) FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indrelid
        WHERE h.inhparent = 'sentra.verdicts'::regclass GROUP BY i.indrelid) AS each";
    assert_eq!(database.number(indexes), 4, "as many as before");
}
