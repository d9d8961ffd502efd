//! The HTTP interface before a line that lags: requests that could not be answered in time are refused at once and add
//! nothing to what the line has to do, and it recovers by itself.

mod common;

use common::{
    PATIENCE,
    curl::{Curl, Reply, transaction},
    line::{Setup, Topics, until},
    produce::{Sender, Sent},
    records::ends,
};

const BACKLOG: usize = 20_000;

#[test]
fn before_a_line_with_a_backlog_requests_are_shed_with_503_and_afterwards_all_are_answered_again() {
    let topics = Topics::create("api.overload", 1);
    let scoring = Setup::new(&topics);
    let serving = Setup::new(&topics).roles("serve").with("SENTRA__SERVE__SCORE_DEADLINE_MS", "1000");
    let (score, serve) = (scoring.start(), serving.start());
    score.await_running(1, PATIENCE);
    let curl = Curl::new(&serving);
    curl.await_ready(&serve);
    let answered = || Some(curl.score(&transaction(1, "BEFORE"))).filter(|reply| reply.code == 200);
    until(PATIENCE, || String::from("an answer"), answered);

    // More is offered than the line takes: it takes nothing.
    score.signal(libc::SIGSTOP);
    let value = |n: usize| transaction(2, &format!("BACKLOG-{n}")).into_bytes();
    let backlog: Vec<Sent> =
        (0..BACKLOG).map(|n| Sent { partition: Some(0), value: Some(value(n)), ..Sent::default() }).collect();
    Sender::default().send_all(&topics.transactions, backlog.iter());
    let before = ends(&topics.transactions, 1)[0];
    let replies: Vec<Reply> = (0..60).map(|n| curl.score(&transaction(1, &format!("SHED-{n}")))).collect();
    let (late, shed): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.code == 504);
    for reply in &shed {
        reply.assert_problem(503, "line-behind");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    late.iter().for_each(|reply| drop(reply.assert_problem(504, "verdict-late")));
    assert!(!late.is_empty(), "the first one finds out");
    assert!(!shed.is_empty(), "those behind it are shed");
    println!("of {} requests {} were shed and {} late", replies.len(), shed.len(), late.len());
    assert_eq!(ends(&topics.transactions, 1)[0] - before, late.len() as i64, "what is shed adds nothing");

    score.signal(libc::SIGCONT);
    until(PATIENCE * 2, || String::from("an answer again"), answered);
    let after = (0..20).map(|n| curl.score(&transaction(3, &format!("AFTER-{n}"))));
    let answered = after.filter(|reply| reply.code == 200).count();
    assert!(answered > 0, "it has recovered");
}
