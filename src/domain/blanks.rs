//! Blanks round a text, which most texts have none of: a look at their ends is enough to tell.

/// The text without the blanks before and behind it, Unicode's included.
#[inline]
pub(super) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, ..] if !first.is_ascii_graphic() => text.trim(),
        [.., last] if !last.is_ascii_graphic() => text.trim(),
        _ => text,
    }
}

/// Whether the text is nothing but blanks.
#[inline]
pub(super) fn is_blank(text: &str) -> bool {
    !text.as_bytes().first().is_some_and(u8::is_ascii_graphic) && text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_trimmed_as_the_library_trims_it(text in "[ \t\u{a0}\u{2003}éa!~\u{7f}]{0,6}") {
            prop_assert_eq!(trimmed(&text), text.trim());
            prop_assert_eq!(is_blank(&text), text.trim().is_empty());
        }
    }
}
