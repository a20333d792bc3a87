//! Clients and concentrators on one cable, in virtual time.

mod cable;
mod dialling;
mod families;
mod sessions;
mod tags;
