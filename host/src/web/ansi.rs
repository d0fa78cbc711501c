//! Lines of a log as a terminal would colour them, and with nothing else that a terminal would do.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

use super::text::{self, Html};

/// A line with its colours. What moves the cursor, sets titles or links is left out.
pub(super) fn line(line: &str) -> Html {
    let mut painter = Painter::default();
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    line.bytes().for_each(|byte| parser.advance(&mut painter, byte));
    painter.close();
    Html::made(painter.html)
}

/// A message, which may have several lines, with its colours.
pub(super) fn message(message: &str) -> Html {
    Html::made(format!("<bdi>{}</bdi>", line(&message.replace("\r\n", "\n"))))
}

/// How text looks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    underlined: bool,
    foreground: Option<u8>,
    background: Option<u8>,
}

impl Style {
    fn classes(self) -> String {
        let flags =
            [(self.bold, "a-b"), (self.dim, "a-d"), (self.italic, "a-i"), (self.underlined, "a-u")];
        let mut classes: Vec<String> =
            flags.iter().filter(|(is_set, _)| *is_set).map(|(_, class)| (*class).into()).collect();
        classes.extend(self.foreground.map(|colour| format!("a-f{colour}")));
        classes.extend(self.background.map(|colour| format!("a-g{colour}")));
        classes.join(" ")
    }

    /// Takes in one parameter; those of a colour of its own take the ones that follow.
    fn set(&mut self, code: u16, rest: &mut impl Iterator<Item = u16>) {
        let low = |code: u16| u8::try_from(code).ok();
        match code {
            0 => *self = Self::default(),
            1 => self.bold = true,
            2 => self.dim = true,
            3 => self.italic = true,
            4 => self.underlined = true,
            22 => (self.bold, self.dim) = (false, false),
            23 => self.italic = false,
            24 => self.underlined = false,
            30..=37 => self.foreground = low(code - 30),
            38 => self.foreground = colour(rest),
            39 => self.foreground = None,
            40..=47 => self.background = low(code - 40),
            48 => self.background = colour(rest),
            49 => self.background = None,
            90..=97 => self.foreground = low(code - 82),
            100..=107 => self.background = low(code - 92),
            _ => {}
        }
    }
}

/// The nearest of the sixteen colours that the style sheet has.
fn colour(rest: &mut impl Iterator<Item = u16>) -> Option<u8> {
    let (red, green, blue) = match rest.next()? {
        2 => (rest.next()?, rest.next()?, rest.next()?),
        5 => match rest.next()? {
            index @ 0..=15 => return u8::try_from(index).ok(),
            index @ 16..=231 => {
                let of = |step: u16| step * 51;
                let index = index - 16;
                (of(index / 36), of(index / 6 % 6), of(index % 6))
            }
            grey => {
                let grey = grey.min(255) * 10 - 2312;
                (grey, grey, grey)
            }
        },
        _ => return None,
    };
    let bit = |part: u16, place: u8| if part > 100 { 1 << place } else { 0 };
    let bright = if red.max(green).max(blue) > 200 { 8 } else { 0 };
    Some(bit(red, 0) | bit(green, 1) | bit(blue, 2) | bright)
}

#[derive(Default)]
struct Painter {
    html: String,
    style: Style,
    /// How what is open was opened.
    open: Option<Style>,
}

impl Painter {
    fn close(&mut self) {
        if self.open.take().is_some() {
            self.html.push_str("</span>");
        }
    }
}

impl Perform for Painter {
    fn print(&mut self, c: char) {
        if self.open.unwrap_or_default() != self.style {
            self.close();
            if self.style != Style::default() {
                self.html.push_str(&format!("<span class=\"{}\">", self.style.classes()));
                self.open = Some(self.style);
            }
        }
        text::push(&mut self.html, c);
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\t' | b'\n') {
            self.print(char::from(byte));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: u8) {
        if action != b'm' || !intermediates.is_empty() {
            return;
        }
        let mut codes = params.iter().flatten().copied();
        if params.is_empty() {
            self.style = Style::default();
        }
        while let Some(code) = codes.next() {
            self.style.set(code, &mut codes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes() {
        assert_eq!(
            line("a \x1b[1;31mred\x1b[0m b").to_string(),
            "a <span class=\"a-b a-f1\">red</span> b"
        );
        assert_eq!(line("\x1b[38;5;196mx").to_string(), "<span class=\"a-f9\">x</span>");
        assert_eq!(line("\x1b[38;2;0;0;255mx").to_string(), "<span class=\"a-f12\">x</span>");
        assert_eq!(line("\x1b[38;5;255mx\x1b[48;5;999my").to_string().matches("span").count(), 4);
    }

    #[test]
    fn what_else_a_terminal_would_do_is_left_out() {
        let hostile =
            "\x1b]0;title\x07a\x1b[2J\x1b[1A\x1b]8;;http://x.test\x1b\\link\x1b]8;;\x1b\\\rb\x08";
        assert_eq!(line(hostile).to_string(), "alinkb");
        assert_eq!(
            line("<b>\x1b[31m<i>").to_string(),
            "&lt;b&gt;<span class=\"a-f1\">&lt;i&gt;</span>"
        );
    }
}
