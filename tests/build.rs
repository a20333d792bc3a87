//! Compiles the instrument's programs (`src/bench/bpf/`) with clang.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/bench/bpf");
    let folder = std::env::var_os("OUT_DIR").map(PathBuf::from).expect("cargo names a folder");
    // Debian keeps <asm/types.h> where only its own architecture looks.
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the architecture");
    let status = Command::new("clang")
        .args([
            "-O2",
            "-g",
            "-target",
            "bpf",
            "-mcpu=v3",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-parameter",
        ])
        .arg(format!("-I/usr/include/{machine}-linux-gnu"))
        .args(["-c", "src/bench/bpf/instrument.bpf.c", "-o"])
        .arg(folder.join("instrument.o"))
        .status()
        .expect("clang runs: `make setup` installs it");
    assert!(status.success(), "clang cannot compile the instrument");
}
