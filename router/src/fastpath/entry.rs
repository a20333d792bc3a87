//! The doors of the kernel half.

use std::fmt;

use serde::Serialize;

/// By what frames of a port enter the kernel half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// Not at all: everything goes to user space.
    #[default]
    None,
    /// The driver of a card.
    Xdp,
    /// The ingress of a card, the egress of a tap.
    Tc,
    /// The driver of a card, then its ingress.
    Both,
}

impl Entry {
    /// There is an XDP program.
    pub fn xdp(self) -> bool {
        matches!(self, Entry::Xdp | Entry::Both)
    }

    /// There is a tc program.
    pub fn tc(self) -> bool {
        matches!(self, Entry::Tc | Entry::Both)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Entry::None => "user space",
            Entry::Xdp => "XDP",
            Entry::Tc => "tc",
            Entry::Both => "XDP and tc",
        })
    }
}
