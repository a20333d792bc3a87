//! The table of faults: each is produced by a peer, and `explain` names the step and the cause.

mod flow;
mod line;
mod plain;
