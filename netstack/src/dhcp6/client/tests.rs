//! A client on a link with a server that is played by hand, in virtual time.

mod bench;
mod leasing;
mod losing;
mod telling;
