//! How statuses, times, sizes and trends look. Never by colour alone: each has its word or its letter.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::text::{Html, escaped};
use crate::model::{RunStatus, TestStatus};

/// A status as a sign, a word and a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Its word, which is its class in the style sheet too.
    pub(super) word: &'static str,
    /// The letter in a grid.
    pub(super) letter: char,
    sign: &'static str,
}

impl Look {
    /// How a word for a status looks.
    fn of(word: &'static str) -> Self {
        let (letter, sign) = match word {
            "passed" => ('P', "✓"),
            "failed" => ('F', "✗"),
            "error" => ('E', "!"),
            "skipped" => ('S', "–"),
            "cancelled" => ('C', "⊘"),
            "running" => ('R', "▶"),
            "flaky" => ('~', "≈"),
            _ => ('·', "○"),
        };
        Self { word, letter, sign }
    }

    /// The sign and the word.
    pub(super) fn chip(self) -> Html {
        let Self { word, sign, .. } = self;
        Html::made(format!(
            "<span class=\"chip {word}\"><span aria-hidden=\"true\">{sign}</span> {word}</span>"
        ))
    }
}

impl From<RunStatus> for Look {
    fn from(status: RunStatus) -> Self {
        Self::of(status.as_str())
    }
}

impl From<TestStatus> for Look {
    fn from(status: TestStatus) -> Self {
        Self::of(status.as_str())
    }
}

/// A word with its sign, in the colours of a status.
pub(super) fn word(class: &'static str, word: &str) -> Html {
    let Look { sign, .. } = Look::of(class);
    Html::made(format!(
        "<span class=\"chip {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>",
        escaped(word)
    ))
}

/// A share of one in per cent.
pub(super) fn percent(share: f64) -> String {
    let per_cent = share * 100.0;
    match per_cent {
        0.0 | 10.0.. => format!("{per_cent:.0} %"),
        ..0.1 => "under 0.1 %".into(),
        _ => format!("{per_cent:.1} %"),
    }
}

/// Passed after a failed attempt.
pub(super) fn flaky() -> Look {
    Look::of("flaky")
}

/// A time as people say it, with the exact one on hover.
pub(super) fn ago(at: Timestamp) -> Html {
    relative(at, Timestamp::now())
}

fn relative(at: Timestamp, now: Timestamp) -> Html {
    let exact = format!("{at:.0}");
    let title = exact.replace('T', " ").replace('Z', " UTC");
    let seconds = now.as_second() - at.as_second();
    let words = match seconds {
        -4..=4 => "now".to_owned(),
        5.. => format!("{} ago", span(seconds)),
        _ => format!("in {}", span(-seconds)),
    };
    Html::made(format!("<time datetime=\"{exact}\" title=\"{title}\">{words}</time>"))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long something took.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0 => "under 1 ms".into(),
        1..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{:.2} s", ms as f64 / 1000.0),
        10_000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A time that may be days.
pub(super) fn long(ms: u64) -> String {
    match ms / 86_400_000 {
        ..2 => duration(ms),
        days => format!("{days} days"),
    }
}

/// A size.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// Statuses of a suite's last runs, the oldest first: low and full for what passed, high for what did not.
pub(super) fn strip(runs: &[Look]) -> Html {
    let count = |word| runs.iter().filter(|look| look.word == word).count();
    let (passed, failed) = (count("passed"), count("failed") + count("error"));
    let label = format!("The last {} runs: {passed} passed, {failed} failed", runs.len());
    let mut svg = format!(
        "<svg class=\"strip\" viewBox=\"0 0 {} 20\" preserveAspectRatio=\"xMinYMid\" role=\"img\" aria-label=\"{label}\">",
        (runs.len() * 6).max(6)
    );
    for (at, look) in runs.iter().enumerate() {
        let (top, height) = match look.word {
            "passed" => (10, 10),
            "failed" | "error" => (0, 20),
            _ => (14, 6),
        };
        let (left, word) = (at * 6, look.word);
        let _ = write!(
            svg,
            "<rect class=\"{word}\" x=\"{left}\" y=\"{top}\" width=\"5\" height=\"{height}\"/>"
        );
    }
    svg.push_str("</svg>");
    Html::made(svg)
}

/// A line through values, the oldest first, with the last one and the largest in words.
pub(super) fn trend(title: &str, values: &[(u64, Look)], in_words: impl Fn(u64) -> String) -> Html {
    let Some((last, _)) = values.last() else { return Html::default() };
    let most = values.iter().map(|(value, _)| *value).max().unwrap_or(0).max(1);
    let x = |at: usize| 4.0 + 292.0 * at as f64 / (values.len() - 1).max(1) as f64;
    let y = |value: u64| 56.0 - 50.0 * value as f64 / most as f64;
    let mut line = String::new();
    let mut dots = String::new();
    for (at, (value, look)) in values.iter().enumerate() {
        let _ = write!(line, "{:.1},{:.1} ", x(at), y(*value));
        let (words, word) = (escaped(&in_words(*value)), look.word);
        let _ = write!(
            dots,
            "<circle class=\"{word}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{words}, {word}</title></circle>",
            x(at),
            y(*value)
        );
    }
    let (title, last, most) = (escaped(title), escaped(&in_words(*last)), escaped(&in_words(most)));
    Html::made(format!(
        "<figure class=\"trend\"><figcaption>{title}: <b>{last}</b> <span class=\"quiet\">at most {most}</span></figcaption>\
         <svg viewBox=\"0 0 300 60\" role=\"img\" aria-label=\"{title} of the last {} runs: {last}, at most {most}\">\
         <polyline points=\"{line}\"/>{dots}</svg></figure>",
        values.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_people_do() {
        let at = Timestamp::UNIX_EPOCH;
        let later = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(
            relative(at, later(150)).to_string(),
            "<time datetime=\"1970-01-01T00:00:00Z\" title=\"1970-01-01 00:00:00 UTC\">2 min ago</time>"
        );
        assert!(relative(later(7300), at).to_string().contains(">in 2 h<"));
        assert!(relative(at, later(3)).to_string().contains(">now<"));
    }

    #[test]
    fn quantities_have_few_digits() {
        assert_eq!(
            [7, 1500, 75_000, 7_260_000].map(duration),
            ["7 ms", "1.50 s", "1 min 15 s", "2 h 1 min"]
        );
        assert_eq!([7, 2048, 5 << 20].map(bytes), ["7 B", "2.0 KiB", "5.0 MiB"]);
        assert_eq!(
            [0.0, 0.0001, 0.034, 0.5, 1.0].map(percent),
            ["0 %", "under 0.1 %", "3.4 %", "50 %", "100 %"]
        );
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
