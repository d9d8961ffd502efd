//! Which of a partition's snapshots recovery begins with: the newest that fits. The others are passed over one by one.

/// The first of `names`, which come newest first, that `attempt` restores; `None` where none fits. `pass_over` takes why
/// one does not, and goes on to the older one, or ends the choice where going on would lose what the newer one holds.
///
/// # Errors
/// What `pass_over` ended the choice with.
pub fn newest_that_fits<N: Copy, T, E, S>(
    names: impl IntoIterator<Item = N>,
    mut attempt: impl FnMut(N) -> Result<T, E>,
    mut pass_over: impl FnMut(N, E) -> Result<(), S>,
) -> Result<Option<T>, S> {
    for name in names {
        match attempt(name) {
            Ok(fitting) => return Ok(Some(fitting)),
            Err(why) => pass_over(name, why)?,
        }
    }
    Ok(None)
}
