//! The fast pass: a JSON object, cut into its fields' texts without a copy or an allocation.
//!
//! From value to value it goes by habit (`habits`), else key by key. It accepts only what serde_json's pass (`tokens`)
//! accepts, with the same texts; whatever is unusual (escaped keys) or wrong it leaves to that pass, which alone refuses; a
//! nested value it has serde_json skip. So it can be slow to accept, never wrong. Not a JSON parser: it does not say what is
//! wrong, and its input is UTF-8 already.

use serde_json::value::RawValue;

use super::{
    MAX_DEPTH,
    habits::{Before, Habits, Next},
    names,
    tokens::{Field, Tokens, nests_too_deep},
};
use crate::domain::specials::{BLOCK, mark};

/// Notes the fields of `text` in `tokens`, which are empty; `None` where serde_json's pass must look.
pub(super) fn scan<'a>(text: &'a str, tokens: &mut Tokens<'a>, habits: &mut Habits) -> Option<()> {
    let mut marks = std::mem::take(&mut habits.marks);
    mark(text.as_bytes(), &mut marks);
    let scanned = scan_marked(text, &marks, tokens, habits);
    habits.marks = marks;
    scanned
}

fn scan_marked<'a>(text: &'a str, marks: &[u64], tokens: &mut Tokens<'a>, habits: &mut Habits) -> Option<()> {
    let object = Object { text, bytes: text.as_bytes(), marks };
    let mut escaped = false;
    // The place goes from rule to rule as a value, for one in memory would be waited for at each.
    let (mut at, mut before) = (0, Before::NONE);
    loop {
        let known = habits.recall(before, object.bytes.get(at..).unwrap_or_default());
        let next = match known {
            Some((next, length)) => {
                at += length;
                next
            }
            None => {
                let start = at;
                let next;
                (next, at) = object.next(before, start)?;
                let Some(next) = next else { break };
                habits.remember(before, &object.bytes[start..], at - start, next);
                next
            }
        };
        let (start, end) =
            if next.in_text { (at - 1, object.text_end(at, &mut escaped)?) } else { object.value(at, &mut escaped)? };
        if let Some(field) = next.field {
            tokens.insert(field, object.cut(start, end)?);
        }
        (at, before) = (end, Before::of(next.field));
    }
    tokens.escaped = escaped;
    (at == text.len()).then_some(())
}

/// An object's text. Every rule takes the place where something begins, and tells where it ends.
struct Object<'a, 'm> {
    text: &'a str,
    bytes: &'a [u8],
    /// Which bytes are special.
    marks: &'m [u64],
}

