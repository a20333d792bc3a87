//! `genkan`: the program.

fn main() {}
