//! A Rust file as code alone: text in quotes and comments blanked, what only tests compile left out, lines kept.

/// The lines of code with their numbers: no comments, no text in quotes, no item behind `#[cfg(test)]`.
pub fn code(text: &str) -> Vec<(usize, String)> {
    let blank = blanked(text);
    let mut lines = blank.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned()));
    let mut own = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else {
            own.push((number, line));
        }
    }
    own
}

/// Passes over one item: to its closing brace, or to the `;` or `,` that ends it without one.
fn skip_item(lines: &mut impl Iterator<Item = (usize, String)>) {
    let (mut depth, mut opened) = (0_i64, false);
    for (_, line) in lines {
        let line = line.trim();
        if depth == 0 && line.starts_with("#[") {
            continue;
        }
        for letter in line.chars() {
            match letter {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            opened |= letter == '{';
        }
        if depth <= 0 && (opened || line.ends_with([';', ','])) {
            return;
        }
    }
}

/// The text with a blank for each letter of comments and of literals, so that what is left is code in its place.
fn blanked(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let rest = &letters[at..];
        let word_before = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => 1 + quoted(&rest[1..]),
            ['r', '"' | '#', ..] if !word_before || letters[at - 1] == 'b' => raw_text(rest),
            ['\'', '\\', _, after @ ..] => 4 + after.iter().position(|letter| *letter == '\'').unwrap_or(0),
            // A quote, brace or backslash as a character; anything else may be a lifetime.
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        out.extend(rest[..length].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
        if length == 0 {
            out.push(rest[0]);
        }
        at += length.max(1);
    }
    out
}

/// Comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Letters to the closing quote, and with it.
fn quoted(rest: &[char]) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#`; none for a raw name, `r#type`.
fn raw_text(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|letter| **letter == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let inner = &rest[hashes + 2..];
    let length = inner.windows(end.len()).position(|window| window == end).unwrap_or(inner.len() - end.len());
    hashes + 2 + length + end.len()
}
