//! The table of faults: each is produced by a peer, and `explain` names the step and the cause.

mod line;
