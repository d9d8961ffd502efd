//! Moves between a slot's stages, made by hand in a shard whose broker never answers.

use std::path::Path;

use super::{
    context::Ack,
    recover::Rival,
    slot::{Held, Slot, Stage},
    *,
};
use crate::{
    config::Inputs,
    engine::chain::Chain,
    telemetry::{Fact, facts::RecoveryStarted},
};

/// A shard that reaches no broker and was given nothing yet.
fn shard() -> Shard {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let set = ["kafka.bootstrap_servers=127.0.0.1:9", "snapshots.location=off"].map(str::to_owned).into();
    let config = Config::load(&Inputs { set, folder: "/nowhere".into(), ..Inputs::default() }).expect("valid");
    let shared = Shared {
        config: Arc::new(config),
        model: Arc::new(Model::load(&model).expect("the committed model")),
        log: LogId([7; 16]),
        verdict_log: "00".repeat(16),
        depot: None,
        partitions: 4,
        peers: Arc::new(AtomicI32::new(4)),
        instance: None,
        gathering: Arc::new(Gathering::of(1)),
        stop: Arc::default(),
        telemetry: Telemetry::new(1),
    };
    let mut shard = Shard::new(0, shared).expect("a shard");
    shard.join();
    shard
}

/// Has the shard emit for partition 0, with the verdict of input offset 0 under way behind the owner record at 0.
fn go_live(shard: &mut Shard) {
    RecoveryStarted { partition: 0, shard: 0 }.emit(&shard.shared.telemetry);
    let mut slot = Slot::new(0, 1);
    slot.stage = Stage::Replaying { last: -1, replayed: 0 };
    slot.chain = Some(Chain::starting(0));
    slot.inflight.push_back(0);
    shard.slots.insert(0, slot);
    shard.replay_done(0, 0);
}

/// The acknowledgement of a verdict, somewhere else than expected.
fn jump(shard: &mut Shard) {
    shard.acknowledged(Ack { partition: 0, generation: 1, outcome: Ok(Some(5)) });
}

/// Whether it says that the partition runs, and that it is ready.
fn told(shard: &Shard) -> (bool, bool) {
    let telemetry = &shard.shared.telemetry;
    let is_running = telemetry.render().contains("sentra_partitions{state=\"running\"} 1");
    (is_running, telemetry.health.unready(Instant::now()).is_empty())
}

fn rival() -> Rival {
    Rival { epoch: 4, group: String::from("another"), instance: String::from("i") }
}

#[test]
fn a_partition_whose_epoch_is_doubted_or_lost_is_neither_running_nor_ready_until_it_is_known_to_be_kept() {
    let mut shard = shard();
    go_live(&mut shard);
    assert_eq!((shard.slots[&0].stage, told(&shard)), (Stage::Live, (true, true)));
    jump(&mut shard);
    assert_eq!(shard.slots[&0].stage, Stage::Checking { from: 1, asked: false, replaying: None });
    assert_eq!(told(&shard), (false, false));
    shard.kept(0, 6, None);
    assert_eq!((shard.slots[&0].stage, told(&shard)), (Stage::Live, (true, true)));

    jump(&mut shard);
    shard.lost(0, &rival());
    assert!(matches!(shard.slots[&0].stage, Stage::Fenced { .. }));
    assert_eq!(told(&shard), (false, false));
    shard.revoked(0);
    assert!(told(&shard).1, "what is another's is no reason any more");
}

#[test]
fn a_jump_while_the_log_is_replayed_ends_in_the_rest_of_the_replay() {
    let mut shard = shard();
    go_live(&mut shard);
    let replaying = Stage::Replaying { last: 9, replayed: 4 };
    shard.slots.get_mut(&0).expect("owned").stage = replaying;
    jump(&mut shard);
    let Stage::Checking { replaying: rest, .. } = shard.slots[&0].stage else { panic!("it is in doubt") };
    shard.kept(0, 6, rest);
    assert_eq!(shard.slots[&0].stage, replaying, "live, it would judge a second time what lies below h");
}

#[test]
fn asking_the_group_keeps_no_turn_waiting_however_long_its_answer_takes() {
    let mut shard = shard();
    go_live(&mut shard);
    shard.lost(0, &rival());
    let began = Instant::now();
    shard.pursue_claims();
    assert_eq!(shard.slots[&0].stage, Stage::Asking);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "it waited {:?} for a group that nobody answers for",
        began.elapsed()
    );
}

#[test]
fn a_partition_on_its_way_out_whose_producer_is_beyond_use_sends_and_settles_nothing_more() {
    let mut shard = shard();
    go_live(&mut shard);
    let held = Held { source: 1, key: None, value: b"v1".to_vec(), trace: Vec::new(), letter: None };
    shard.slots.get_mut(&0).expect("it is owned").held.push_back(held);
    shard.drain(vec![0]);
    assert_eq!(shard.slots[&0].stage, Stage::Leaving { clean: true });
    assert!(shard.slots[&0].is_busy(), "it is waited for");
    // The verdict of 0 was purged: that of 1 would land behind the owner record, as if it were that of 0.
    shard.claim_all_anew();
    shard.release_held();
    let slot = &shard.slots[&0];
    assert_eq!((&slot.inflight, slot.held.len()), (&[0].into(), 1));
    assert!(!slot.is_busy() && slot.checkpoint().is_none(), "the next owner judges both");
}
