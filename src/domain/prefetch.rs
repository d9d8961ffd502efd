//! Asking for memory ahead of its use: several records' loads are under way together, where each alone would be waited for.
//! On other processors than x86-64 nothing is asked for.

/// Bytes that the processor fetches at once.
const LINE: usize = 64;

/// Has the processor fetch these values, without waiting for them. Never shows in any result.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    if size_of_val(values) == 0 {
        return;
    }
    let range = values.as_ptr_range();
    let (first, end) = (range.start as usize / LINE * LINE, range.end as usize);
    (first..end).step_by(LINE).for_each(line);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line(address: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86_64 has SSE; a prefetch reads nothing, and faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address as *const i8) };
}

#[cfg(not(target_arch = "x86_64"))]
fn line(_: usize) {}
