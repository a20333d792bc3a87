//! Builds the kernel half: `src/fastpath/bpf/fastpath.bpf.c` becomes an object that the program carries in itself.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

const FOLDER: &str = "src/fastpath/bpf";

fn main() -> ExitCode {
    match build() {
        Ok(()) => {
            // It would be made of debug information, too, which says where the sources lie: the same sources are to make the same
            // program anywhere.
            println!("cargo::rustc-link-arg-bins=-Wl,--build-id=none");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the kernel half was not built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let folder = Path::new(FOLDER);
    rerun_if_changed(folder).map_err(|error| format!("{FOLDER}: {error}"))?;
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| error.to_string())?;
    // Where Debian has <asm/types.h>, which clang does not look for when it builds for BPF.
    let headers = PathBuf::from(format!("/usr/include/{architecture}-linux-gnu"));
    let object = env::var_os("OUT_DIR").map(|folder| PathBuf::from(folder).join("fastpath.o"));
    let mut clang = Command::new("clang");
    // The third version of the instructions is that of Linux 5.1.
    clang.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    // The object names its sources, for the verifier's messages: not by where they lie on this machine.
    clang.arg("-fdebug-compilation-dir=.");
    if architecture == "x86_64" {
        clang.arg("-D__TARGET_ARCH_x86");
    }
    clang.arg("-I").arg(&headers).arg("-c").arg(folder.join("fastpath.bpf.c"));
    clang.arg("-o").arg(object.ok_or("cargo says no OUT_DIR")?);
    let output = clang.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "clang is missing; on Debian it is in the package clang".into(),
        _ => format!("clang does not start: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let missing = |header: &str| said.contains(&format!("'{header}' file not found"));
    if missing("bpf/bpf_helpers.h") || missing("bpf/bpf_endian.h") {
        Err("libbpf's headers are missing; on Debian they are in the package libbpf-dev".into())
    } else if missing("linux/types.h") || missing("linux/bpf.h") || missing("asm/types.h") {
        Err("the kernel's headers are missing; on Debian they are in the package linux-libc-dev".into())
    } else {
        Err(format!("clang says:\n{said}"))
    }
}

fn rerun_if_changed(folder: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        println!("cargo::rerun-if-changed={}", entry?.path().display());
    }
    Ok(())
}
