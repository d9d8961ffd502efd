//! What is told of a panic: its place in the code, as a line of the log.
//!
//! Invariant: a panic's message is never told. It may quote what the code was working on, and so a phone number or a
//! token; the place leads to the same line of code without.

use std::panic;

/// Has every panic of this process tell its place alone, and nothing on stderr beside the log.
pub fn tell_panics_by_place() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| String::from("an unknown place"), ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(
            place,
            thread = thread.name().unwrap_or("unnamed"),
            "the program failed (a panic); report that place"
        );
    }));
}
