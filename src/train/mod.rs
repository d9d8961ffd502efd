//! From traffic to a model: simulated traffic, the data set, fitting, the report. Offline; never on the scoring path.

pub mod simulate;
