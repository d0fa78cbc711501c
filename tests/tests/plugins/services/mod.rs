//! What each service documents: which requests it takes, and what it answers.

pub(crate) mod archive;
pub(crate) mod email;
pub(crate) mod github;
pub(crate) mod jira;
pub(crate) mod pagerduty;
pub(crate) mod slack;
pub(crate) mod traces;
pub(crate) mod webhook;
