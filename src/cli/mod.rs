//! The commands.

pub mod simulate;
pub mod train;
