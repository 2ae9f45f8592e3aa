//! Rust source text as the tests of it read it: as tokens.

/// The identifiers and signs of Rust source text; comments and literals are left out.
pub fn tokens(text: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let identifier = |c: char| c.is_alphanumeric() || c == '_';
        let word = rest.find(|c| !identifier(c)).unwrap_or(rest.len());
        let raw = ["r", "br"].contains(&&rest[..word]) && rest[word..].starts_with(['"', '#']);
        let after = |from: usize, end: &str| {
            rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
        };
        let (length, kept) = if rest.starts_with("//") {
            (after(0, "\n"), false)
        } else if rest.starts_with("/*") {
            (after(0, "*/"), false)
        } else if raw {
            let quote = after(0, "\"");
            (after(quote, &format!("\"{}", "#".repeat(quote - 1 - word))), false)
        } else if first == '"' {
            (quoted_length(rest), false)
        } else if first == '\'' {
            // A character; or a lifetime, which is as good as left out.
            let is_char = rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'');
            (if is_char { quoted_length(rest) } else { 1 }, false)
        } else if word > 0 {
            (word, true)
        } else {
            (if rest.starts_with("::") { 2 } else { first.len_utf8() }, !first.is_whitespace())
        };
        if kept {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// The length in bytes of the literal at the start of `text`, which begins with its quote.
fn quoted_length(text: &str) -> usize {
    let quote = text.chars().next();
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        if Some(c) == quote && !escaped {
            return i + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// How many tokens the attribute at the start of `words` has if it leaves an item to tests, or to
/// tests and the checks; otherwise 0.
pub fn checks_only(words: &[&str]) -> usize {
    let attributes: [&[&str]; 2] = [
        &["#", "[", "cfg", "(", "test", ")", "]"],
        &["#", "[", "cfg", "(", "any", "(", "test", ",", "feature", "=", ")", ")", "]"],
    ];
    attributes.iter().find(|attribute| words.starts_with(attribute)).map_or(0, |a| a.len())
}

/// How many tokens the item at the start of `words` has: up to its `;` or the end of its block.
pub fn item_length(words: &[&str]) -> usize {
    let mut depth = 0;
    for (i, word) in words.iter().enumerate() {
        match *word {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        // An attribute is followed by its subject.
        let ends = *word == ";" || (*word == "}" && words.get(i + 1) != Some(&";"));
        if depth == 0 && ends {
            return i + 1;
        }
    }
    words.len()
}

/// `words` without the items that are compiled for tests, or for the checks, alone.
pub fn without_tests<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let (mut kept, mut rest) = (Vec::new(), words);
    while let Some(&first) = rest.first() {
        let checked = checks_only(rest);
        if checked > 0 {
            rest = &rest[checked + item_length(&rest[checked..])..];
        } else {
            kept.push(first);
            rest = &rest[1..];
        }
    }
    kept
}
