//! Clients and concentrators on one cable, in virtual time.

mod cable;
mod dialling;
mod sessions;
mod tags;
