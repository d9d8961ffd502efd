//! The paths that code names, with the trees of `use` written out: `use a::{b, c::{d, self}}` is a::b, a::c::d, a::c.

/// A path where it stands. A name alone is a path, too.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub path: String,
}

type Token = (usize, String);

/// All paths of the lines of code. Those from the crate's root that are written as `super::super::…` are put as `crate::…`,
/// which `depth`, the number of modules above the file's items, decides.
pub fn named(lines: &[(usize, String)], depth: usize) -> Vec<Named> {
    let tokens = tokens(lines);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].1.as_str());
        // A method or a field is no path, and `use` belongs to none.
        if is_name(&tokens[at].1) && tokens[at].1 != "use" && ![".", "$"].contains(&before) {
            at = tree(&tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    for named in &mut found {
        named.path = absolute(&named.path, depth);
    }
    found
}

/// One tree of names from token `at` on, below `prefix`; where it ends.
fn tree(tokens: &[Token], mut at: usize, prefix: &str, found: &mut Vec<Named>) -> usize {
    let mut path = prefix.to_owned();
    loop {
        let Some((line, token)) = tokens.get(at) else { return at };
        if token == "{" {
            return group(tokens, at + 1, &path, found);
        }
        if token != "self" || path.is_empty() {
            path = if path.is_empty() { token.clone() } else { format!("{path}::{token}") };
        }
        at += 1;
        let goes_on = tokens.get(at).is_some_and(|(_, token)| token == "::")
            && tokens.get(at + 1).is_some_and(|(_, token)| is_name(token) || token == "{" || token == "*");
        if !goes_on {
            found.push(Named { line: *line, path });
            return at;
        }
        at += 1;
    }
}

/// The branches between braces, each below `prefix`.
fn group(tokens: &[Token], mut at: usize, prefix: &str, found: &mut Vec<Named>) -> usize {
    while let Some((_, token)) = tokens.get(at) {
        match token.as_str() {
            "}" => return at + 1,
            "as" => at += 2,
            _ if is_name(token) || token == "*" => at = tree(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

/// Names, `::` and single letters. `pub(crate)` names nothing.
fn tokens(lines: &[(usize, String)]) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (number, line) in lines {
        let line = line.replace("pub(crate)", "pub");
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                letter if is_letter(letter) => rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                letter => letter.len_utf8(),
            };
            found.push((*number, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    found
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

fn absolute(path: &str, depth: usize) -> String {
    let parts: Vec<&str> = path.split("::").skip_while(|part| *part == "self").collect();
    let supers = parts.iter().take_while(|part| **part == "super").count();
    if supers == 0 || supers < depth {
        return parts.join("::");
    }
    std::iter::once("crate").chain(parts[supers..].iter().copied()).collect::<Vec<_>>().join("::")
}
