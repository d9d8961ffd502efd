//! kafka

pub mod topic_id;
