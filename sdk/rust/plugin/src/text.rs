//! Texts as services want them: not too long.

/// At most so many characters; of a longer text the end goes, which an ellipsis shows.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The same on one line: each row of white space becomes a space.
pub fn line(text: &str, most: usize) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), most)
}

/// A duration for people, such as `1.5 s` or `2 min 3 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!((cut("äöü", 3), cut("äöüß", 3)), ("äöü".into(), "äö…".into()));
        assert_eq!(line(" a\n\tb  c ", 4), "a b…");
    }

    #[test]
    fn a_duration_is_told_as_exactly_as_people_want_it() {
        let all = [(7, "7 ms"), (1_540, "1.5 s"), (123_456, "2 min 3 s")];
        all.iter().for_each(|(ms, text)| assert_eq!(duration(*ms), *text));
    }
}
