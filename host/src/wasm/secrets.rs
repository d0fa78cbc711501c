//! Masks secret values in every text that leaves the sandbox.
//!
//! The patterns may come from a hostile guest, so the search takes time proportional to the text
//! whatever they are: one step of the automaton for each byte, and of all matches that end at a byte
//! only the longest is looked at.
//!
//! What leaves a sandbox may have been cut or encoded on the way: a service echoes a header, a library shows
//! the start of an answer. So the first half of a longer secret is searched for too, and what follows it of the
//! secret is masked with it; and so is what base64 makes of a secret, as in `Authorization: Basic …`, wherever in
//! the encoded text it begins.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What stands in a text in place of a secret.
pub(crate) const MASK: &str = "***";

/// Lines of a secret of many lines are searched for by themselves, because a log has only lines; the
/// shortest such line that is. Shorter ones (`}`) would mask half of every text.
const SHORTEST_LINE: usize = 4;

/// The shortest path of a secret URL that is searched for by itself. Shorter ones (`/`) stand anywhere.
const SHORTEST_PATH: usize = 8;

/// The shortest start of a secret, and the shortest encoded one, that is searched for by itself: shorter ones
/// may be words.
const SHORTEST_TRACE: usize = 8;

/// How many bytes of starts and encoded secrets are searched for at most; then no further ones are. Not a setting:
/// it is enough for hundreds of tokens, and secrets themselves are searched for in any case.
const TRACES_BYTES: usize = 64 << 10;

/// Something that is searched for.
struct Pattern {
    text: String,
    /// If it is the start of secrets: what follows it in each.
    rests: Vec<String>,
}

/// Finds secrets in texts.
#[derive(Default)]
pub(crate) struct Masker {
    patterns: Vec<Pattern>,
    /// Where each text stands among the patterns.
    index: HashMap<String, usize>,
    traces_bytes: usize,
    /// Made for the first text after a secret was added; none if it cannot be made.
    automaton: OnceLock<Option<NFA>>,
    longest: usize,
}

