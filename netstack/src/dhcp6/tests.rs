//! The codec against recorded messages and another implementation, and the machines against each other.

mod codec;
mod line;
