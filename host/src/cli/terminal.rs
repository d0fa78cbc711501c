//! What may reach the terminal, and how it looks there. Whatever a guest or a server says passes
//! through [`safe`] or [`safe_line`] first: text that moves the cursor, renames the window or fakes a
//! verdict must arrive as harmless characters.

use std::borrow::Cow;
use std::io::IsTerminal;

use crate::config::Environment;

/// How output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether to use colours.
    pub(crate) color: bool,
    /// Whether there is somebody to show progress to.
    pub(crate) live: bool,
}

impl Look {
    /// For files, pipes and logs.
    pub(crate) const PLAIN: Self = Self { color: false, live: false };

    /// What suits the stream: plain unless it is a terminal, and plain under `NO_COLOR`, `CI` or a
    /// terminal that can do nothing.
    pub(crate) fn of(stream: &impl IsTerminal, environment: &Environment) -> Self {
        let terminal = stream.is_terminal() && environment.get("TERM") != Some("dumb");
        let live = terminal && environment.get("CI").is_none();
        Self { color: live && environment.get("NO_COLOR").is_none(), live }
    }

    /// `text` in a style, if there are colours.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// All is well.
    Good,
    /// Something failed.
    Bad,
    /// Something to look at.
    Notable,
    /// What the line is about.
    Name,
    /// Beside the point.
    Faint,
    /// A number that matters.
    Strong,
    /// What counts no more.
    Struck,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32;1",
            Self::Bad => "31;1",
            Self::Notable => "33;1",
            Self::Name => "36",
            Self::Faint => "2",
            Self::Strong => "1",
            Self::Struck => "9",
        }
    }
}

/// Text of others, over several lines. Line breaks and tabs stay; colours stay if `color`, and are
/// dropped otherwise; every other control character, and every character that changes the direction of
/// writing, is written as its code.
pub(crate) fn safe(text: &str, color: bool) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut colored = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = color_sequence(rest) {
            if color {
                safe.push_str(&rest[..length]);
                colored = true;
            }
            rest = &rest[length..];
            continue;
        }
        let after = &rest[c.len_utf8()..];
        match c {
            // A line break of Windows; alone it would overwrite the line.
            '\r' if after.starts_with('\n') => {}
            c if is_dangerous(c) => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
        rest = after;
    }
    if colored {
        safe.push_str("\x1b[0m");
    }
    Cow::Owned(safe)
}

/// Text of others on one line, such as a name: as [`safe`] without colours, and line breaks and tabs
/// are written as their codes too.
pub(crate) fn safe_line(text: &str) -> Cow<'_, str> {
    match safe(text, false) {
        text if text.contains(['\n', '\t']) => {
            Cow::Owned(text.replace('\n', "\\n").replace('\t', "\\t"))
        }
        text => text,
    }
}

fn is_dangerous(c: char) -> bool {
    let keeps_its_place = matches!(c, '\n' | '\t');
    // Overrides, isolates and marks: <https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>.
    let turns_direction = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let breaks_lines = matches!(c, '\u{2028}' | '\u{2029}');
    (c.is_control() && !keeps_its_place) || turns_direction || breaks_lines
}

/// The length of the sequence that sets a colour or weight at the start of `text`. Sequences that hide
/// text or make it blink are none.
fn color_sequence(text: &str) -> Option<usize> {
    const LONGEST: usize = 32;
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.bytes().take(LONGEST).position(|b| !matches!(b, b'0'..=b'9' | b';'))?;
    if parameters.as_bytes()[end] != b'm' {
        return None;
    }
    let mut numbers = parameters[..end].split(';').map(|number| match number {
        "" => Some(0),
        number => number.parse::<u16>().ok(),
    });
    while let Some(number) = numbers.next() {
        match number? {
            0..=4 | 7 | 22..=24 | 27 | 30..=37 | 39..=47 | 49 | 90..=97 | 100..=107 => {}
            // A colour by number or by its three parts.
            38 | 48 => match numbers.next()?? {
                5 => _ = numbers.next()??,
                2 => _ = (numbers.next()??, numbers.next()??, numbers.next()??),
                _ => return None,
            },
            _ => return None,
        }
    }
    Some("\x1b[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "a\tb\nc", "größe → 日本 🎉"] {
            assert!(matches!(safe(text, true), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn nothing_that_moves_the_cursor_or_talks_to_the_terminal_passes() {
        for hostile in [
            "\x1b[2J",                // clears the screen
            "\x1b[1;1H",              // moves the cursor
            "\x1b]0;title\x07",       // renames the window
            "\x1b]52;c;aGk=\x07",     // writes to the clipboard
            "\x1b]8;;http://x\x1b\\", // a link
            "\x1bP1$r\x1b\\",         // device control
            "\x1bc",                  // resets the terminal
            "\u{9b}2J",               // the same as ESC [ in one character
            "a\rPASS",                // overwrites the line
            "\x08\x7f\0",
            "\x1b[8m", // hides what follows
            "\x1b[5m", // blinks
            "\x1b[38;9m",
            "\x1b[31",      // never ends
            "\u{202e}txet", // turns the direction of writing
        ] {
            for color in [true, false] {
                let shown = safe(hostile, color);
                assert!(!shown.chars().any(is_dangerous), "{hostile:?} became {shown:?}");
            }
        }
        assert_eq!(safe("a\rPASS\x07", true), "a\\rPASS\\u{7}");
    }

    #[test]
    fn colours_pass_only_where_there_are_colours_and_never_run_on() {
        let text = "\x1b[1;31mred\x1b[38;2;1;2;3m \x1b[38;5;7m";
        assert_eq!(safe(text, true), format!("{text}\x1b[0m"));
        assert_eq!(safe(text, false), "red ");
        assert_eq!(safe("\x1b[m", false), "");
    }

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(safe_line("a\r\nb\tc\x1b[31m"), "a\\nb\\tc");
    }

    #[test]
    fn a_stream_that_is_no_terminal_is_plain() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Look::of(&file, &Environment::default()), Look::PLAIN);
        assert_eq!(Look::PLAIN.paint(Style::Bad, "x"), "x");
    }
}