impl Masker {
    /// Looks for `secrets`; empty ones are ignored.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut masker = Self::default();
        masker.add(secrets);
        masker
    }

    /// Looks for these as well. False if there was nothing new among them.
    pub(crate) fn add<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) -> bool {
        let before = self.patterns.len();
        for secret in secrets {
            let lines = secret.lines().map(str::trim).filter(|l| l.len() >= SHORTEST_LINE);
            let lines = lines.filter(|line| *line != secret);
            lines.for_each(|line| self.look_for(line, None));
            self.look_for(secret, None);
            // The scheme and host of a URL may be shown, and names in a query, as in `?code=***`.
            if !secret.contains("://") {
                self.look_for_traces(secret);
            }
            for part in parts_of_url(secret) {
                self.look_for(part, None);
                if !part.contains('?') {
                    self.look_for_traces(part);
                }
            }
        }
        if self.patterns.len() == before {
            return false;
        }
        self.longest = self.patterns.iter().map(|it| it.text.len()).max().unwrap_or(0);
        self.automaton = OnceLock::new();
        true
    }

    /// What finds the patterns. Building fails only beyond 2^31 states, far above what the limit `secret_bytes` and
    /// the size of a policy let through; and then no text may pass, see `mask`.
    fn automaton(&self) -> Option<&NFA> {
        let texts = || self.patterns.iter().map(|pattern| &pattern.text);
        let build = || NFA::builder().match_kind(MatchKind::Standard).build(texts()).ok();
        self.automaton.get_or_init(build).as_ref()
    }

    /// Looks for a text, and if it is a start, for what may follow it.
    fn look_for(&mut self, text: &str, rest: Option<&str>) {
        if text.is_empty() {
            return;
        }
        let at = *self.index.entry(text.to_owned()).or_insert_with(|| {
            self.patterns.push(Pattern { text: text.to_owned(), rests: Vec::new() });
            self.patterns.len() - 1
        });
        self.patterns[at].rests.extend(rest.map(str::to_owned));
    }

    /// Looks for the start of a text, and for what base64 makes of it.
    fn look_for_traces(&mut self, text: &str) {
        let takes = text.len().saturating_mul(6);
        if self.traces_bytes.saturating_add(takes) > TRACES_BYTES {
            return;
        }
        self.traces_bytes += takes;
        let half = text.floor_char_boundary(text.len() / 2);
        if half >= SHORTEST_TRACE {
            self.look_for(&text[..half], Some(&text[half..]));
        }
        for encoded in encoded(text).filter(|it| it.len() >= SHORTEST_TRACE) {
            self.look_for(&encoded, None);
        }
    }

    /// The length of the longest secret in bytes; 0 if there is none.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// `text` with every secret in it masked.
    pub(crate) fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.mask_start(text, text.len())
    }

    /// The first `end` bytes of `text`, with every secret masked that begins in them. `end` must be a
    /// boundary between characters.
    pub(crate) fn mask_start<'a>(&self, text: &'a str, end: usize) -> Cow<'a, str> {
        if self.patterns.is_empty() || end == 0 {
            return Cow::Borrowed(&text[..end]);
        }
        let Some(automaton) = self.automaton() else { return Cow::Owned(MASK.to_owned()) };
        let found = self.ranges(automaton, text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(&text[..end]);
        }
        let mut masked = String::with_capacity(end);
        let mut at = 0;
        for (from, to) in found.into_iter().filter(|(from, _)| *from < end) {
            masked.push_str(&text[at..from]);
            masked.push_str(MASK);
            at = to;
        }
        if at < end {
            masked.push_str(&text[at..end]);
        }
        Cow::Owned(masked)
    }

    /// `content` with every secret in it masked; none if there is no secret in it.
    pub(crate) fn mask_bytes(&self, content: &[u8]) -> Option<Vec<u8>> {
        if self.patterns.is_empty() {
            return None;
        }
        let Some(automaton) = self.automaton() else { return Some(MASK.into()) };
        let found = self.ranges(automaton, content);
        if found.is_empty() {
            return None;
        }
        let mut masked = Vec::with_capacity(content.len());
        let mut at = 0;
        for (from, to) in found {
            masked.extend_from_slice(&content[at..from]);
            masked.extend_from_slice(MASK.as_bytes());
            at = to;
        }
        masked.extend_from_slice(&content[at..]);
        Some(masked)
    }

    /// Whether there is a secret in `text`.
    pub(crate) fn finds(&self, text: &str) -> bool {
        matches!(self.mask(text), Cow::Owned(_))
    }

    /// Masks in place.
    pub(crate) fn apply(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.mask(text) {
            *text = masked;
        }
    }

    /// Where secrets are, in order; overlapping ones are joined. The ends are boundaries between
    /// characters, because the patterns and the text are UTF-8.
    fn ranges(&self, automaton: &NFA, text: &[u8]) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        let Ok(mut state) = automaton.start_state(Anchored::No) else {
            return vec![(0, text.len())];
        };
        for (index, byte) in text.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, *byte);
            if !automaton.is_match(state) {
                continue;
            }
            // The first match of a state is the state's own pattern, the others are its suffixes.
            let Pattern { text: own, rests } =
                &self.patterns[automaton.match_pattern(state, 0).as_usize()];
            let (mut from, mut to) = (index + 1 - own.len(), index + 1);
            // What lies in a range already is not looked at again, so that each byte is once at most.
            if found.last().is_none_or(|(_, last_to)| *last_to < to) {
                to += rests.iter().map(|rest| common(rest, &text[to..])).max().unwrap_or(0);
            }
            while let Some((last_from, last_to)) = found.pop_if(|(_, last_to)| *last_to > from) {
                (from, to) = (from.min(last_from), to.max(last_to));
            }
            found.push((from, to));
        }
        found
    }
}

/// How much of `rest` `text` begins with, in whole characters.
fn common(rest: &str, text: &[u8]) -> usize {
    let same = rest.bytes().zip(text).take_while(|(a, b)| a == *b).count();
    rest.floor_char_boundary(same)
}

/// What stands in base64 for a text, for each place in which it may begin there, less what depends on what
/// is beside it.
fn encoded(text: &str) -> impl Iterator<Item = String> {
    (0..3).map(move |before| {
        let bytes = [&[0; 3][..before], text.as_bytes()].concat();
        // Three bytes are four characters; those that hold bits of a neighbour are left out.
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        STANDARD_NO_PAD.encode(&bytes).get(from..to).unwrap_or_default().to_owned()
    })
}