impl<'a> Object<'a, '_> {
    /// The byte at a place; 0, which no rule below expects, at the end.
    #[inline(always)]
    fn peek(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn expect(&self, at: usize, byte: u8) -> Option<usize> {
        (self.peek(at) == byte).then_some(at + 1)
    }

    #[inline(always)]
    fn blanks(&self, mut at: usize) -> usize {
        while matches!(self.peek(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// The text between two places, both beside ASCII: every rule begins and ends there.
    #[inline(always)]
    fn cut(&self, start: usize, end: usize) -> Option<&'a str> {
        debug_assert!(self.text.is_char_boundary(start) && self.text.is_char_boundary(end));
        // SAFETY: between bytes of ASCII, UTF-8 is cut into UTF-8.
        self.bytes.get(start..end).map(|bytes| unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    /// The first quote, backslash or control character from a place on, or the end. Strings are short: a search of its own for
    /// each would be mispredicted at every end.
    #[inline(always)]
    fn plain(&self, mut at: usize) -> usize {
        while let Some(marks) = self.marks.get(at / BLOCK) {
            let rest = marks >> (at % BLOCK);
            if rest != 0 {
                return at + rest.trailing_zeros() as usize;
            }
            at = (at / BLOCK + 1) * BLOCK;
        }
        at
    }

    /// What comes next, and where its value begins, or goes on where it is a string; `None` inside where the object ends instead.
    #[inline(never)]
    fn next(&self, before: Before, at: usize) -> Option<(Option<Next>, usize)> {
        let mut at = self.blanks(at);
        let first = before == Before::NONE;
        if first {
            at = self.blanks(self.expect(at, b'{')?);
        }
        if self.peek(at) == b'}' {
            return Some((None, self.blanks(at + 1)));
        }
        if !first {
            at = self.blanks(self.expect(at, b',')?);
        }
        let (field, end) = self.key(at)?;
        let at = self.blanks(self.expect(self.blanks(end), b':')?);
        let text = self.expect(at, b'"');
        Some((Some(Next { field, in_text: text.is_some() }), text.unwrap_or(at)))
    }

    /// A key, as the field it names where it names one.
    fn key(&self, at: usize) -> Option<(Option<Field>, usize)> {
        let start = self.expect(at, b'"')?;
        let end = self.plain(start);
        let field = names::field(self.bytes, start, end);
        Some((field, self.expect(end, b'"')?))
    }

    /// Where a value begins and ends that mostly is no string; whether a backslash was met.
    fn value(&self, at: usize, escaped: &mut bool) -> Option<(usize, usize)> {
        let end = match self.peek(at) {
            b'"' => self.text_end(at + 1, escaped)?,
            b'-' | b'0'..=b'9' => self.number(at)?,
            // What was recalled may end before blanks that were not there the last time.
            b' ' | b'\t' | b'\n' | b'\r' => return self.value(self.blanks(at), escaped),
            b't' => self.literal(at, b"true")?,
            b'f' => self.literal(at, b"false")?,
            b'n' => self.literal(at, b"null")?,
            b'{' | b'[' => self.nested(at, escaped)?,
            _ => return None,
        };
        Some((at, end))
    }

    /// Where a string ends, from behind its first quote on; whether a backslash was met.
    #[inline(always)]
    fn text_end(&self, mut at: usize, escaped: &mut bool) -> Option<usize> {
        loop {
            at = self.plain(at);
            match self.peek(at) {
                b'"' => return Some(at + 1),
                b'\\' => (at, *escaped) = (self.escape(at)?, true),
                _ => return None,
            }
        }
    }

    /// The grammar of an escape; what it stands for is judged when the field is read.
    #[cold]
    fn escape(&self, at: usize) -> Option<usize> {
        match self.peek(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => {
                let digits = self.bytes.get(at + 2..at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)
            }
            _ => None,
        }
    }

    fn number(&self, mut at: usize) -> Option<usize> {
        if self.peek(at) == b'-' {
            at += 1;
        }
        at = if self.peek(at) == b'0' { at + 1 } else { self.digits(at)? };
        if self.peek(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.peek(at), b'e' | b'E') {
            at += 1;
            if matches!(self.peek(at), b'+' | b'-') {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Some(at)
    }

    #[inline(always)]
    fn digits(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        (digits > 0).then_some(at + digits)
    }

    #[cold]
    fn nested(&self, at: usize, escaped: &mut bool) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let skipped = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>().next()?.ok()?.get();
        *escaped |= skipped.contains('\\');
        (!nests_too_deep(skipped, MAX_DEPTH - 1)).then_some(at + skipped.len())
    }

    fn literal(&self, at: usize, word: &[u8]) -> Option<usize> {
        self.bytes[at..].starts_with(word).then_some(at + word.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_ends_at_each_special_byte_wherever_it_stands() {
        let plain_from = |bytes: &[u8], at: usize| {
            let text = std::str::from_utf8(bytes).expect("ASCII");
            let mut marks = Vec::new();
            mark(bytes, &mut marks);
            Object { text, bytes, marks: &marks }.plain(at)
        };
        for special in (0..0x20).chain([b'"', b'\\']) {
            for length in 0..3 * BLOCK {
                let mut bytes = vec![b'!'; length];
                assert_eq!(plain_from(&bytes, length / 2), length, "nothing special");
                for at in 0..length {
                    bytes[at] = special;
                    assert_eq!(plain_from(&bytes, at / 2), at, "{bytes:?}");
                    bytes[at] = b'!';
                }
            }
        }
    }

    #[test]
    fn a_value_may_stand_further_behind_its_key_or_be_of_another_type_than_the_last_time() {
        let spellings = ["1500", " 1500", "\t\"1500\"", "\"1500\"", "  null", "[ ]"];
        let text = |value: &str| format!("{{\"amount\":{value},\"channel\":\"ussd\",\"currency\":\"KES\"}}");
        for (first, second) in spellings.iter().flat_map(|first| spellings.map(|second| (first, second))) {
            let mut habits = Habits::default();
            for value in [first, second, first, second] {
                let text = text(value);
                let mut tokens = Tokens::default();
                assert_eq!(scan(&text, &mut tokens, &mut habits), Some(()), "{first:?}, then {second:?}");
                assert_eq!(Tokens::parse(&text), Ok(tokens), "{first:?}, then {second:?}");
            }
        }
    }

    #[test]
    fn objects_are_cut_and_all_else_is_left() {
        let taken = [
            "{}",
            " {\t} \n",
            r#"{"amount":1}"#,
            r#"{"a":{"b":[1,{}]},"c":[]}"#,
            r#"{ "amount" : -0.5e+10 , "x" : "\u00e9\n\"" , "y":true,"z":false,"n":null,"0":0 }"#,
        ];
        for text in taken {
            assert!(scan(text, &mut Tokens::default(), &mut Habits::default()).is_some(), "{text}");
        }
        let left = [
            "",
            "{",
            "}",
            "[]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1}x",
            "{\"a\":{]}",
            "{\"a\":[}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":1e+}",
            "{\"a\":tru}",
            "{\"a\":nul}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\u12",
            "{\"a\":\"\n\"}",
            "{\"a\":\"",
            "{\"\\u0061\":1}",
            "{a:1}",
            "{\"a\":NaN}",
            "{\"a\":\"\\",
        ];
        for text in left {
            assert!(scan(text, &mut Tokens::default(), &mut Habits::default()).is_none(), "{text}");
        }
    }
}
