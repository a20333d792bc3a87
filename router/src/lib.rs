//! The program: everything that touches the machine.
//!
//! `netstack` decides what happens to a frame; this crate brings frames in and takes them out ([`port`]), shows them
//! to whoever asks ([`capture`]), and keeps every `unsafe` block of the project in one folder, `sys/`.
#![deny(unsafe_code)]

pub mod capture;
pub mod port;
pub mod settings;
#[allow(unsafe_code)]
mod sys;

pub use sys::{netns, poll};
