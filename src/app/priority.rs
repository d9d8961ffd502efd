//! Who goes first where a process has more to do than its processors can: scoring, for a verdict is what is waited for; rows
//! follow.

/// How far the threads of a role that can wait stand back (`nice(1)`): they get about a tenth of a processor that scoring could
/// use, and all of what it leaves.
const NICE: i32 = 10;

/// The calling thread stands back from now on, and so does every thread that it starts: Linux has priorities of threads, others
/// have the process's alone, which is left as it is.
pub(super) fn stand_back() {
    #[cfg(target_os = "linux")]
    // SAFETY: no memory is involved; 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "a thread could not stand back");
    }
}
