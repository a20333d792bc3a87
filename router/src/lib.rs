//! The program: everything that touches the machine.
//!
//! `netstack` decides what happens to a frame; this crate brings frames in and takes them out ([`port`]), shows them
//! to whoever asks ([`capture`]), runs the gateway ([`worker`]), answers the commands ([`control`], [`cli`]), and keeps every `unsafe` block of the project in one folder, `sys/`.
#![deny(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod clock;
pub mod control;
pub mod explain;
pub mod fastpath;
mod line;
mod log;
mod pause;
pub mod port;
pub mod privileges;
pub mod provision;
pub mod replay;
pub mod settings;
pub mod state;
#[allow(unsafe_code)]
mod sys;
mod watch;
pub mod worker;

pub use sys::{netns, poll};