/// What a text may have of a URL that is secret: it is shown without its fragment and the values of its query,
/// and whoever is asked for it may tell of its path.
fn parts_of_url(secret: &str) -> impl Iterator<Item = &str> {
    let url = secret.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let path = url.and_then(|(_, rest)| rest.find(['/', '?', '#']).map(|at| &rest[at..]));
    let whole = path.map(|path| path.split('#').next().unwrap_or_default());
    let bare = path.map(|path| path.split(['?', '#']).next().unwrap_or_default());
    let parts = [whole, bare].into_iter().flatten();
    parts.filter(|path| path.len() >= SHORTEST_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let masker = Masker::new(["hunter2", "größe", "", "b"]);
        assert_eq!(masker.mask("x hunter2, größe."), "x ***, ***.");
        assert_eq!(masker.mask("hunter2hunter2 b"), "****** ***");
        assert_eq!(masker.mask("hunter"), "hunter");
        assert_eq!(Masker::default().mask("hunter2"), "hunter2");
    }

    #[test]
    fn what_is_no_text_is_masked_too() {
        let masker = Masker::new(["hunter2"]);
        assert_eq!(masker.mask_bytes(b"\xff hunter2 \xfe").unwrap(), b"\xff *** \xfe");
        assert_eq!(masker.mask_bytes(b"\xff hunter"), None);
        assert_eq!(Masker::default().mask_bytes(b"hunter2"), None);
    }

    #[test]
    fn overlapping_and_nested_secrets_leave_nothing() {
        let masker = Masker::new(["abc", "bcd", "c", "xabcdy"]);
        assert_eq!(masker.mask("-abcd-"), "-***-");
        assert_eq!(masker.mask("-xabcdy-"), "-***-");
        assert_eq!(masker.mask("-xabcd-"), "-x***-");
    }

    #[test]
    fn the_lines_of_a_key_are_masked_one_by_one() {
        let masker = Masker::new(["-----BEGIN-----\nMIIEvQ\n}\n"]);
        assert_eq!(masker.mask("MIIEvQ"), MASK);
        assert_eq!(masker.mask("{}"), "{}");
        assert_eq!(masker.mask("-----BEGIN-----\nMIIEvQ\n}\n"), MASK);
    }

    #[test]
    fn the_start_of_a_secret_is_masked_as_far_as_it_goes() {
        let masker = Masker::new(["correct-horse-battery-größe"]);
        assert_eq!(masker.mask("said: correct-horse-batt… is wrong"), "said: ***… is wrong");
        assert_eq!(masker.mask("correct-horse-battery-größe."), "***.");
        assert_eq!(masker.mask("correct-horse-battery-grö"), "***");
        assert_eq!(
            masker.mask("correct-hor, correct-horse-, ßcorrect-horse-x"),
            "correct-hor, ***, ß***x"
        );
        // Of two with one start, whichever goes further.
        let masker = Masker::new(["abcdefgh", "abcdefghQQQQQQQQ", "abcdefghijklmnop"]);
        assert_eq!(masker.mask("(abcdefghijkl)"), "(***)");
        // The scheme and host of a URL are no secret.
        let masker = Masker::new(["postgres://u:p@h/db", "https://app.example"]);
        assert_eq!(masker.mask("postgres://other, https://api"), "postgres://other, https://api");
        // A short one has no start of its own.
        assert_eq!(Masker::new(["hunter2hunter2"]).mask("hunter2"), "hunter2");
        let masker = Masker::new(["aaaaaaaaaaaaaaaaaaaaaaaab"]);
        assert_eq!(masker.mask(&"a".repeat(99)), MASK);
    }

    #[test]
    fn a_secret_in_base64_is_masked_wherever_it_begins() {
        let masker = Masker::new(["correct-horse-battery"]);
        for name in ["", "u", "us", "user", "größe"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{name}:correct-horse-battery!"));
            let masked = masker.mask(&encoded).into_owned();
            let shown: usize = masked.split(MASK).map(str::len).sum();
            assert!(shown <= (name.len() + 2) * 8 / 6 + 4, "{encoded}: {masked}");
        }
        assert_eq!(masker.mask("Basic dXNlcjpoYWxsbw"), "Basic dXNlcjpoYWxsbw");
    }

    #[test]
    fn the_path_of_a_secret_url_is_masked_wherever_it_stands() {
        let masker = Masker::new(["http://host:1/svc/hunter22?code=abc#f"]);
        assert_eq!(masker.mask("http://host:1/svc/hunter22?code=***"), "http://host:1***?code=***");
        assert_eq!(masker.mask("no /svc/hunter22?code=abc here"), "no *** here");
        let masker = Masker::new(["https://host/"]);
        assert_eq!(masker.mask("http://host/ and /"), "http://host/ and /");
    }

    #[test]
    fn a_cut_does_not_show_the_start_of_a_secret() {
        let masker = Masker::new(["hunter2"]);
        assert_eq!(masker.mask_start("see hunter2 there", 7), "see ***");
        assert_eq!(masker.mask_start("see hunter2 there", 13), "see *** t");
        assert_eq!(masker.mask_start("see hunter2 there", 3), "see");
    }

    #[test]
    fn a_secret_that_is_added_later_is_masked_from_then_on() {
        let mut masker = Masker::new(["a1"]);
        assert!(masker.add(["b2"]));
        assert!(!masker.add(["b2"]));
        assert_eq!(masker.mask("a1 b2"), "*** ***");
        assert_eq!(masker.longest(), 2);
    }
}
