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
    let mut cursor = Cursor { text, bytes: text.as_bytes(), at: 0, marks, escaped: false };
    let mut before = Before::NONE;
    loop {
        let known = habits.recall(before, cursor.rest());
        let next = match known {
            Some((next, length)) => {
                cursor.at += length;
                next
            }
            None => {
                let start = cursor.at;
                let Some(next) = cursor.next(before)? else { break };
                habits.remember(before, &cursor.bytes[start..], cursor.at - start, next);
                next
            }
        };
        let raw = if next.in_text { cursor.text_value()? } else { cursor.value()? };
        if let Some(field) = next.field {
            tokens.insert(field, raw);
        }
        before = Before::of(next.field);
    }
    tokens.escaped = cursor.escaped;
    (cursor.at == text.len()).then_some(())
}

struct Cursor<'a, 'm> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Which bytes are special.
    marks: &'m [u64],
    /// Whether a backslash was met.
    escaped: bool,
}

impl<'a> Cursor<'a, '_> {
    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte; 0, which no rule below expects, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// The text from `start` on; every caller begins and stops beside ASCII.
    #[inline(always)]
    fn since(&self, start: usize) -> Option<&'a str> {
        debug_assert!(self.text.is_char_boundary(start) && self.text.is_char_boundary(self.at));
        // SAFETY: between bytes of ASCII, UTF-8 is cut into UTF-8.
        self.bytes.get(start..self.at).map(|bytes| unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    /// Moves to the first quote, backslash or control character, or to the end. Strings are short: a search of its own for
    /// each would be mispredicted at every end.
    #[inline(always)]
    fn plain(&mut self) {
        while let Some(marks) = self.marks.get(self.at / BLOCK) {
            let rest = marks >> (self.at % BLOCK);
            if rest != 0 {
                self.at += rest.trailing_zeros() as usize;
                return;
            }
            self.at = (self.at / BLOCK + 1) * BLOCK;
        }
    }

    /// Moves to the next value, or into it where it is a string; `None` inside where the object ends instead.
    #[inline(never)]
    fn next(&mut self, before: Before) -> Option<Option<Next>> {
        self.blanks();
        let first = before == Before::NONE;
        if first {
            self.expect(b'{')?;
            self.blanks();
        }
        if self.peek() == b'}' {
            self.at += 1;
            self.blanks();
            return Some(None);
        }
        if !first {
            self.expect(b',')?;
            self.blanks();
        }
        let field = self.key()?;
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        let in_text = self.expect(b'"').is_some();
        Some(Some(Next { field, in_text }))
    }

    /// A key, as the field it names where it names one.
    fn key(&mut self) -> Option<Option<Field>> {
        self.expect(b'"')?;
        let start = self.at;
        self.plain();
        let field = names::field(self.bytes, start, self.at);
        self.expect(b'"')?;
        Some(field)
    }

    /// A value, mostly one that is no string.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.peek() {
            b'"' => {
                self.at += 1;
                return self.text_value();
            }
            b'-' | b'0'..=b'9' => self.number()?,
            // What was recalled may end before blanks that were not there the last time.
            b' ' | b'\t' | b'\n' | b'\r' => {
                self.blanks();
                return self.value();
            }
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            b'{' | b'[' => self.nested()?,
            _ => return None,
        }
        self.since(start)
    }

    /// A string, from behind its first quote on.
    #[inline(always)]
    fn text_value(&mut self) -> Option<&'a str> {
        let start = self.at - 1;
        loop {
            self.plain();
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return self.since(start);
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// The grammar of an escape; what it stands for is judged when the field is read.
    #[cold]
    fn escape(&mut self) -> Option<()> {
        self.escaped = true;
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        match letter {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += digits;
        (digits > 0).then_some(())
    }

    #[cold]
    fn nested(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let skipped = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>().next()?.ok()?.get();
        self.at += skipped.len();
        self.escaped |= skipped.contains('\\');
        (!nests_too_deep(skipped, MAX_DEPTH - 1)).then_some(())
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
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
            let mut cursor = Cursor { text, bytes, at, marks: &marks, escaped: false };
            cursor.plain();
            cursor.at
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
