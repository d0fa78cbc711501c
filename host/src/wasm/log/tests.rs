//! What a log keeps, cuts and drops.

use super::*;

fn limits(head: u64, tail: u64, line: u64) -> Limits {
    Limits { log_head_bytes: head, log_tail_bytes: tail, log_line_bytes: line, ..Limits::default() }
}

fn log_with(limits: &Limits, policy: Policy) -> (Log, LimitsHit) {
    let hits = LimitsHit::default();
    (Log::new(limits, Arc::new(policy), Arc::default(), None, hits.clone()), hits)
}

fn log(limits: &Limits) -> (Log, LimitsHit) {
    log_with(limits, Policy::default())
}

fn write(log: &Log, stdio: Stdio, text: impl AsRef<[u8]>) {
    log.stream(stdio).p2_stream().write(Bytes::copy_from_slice(text.as_ref())).unwrap();
}

fn texts(log: &Log) -> Vec<String> {
    log.finish().lines.into_iter().map(|line| line.text.into()).collect()
}

#[test]
fn lines_come_in_the_order_in_which_they_were_completed() {
    let (log, hits) = log(&Limits::default());
    write(&log, Stdio::Stdout, "one\ntw");
    write(&log, Stdio::Stderr, "err\r\n");
    log.log(Level::Warn, "careful\nnow\n");
    write(&log, Stdio::Stdout, "o\n\nthree");
    let finished = log.finish();
    let lines: Vec<_> = finished.lines.iter().map(|l| (l.source, l.text.as_str())).collect();
    let warn = Source::Log(Level::Warn);
    assert_eq!(
        lines,
        [
            (Source::Stdout, "one"),
            (Source::Stderr, "err"),
            (warn, "careful"),
            (warn, "now"),
            (Source::Stdout, "two"),
            (Source::Stdout, ""),
            (Source::Stdout, "three"),
        ]
    );
    assert!(finished.lines[4].at <= finished.lines[1].at, "a line has the time of its first byte");
    assert_eq!(hits.take(), []);
}

#[test]
fn lines_without_an_end_come_in_the_order_of_their_start() {
    let (log, _) = log(&Limits::default());
    write(&log, Stdio::Stderr, "first");
    write(&log, Stdio::Stdout, "second");
    assert_eq!(texts(&log), ["first", "second"]);
}

#[test]
fn the_middle_is_dropped_and_counted() {
    let (log, hits) = log(&limits(100, 100, 100));
    for number in 0..100 {
        write(&log, Stdio::Stdout, format!("this is line number {number:02}\n"));
    }
    let finished = log.finish();
    let texts: Vec<_> = finished.lines.iter().map(|l| l.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "this is line number 00",
            "this is line number 01",
            "this is line number 02",
            "this is line number 03",
            "… 2116 bytes of log dropped …",
            "this is line number 96",
            "this is line number 97",
            "this is line number 98",
            "this is line number 99",
        ]
    );
    assert_eq!(finished.dropped_bytes, 92 * 23);
    assert_eq!(hits.take(), [Limit::LogHeadBytes, Limit::LogTailBytes]);
}

#[test]
fn empty_lines_are_bounded_too() {
    let (log, _) = log(&limits(1600, 160, 100));
    let newlines = vec![b'\n'; WRITE_PERMIT];
    write(&log, Stdio::Stdout, &newlines);
    log.log(Level::Info, &"\n".repeat(16 << 20));
    assert_eq!(log.finish().lines.len(), 100 + 1 + 10);
}

#[test]
fn a_huge_message_keeps_its_start_and_its_end() {
    let (log, _) = log(&limits(100, 100, 50));
    log.log(Level::Info, &format!("start\n{}end", "some text\n".repeat(1 << 20)));
    let finished = log.finish();
    assert_eq!(finished.lines.first().unwrap().text, "start");
    assert_eq!(finished.lines.last().unwrap().text, "end");
    let kept: usize = finished.lines.iter().filter(|l| l.source != Source::Host).count();
    let kept = (kept - 2) as u64 * 10 + 6 + 4;
    assert_eq!(kept + finished.dropped_bytes, 10 + (10 << 20));
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let (log, hits) = log(&limits(1000, 1000, 4));
    write(&log, Stdio::Stdout, "aaaé");
    write(&log, Stdio::Stdout, "zz\nb\n");
    log.log(Level::Info, "123456");
    assert_eq!(texts(&log), ["aaa … [4 bytes cut]", "b", "1234 … [2 bytes cut]"]);
    assert_eq!(hits.take(), [Limit::LogLineBytes]);
}

#[test]
fn bytes_that_are_not_text_are_replaced() {
    let (log, _) = log(&Limits::default());
    write(&log, Stdio::Stdout, b"a\xffb\n");
    // A character that comes in two pieces is whole.
    write(&log, Stdio::Stdout, b"\xc3");
    write(&log, Stdio::Stdout, b"\xa9\n\xe2\x82");
    assert_eq!(texts(&log), ["a\u{fffd}b", "é", "\u{fffd}"]);
}

#[test]
fn secrets_are_masked_even_across_writes_and_cuts() {
    let secrets = std::collections::BTreeMap::from([("token".to_owned(), "hunter2".to_owned())]);
    let (log, _) = log_with(&limits(1000, 1000, 8), Policy { secrets, ..Policy::default() });
    write(&log, Stdio::Stdout, "a hun");
    write(&log, Stdio::Stdout, "ter2\n");
    log.log(Level::Info, "12345hunter2");
    log.log(Level::Info, "later");
    log.add_secret("later");
    log.log(Level::Info, "LATER later");
    assert_eq!(
        texts(&log),
        ["a *** … [1 bytes cut]", "12345*** … [4 bytes cut]", "***", "LATER *** … [3 bytes cut]"]
    );
}

#[test]
fn lines_are_seen_live_and_a_full_watcher_misses_some() {
    let (live, mut watcher) = mpsc::channel(1);
    let hits = LimitsHit::default();
    let live = Live { lines: live, mark: Some('\u{16}') };
    let log = Log::new(&Limits::default(), Arc::default(), Arc::default(), Some(live), hits);
    write(&log, Stdio::Stdout, "\u{16}one\ntwo\n");
    assert_eq!(watcher.try_recv().unwrap().text, "one");
    assert!(watcher.try_recv().is_err());
    assert_eq!(texts(&log), ["\u{16}one", "two"], "the mark is for the judge");
}

#[test]
fn more_than_the_permit_is_not_taken() {
    let (log, _) = log(&Limits::default());
    let mut stream = log.stream(Stdio::Stdout).p2_stream();
    assert_eq!(stream.check_write().unwrap(), WRITE_PERMIT);
    assert!(stream.write(Bytes::from(vec![0; WRITE_PERMIT + 1])).is_err());
    assert!(stream.write_zeroes(usize::MAX).is_err());
}
