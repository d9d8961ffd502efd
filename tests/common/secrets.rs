//! What no log line and no metric may tell, by every spelling that the tests send.

/// The right token.
pub const TOKEN: &str = "the-token-that-nobody-may-read";
/// One that is wrong here, and another server's.
pub const WRONG: &str = "a-wrong-token-is-one-of-another-server";
/// In every body that is sent, and in places of a request that are as private.
pub const MARK: &str = "XmarkX";
/// The part of a phone that all its spellings share.
pub const PHONE: &str = "798765432";
/// A phone as a pseudonym.
pub const SUBJECT: &str = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

/// Whether a line bears what it must not: a mark of the test's own, or anything like a subscriber's number.
pub fn is_private(line: &str) -> bool {
    let marked = [MARK, PHONE, SUBJECT, TOKEN, WRONG].iter().any(|word| line.contains(word));
    let bytes = line.as_bytes();
    let number = bytes.windows(12).any(|twelve| twelve.starts_with(b"2547") && twelve.iter().all(u8::is_ascii_digit));
    marked || number
}

/// Fails where a line of it is private.
pub fn assert_none_told(what: &str, text: &str) {
    let told: Vec<&str> = text.lines().filter(|line| is_private(line)).take(5).collect();
    assert!(told.is_empty(), "the {what} tells:\n{}", told.join("\n"));
}

/// The header that bears the right token.
pub fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}")
}

/// The time as transactions write it.
pub fn now() -> String {
    let now = time::OffsetDateTime::now_utc();
    now.format(&time::format_description::well_known::Rfc3339).expect("a time")
}
