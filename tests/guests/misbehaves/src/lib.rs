//! A plugin that misbehaves on every event in the way that `does` says. Its counterpart, with `does` set to
//! `nothing`, takes everything.

use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Level, Plugin, Result, Run, Verdict,
    Wishes, http,
};
use std::time::Duration;

/// The plugin.
pub struct Misbehaves {
    does: String,
    target: String,
}

impl Plugin for Misbehaves {
    fn init(config: &Config) -> Result<Self> {
        let does = config.get("does").unwrap_or("nothing").to_owned();
        if does == "init" {
            panic!("INIT PANICS");
        }
        Ok(Self { does, target: config.get("target").unwrap_or_default().to_owned() })
    }

    fn wishes(&self) -> Wishes {
        if self.does.starts_with("gate") {
            return Wishes::default().gate();
        }
        Wishes::events([EventKind::RunStarted, EventKind::TestFinished, EventKind::RunFinished])
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        match self.does.as_str() {
            "trap" => panic!("TRAPS"),
            "loop" => loop {
                std::hint::black_box(event);
            },
            "sleep" => std::thread::sleep(Duration::from_secs(100_000)),
            "allocate" => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            "log" => {
                for _ in 0..20_000 {
                    cx.log(Level::Info, "flood ".repeat(100));
                }
            }
            "request" => {
                for _ in 0..10_000 {
                    // Denied and refused ones count too; what comes of them is not the point.
                    _ = cx.send(http::get(format!("{}/flood", self.target)));
                }
            }
            "keep" => {
                let mut number = 0_u64;
                while cx.set(&format!("{}-{number}", event.id), vec![7; 60_000]).is_ok() {
                    number += 1;
                }
                return Err(Error::permanent("THE STORE IS FULL"));
            }
            "deceive" => return Ok(deceive(cx)),
            "deceive-and-fail" => {
                deceive(cx);
                return Err(Error::permanent(TRICKS));
            }
            _ => {}
        }
        Ok(vec![Annotation::new(format!("Heard {}", event.kind.as_str()))])
    }

    fn gate(&self, _: &Run, _: &mut Context<'_>) -> Verdict {
        match self.does.as_str() {
            "gate-refuse" => Verdict::Refuse("IT IS FRIDAY".into()),
            "gate-add" => Verdict::GoWith(vec![("failures".into(), "0".into())]),
            "gate-loop" => loop {
                std::hint::black_box(0);
            },
            _ => Verdict::Go,
        }
    }
}

/// What a page must neither run nor be deceived by. A script that runs sets `window.pwned`.
const TRICKS: &str = "\"'></pre></script><script>window.pwned=1</script><img src=x onerror=window.pwned=1> \
    \x1b[31mred\x1b]8;;javascript:window.pwned=1\x1b\\link \u{202e}deliaf\u{202c}\u{200b}";

/// Writes tricks wherever a plugin can write.
fn deceive(cx: &mut Context<'_>) -> Vec<Annotation> {
    cx.log(Level::Error, TRICKS);
    let urls = [
        "javascript:window.pwned=1",
        "data:text/html,<script>window.pwned=1</script>",
        "http://127.0.0.1:1/\" onmouseover=\"window.pwned=1",
    ];
    let annotation = |url: &&str| Annotation::new(TRICKS).url(*url).value(TRICKS, TRICKS);
    urls.iter().map(annotation).collect()
}

handoff_plugin::plugin!(Misbehaves);
