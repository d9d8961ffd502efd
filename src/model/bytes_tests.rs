//! The byte plan against a row scored alone: every processor the same bits.

use super::*;
use crate::model::forest::Forest;
use crate::model::text::{Child, Tree};

#[test]
fn bytes_compare_as_the_ranks_they_stand_for() {
    for (low, high) in [(0, 1), (127, 128), (253, 254), (254, u16::MAX)] {
        assert!(byte(low) < byte(high), "{low} {high}");
    }
}

#[test]
fn the_default_model_has_a_byte_plan_and_every_processor_gives_its_bits() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let model = crate::model::folder::Model::load(&root).unwrap();
    let forest: &Forest = &model.forest;
    let plan = forest.plan.bytes.as_ref().expect("the default model's thresholds are coarse");
    let value = |row: usize, at: usize| match (row * 31 + at * 17) % 13 {
        0 => f64::NAN,
        other => (other * (row % 7)) as f64 / 3.0,
    };
    let rows: Vec<Row> = (0..TOGETHER - 5).map(|row| std::array::from_fn(|at| value(row, at))).collect();
    let (mut portable, mut chosen) = (Scores::default(), Scores::default());
    plan.raw_portable(&forest.plan, &rows, &mut portable);
    plan.raw_on_this_processor(&forest.plan, &rows, &mut chosen);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let mut avx2 = Scores::default();
        // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
        unsafe { plan.raw_avx2(&forest.plan, &rows, &mut avx2) };
        assert_eq!((&avx2.raw, &avx2.reached), (&portable.raw, &portable.reached));
    }
    let alone: Vec<f64> = rows.iter().map(|row| forest.raw_one(row)).collect();
    assert_eq!((&portable.raw, &chosen.raw), (&alone, &alone));
    assert_eq!(portable.reached, chosen.reached);
}

#[test]
fn a_scored_row_is_explained_as_it_is_alone() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let forest = crate::model::folder::Model::load(&root).unwrap().forest;
    let value =
        |row: usize, at: usize| if (row + at).is_multiple_of(11) { f64::NAN } else { (row * (at + 3) % 97) as f64 };
    let rows: Vec<Row> = (0..2 * TOGETHER + 3).map(|row| std::array::from_fn(|at| value(row, at))).collect();
    let mut scores = Scores::default();
    forest.score(&rows[..TOGETHER], &mut scores);
    forest.score(&rows, &mut scores);
    for (at, row) in rows.iter().enumerate() {
        // The last few were scored one by one, and their leaves are not known.
        assert_eq!(scores.of(at).reached(forest.num_trees()).is_some(), at < 2 * TOGETHER);
        let (mut explained, mut alone) = (*row, *row);
        forest.explain(row, &scores.of(at), &mut explained);
        forest.contributions(row, &mut alone);
        assert_eq!((scores.of(at).raw, explained), (forest.raw_one(row), alone));
    }
    assert!(scores.of(rows.len()).raw.is_nan());
}

#[test]
fn trees_of_every_size_lead_to_the_leaves_that_they_are_walked_to() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let forest = crate::model::folder::Model::load(&root).unwrap().forest;
    // A tree's first splits are a tree; what they led to besides is a leaf of it.
    let first = |(number, tree): (usize, &Tree)| {
        let count = number % LEAVES;
        let (mut splits, mut leaves) = (tree.splits[..count.min(tree.splits.len())].to_vec(), Vec::new());
        for child in splits.iter_mut().flat_map(|split| [&mut split.left, &mut split.right]) {
            if !matches!(child, Child::Split(at) if *at < count) {
                leaves.push(tree.value(*child));
                *child = Child::Leaf(leaves.len() - 1);
            }
        }
        if splits.is_empty() {
            leaves.push(tree.value(tree.root()));
        }
        Tree { splits, leaves }
    };
    let plan = Plan::compile(&forest.trees.iter().enumerate().map(first).collect::<Vec<_>>()).unwrap();
    let bytes = plan.bytes.as_ref().expect("its thresholds are some of the default model's");
    let value = |row: usize, at: usize| ((row * 37 + at * 11) % 23) as f64 * (row % 5) as f64;
    for count in [1, LANES, LANES + 1, TOGETHER] {
        let rows: Vec<Row> = (0..count).map(|row| std::array::from_fn(|at| value(row, at))).collect();
        let (mut portable, mut chosen) = (Scores::default(), Scores::default());
        bytes.raw_portable(&plan, &rows, &mut portable);
        bytes.raw_on_this_processor(&plan, &rows, &mut chosen);
        let walked = rows.iter().map(|row| {
            let (mut ranks, mut sum) = (vec![0; plan.columns], 0.0);
            plan.ranks_on_this_processor(row, &mut ranks);
            plan.reach_by_walks(&ranks, |leaf| sum += plan.leaves[leaf]);
            sum
        });
        let walked: Vec<f64> = walked.collect();
        assert_eq!((&portable.raw, &chosen.raw), (&walked, &walked), "{count} rows");
        assert_eq!(portable.reached, chosen.reached);
    }
}
