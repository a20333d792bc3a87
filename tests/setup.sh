#!/bin/sh
# Installs the Debian packages given, and Rust, where they are missing.
set -eu

if [ -z "$(command -v apt-get)" ]; then
    echo "setup: this is no Debian; install by hand what is missing of: $*" >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi
missing=
for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
# The guest is built from packages that apt has to know of.
apt-cache policy linux-image-amd64 | grep -q 'Candidate: [0-9]' || $as_root apt-get update -qq

if [ -z "$(command -v cargo)" ]; then
    echo "setup: installing Rust with rustup, for this user"
    [ -n "$(command -v curl)" ] || $as_root apt-get install -qq -y --no-install-recommends curl >/dev/null
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c clippy -c rustfmt
fi
