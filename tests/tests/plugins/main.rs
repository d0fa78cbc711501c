//! The plugins that come with the server, as their users have them: a real server, real runs, the real
//! components, and in place of each service a server on the loopback interface that holds every request to what
//! the service documents, and answers as it does, also where something is wrong.
//!
//! | file | |
//! | --- | --- |
//! | `cases` | the table: each service with its plugin's configuration, and what it is to hear |
//! | `harness` | what is done with each of them |
//! | `service` | a server that plays a service |
//! | `services` | what each service documents, one file a service |
//! | `readme` | the commands in the plugins' READMEs |
//! | `s3` | the archive against a store that nobody here wrote |

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

mod cases;
mod harness;
mod readme;
mod s3;
mod service;
mod services;
