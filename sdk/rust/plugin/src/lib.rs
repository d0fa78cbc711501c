//! Write a Handoff plugin in Rust: a type that is made of its configuration and told what happens to runs.
//!
//! ```
//! use handoff_plugin::{Annotation, Config, Context, Event, EventKind, Plugin, Result, Wishes, http};
//!
//! struct Hook {
//!     url: String,
//! }
//!
//! impl Plugin for Hook {
//!     fn init(config: &Config) -> Result<Self> {
//!         Ok(Self { url: config.require("url")? })
//!     }
//!
//!     fn wishes(&self) -> Wishes {
//!         Wishes::events([EventKind::RunFinished]).http(&self.url)
//!     }
//!
//!     fn handle(&self, event: &Event, cx: &mut Context) -> Result<Vec<Annotation>> {
//!         let answer = cx.send(http::post(&self.url).json(event))?.success()?;
//!         Ok(vec![Annotation::new("Posted").value("status", answer.status())])
//!     }
//! }
//!
//! handoff_plugin::plugin!(Hook);
//! # fn main() {}
//! ```
//!
//! - Each call is made in a fresh instance: what is in memory is gone afterwards. What must be carried over
//!   goes through [`Context::set`] and [`Context::get`].
//! - An event may come more than once, and then has the same [`Event::id`].
//! - An error that is returned is tried again later, up to a day; [`Error::permanent`] says that it is of no
//!   use, and [`Error::retry_after`] when. A panic is tried again too, but too many in a row end in the plugin
//!   being disabled.
//! - A plugin reaches the hosts that it is granted (`allow_http`) and no others.
//! - [`testing`] runs a plugin natively, in an ordinary `cargo test`.

#[doc(hidden)]
#[allow(missing_docs, reason = "generated code")]
pub mod bindings;
mod config;
mod context;
mod error;
mod event;
#[cfg(target_family = "wasm")]
mod guest;
pub mod http;
pub mod sign;
pub mod template;
pub mod testing;
pub mod text;

pub use config::Config;
pub use context::{Context, Level};
pub use error::{Error, Result};
pub use event::{
    AboutSuite, Counts, Event, EventKind, Link, Location, Run, Seen, Statistics, Suite, Test,
    Trouble,
};

/// A plugin.
pub trait Plugin: Sized {
    /// Makes it of its configuration. The error is shown to the operator, and the plugin stays disabled.
    fn init(config: &Config) -> Result<Self>;

    /// What it would like: which events, which hosts. Default: nothing.
    fn wishes(&self) -> Wishes {
        Wishes::default()
    }

    /// Takes an event, and gives what is to be shown with the run. Default: does nothing.
    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let _ = (event, cx);
        Ok(Vec::new())
    }

    /// Decides whether a run may start, if [`Wishes::gate`] was asked for. Default: it may.
    fn gate(&self, run: &Run, cx: &mut Context<'_>) -> Verdict {
        let _ = (run, cx);
        Verdict::Go
    }
}

/// What a plugin would like. The operator sees it beside what is granted; it grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub(crate) events: Vec<EventKind>,
    pub(crate) http: Vec<String>,
    pub(crate) gate: bool,
}

impl Wishes {
    /// These events.
    pub fn events(events: impl IntoIterator<Item = EventKind>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }

    /// To reach the host of this URL, too.
    #[must_use]
    pub fn http(mut self, url: impl AsRef<str>) -> Self {
        self.http.push(http::origin(url.as_ref()));
        self
    }

    /// To be asked before a run starts.
    #[must_use]
    pub fn gate(mut self) -> Self {
        self.gate = true;
        self
    }
}

/// Something that is shown with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// In few words.
    pub title: String,
    /// Where it leads.
    pub url: Option<String>,
    /// More, by name.
    pub values: Vec<(String, String)>,
}

impl Annotation {
    /// An annotation with this title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), url: None, values: Vec::new() }
    }

    /// Where it leads.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// More, by name.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.values.push((name.into(), value.to_string()));
        self
    }
}

/// What a gate says to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may start.
    Go,
    /// It may start, with these parameters added.
    GoWith(Vec<(String, String)>),
    /// It must not start, for this reason.
    Refuse(String),
}

/// Makes a type that is a [`Plugin`] the one that this component is. Exactly one in a component.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "what the component exports")]
        const _: () = {
            struct Exported;

            impl $crate::__private::Guest for Exported {
                fn init() -> ::std::result::Result<$crate::__private::Wishes, ::std::string::String> {
                    $crate::__private::init::<$plugin>()
                }

                fn handle(
                    event: $crate::__private::Event,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<$crate::__private::Annotation>,
                    $crate::__private::Trouble,
                > {
                    $crate::__private::handle::<$plugin>(event)
                }

                fn gate(run: ::std::string::String) -> $crate::__private::Verdict {
                    $crate::__private::gate::<$plugin>(&run)
                }
            }

            $crate::__private::bindings::export!(Exported with_types_in $crate::__private::bindings);
        };
    };
}

/// What the macro expands to. Not for use by hand; changes without notice.
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod __private {
    pub use crate::bindings;
    pub use crate::bindings::exports::handoff::plugin::hooks::{
        Annotation, Event, Guest, Trouble, Verdict, Wishes,
    };
    pub use crate::guest::{gate, handle, init};
}
