//! Stored rows beside the stream they come from: compared in SQL, and outside it.

use std::collections::BTreeMap;

use sentra::{
    config::Secret,
    store::queries::{MOST_ROWS, Reader},
};

use super::{
    PATIENCE,
    line::{Sentra, until},
    postgres::TestDatabase,
    records::{Follower, Reading},
};

/// The accepted verdicts of a topic, by partition and source offset.
pub type Stream = BTreeMap<(i32, i64), Vec<u8>>;

/// Reads a verdict topic to its end by the reader's rule.
pub fn accepted(topic: &str, partitions: i32) -> Stream {
    let mut follower = Follower::new(topic, partitions);
    follower.read_to_end();
    let mut stream = Stream::new();
    for records in &follower.records {
        let mut reading = Reading::default();
        reading.follow(records);
        for (head, index) in &reading.accepted {
            let value = records[*index].value.clone().expect("a verdict");
            let twice = stream.insert((head.source.partition, head.source.offset), value);
            assert!(twice.is_none(), "each offset counts once");
        }
    }
    stream
}

/// Waits until a process has stored that many rows.
pub fn await_stored(process: &Sentra, rows: usize) {
    let stored = || process.metric("sentra_sink_rows_total").unwrap_or_default() as usize;
    let what = || format!("{rows} rows, not {}; {}", stored(), process.log());
    until(PATIENCE * 2, what, || (stored() >= rows).then_some(()));
}

/// How many rows a log has.
pub fn count(database: &TestDatabase, log: &str) -> i64 {
    database.number(&format!("SELECT count(*) FROM sentra.verdicts WHERE log = '{log}'"))
}

/// The log that a stream's verdicts name.
pub fn log_of(stream: &Stream) -> String {
    let first = stream.values().next().expect("a verdict");
    let head: serde_json::Value = serde_json::from_slice(first).expect("JSON");
    head["source"]["log"].as_str().expect("a log").to_owned()
}

/// Holds the rows of the stream's log against it.
pub fn assert_equal(database: &TestDatabase, stream: &Stream) {
    let log = log_of(stream);
    assert_whole_in_sql(database, &log, stream.len() as i64);
    let url = Secret::new(database.url.clone());
    let reader = Reader::new(&url, 1).expect("a reader");
    let mut rows = 0;
    let partitions: std::collections::BTreeSet<i32> = stream.keys().map(|(partition, _)| *partition).collect();
    for partition in partitions {
        let mut from = 0;
        loop {
            let page = database.block_on(reader.partition(&log, partition, from, MOST_ROWS)).expect("rows");
            let Some(last) = page.last() else { break };
            from = last.verdict.source.offset + 1;
            rows += page.len();
            for row in &page {
                let source = row.verdict.source.offset;
                let wanted = stream.get(&(partition, source)).expect("a row of the stream");
                assert_eq!(row.json(), String::from_utf8_lossy(wanted), "partition {partition}, offset {source}");
            }
        }
    }
    assert_eq!(rows, stream.len(), "as many rows as verdicts that count");
}

/// The same by SQL alone: each offset once, each row following the one before it, progress where the rows end.
fn assert_whole_in_sql(database: &TestDatabase, log: &str, verdicts: i64) {
    let sql = format!(
        "SELECT count(*), count(DISTINCT (partition, source_offset)),
             count(*) FILTER (WHERE previous_offset IS DISTINCT FROM coalesce(before, -1)),
             count(*) FILTER (WHERE verdict_offset <= coalesce(verdict_before, -1))
         FROM (SELECT *, lag(source_offset) OVER one AS before, lag(verdict_offset) OVER one AS verdict_before
               FROM sentra.verdicts WHERE log = '{log}'
               WINDOW one AS (PARTITION BY partition ORDER BY source_offset)) AS chain"
    );
    let row = &database.query(&sql)[0];
    let (rows, distinct, breaks, disorder): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!((rows, distinct, breaks, disorder), (verdicts, verdicts, 0, 0), "rows, distinct, breaks, disorder");
    let behind = format!(
        "SELECT count(*) FROM sentra.sink_progress p WHERE log = '{log}' AND last_source IS DISTINCT FROM
             (SELECT max(source_offset) FROM sentra.verdicts v WHERE v.log = p.log AND v.partition = p.partition)"
    );
    assert_eq!(database.number(&behind), 0, "progress names the last row of each partition");
}
