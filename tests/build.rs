//! Compiles the instrument's programs (`src/bench/bpf/`) with clang.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/bench/bpf");
    println!("cargo::rerun-if-changed=../router/src/fastpath/bpf");
    compile("instrument");
    compile("steps");
    compile("bare");
}

fn compile(name: &str) {
    let folder = std::env::var_os("OUT_DIR").map(PathBuf::from).expect("cargo names a folder");
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the architecture");
    let mut clang = Command::new("clang");
    clang.args([
        "-O2",
        "-g",
        "-target",
        "bpf",
        "-mcpu=v3",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",
    ]);
    // As router/build.rs does.
    if machine == "x86_64" {
        clang.arg("-D__TARGET_ARCH_x86");
    }
    let status = clang
        // Debian keeps <asm/types.h> where only its own architecture looks.
        .arg(format!("-I/usr/include/{machine}-linux-gnu"))
        .arg("-c")
        .arg(Path::new("src/bench/bpf").join(name).with_extension("bpf.c"))
        .arg("-o")
        .arg(folder.join(name).with_extension("o"))
        .status()
        .expect("clang runs: `make setup` installs it");
    assert!(status.success(), "clang cannot compile {name}");
}
