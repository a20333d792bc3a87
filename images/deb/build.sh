#!/bin/sh
# Builds the Debian packages: build.sh OUT PROGRAM DOCUMENTS IMAGE
#
# OUT        the folder that gets genkan_VERSION_ARCH.deb and genkan-vm_VERSION_amd64.deb
# PROGRAM    target/release/genkan
# DOCUMENTS  the folder with the manual pages and completions that router/examples/documents.rs wrote
# IMAGE      the base image of the guest, genkan-vm.qcow2
#
# The same sources give the same packages, octet by octet: every time in them is that of the last commit, or
# SOURCE_DATE_EPOCH.
set -eu

out=$(mkdir -p "$1" && realpath "$1")
program=$(realpath "$2")
documents=$(realpath "$3")
image=$(realpath "$4")
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
umask 022

source=$out/build/genkan-$version
rm -rf "$out/build"
mkdir -p "$source"
cp -R images/deb/debian "$source/debian"
cp images/genkan.service "$source/debian/genkan.service"

# Where the copyright names it, the licence is quoted as the format wants it: indented, empty lines as dots.
sed -e '1,4d' -e 's/^$/./' -e 's/^/ /' LICENSE-MIT >"$out/build/licence"
sed -i -e "/^@LICENSE-MIT@\$/{r $out/build/licence" -e 'd}' "$source/debian/copyright"
cat >"$source/debian/changelog" <<END
genkan ($version) unstable; urgency=medium

  * What is new is in CHANGELOG.md, beside this file.

 -- The genkan developers <maintainers@genkan.example>  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
END

files=$source/files/genkan
install -D -m 755 "$program" "$files/usr/sbin/genkan"
install -D -m 600 config/examples/minimal.toml "$files/etc/genkan/gateway.toml.example"
install -d "$files/usr/share/man/man8" "$files/usr/share/doc/genkan/examples"
install -m 644 "$documents"/genkan*.8 "$files/usr/share/man/man8/"
install -D -m 644 "$documents/genkan.bash" "$files/usr/share/bash-completion/completions/genkan"
install -D -m 644 "$documents/_genkan" "$files/usr/share/zsh/vendor-completions/_genkan"
install -D -m 644 "$documents/genkan.fish" "$files/usr/share/fish/vendor_completions.d/genkan.fish"
install -m 644 config/examples/*.toml "$files/usr/share/doc/genkan/examples/"
install -m 644 README.md CHANGELOG.md "$files/usr/share/doc/genkan/"

files=$source/files/genkan-vm
install -D -m 755 images/libvirt/genkan-vm "$files/usr/sbin/genkan-vm"
install -D -m 644 images/libvirt/genkan-vm.8 "$files/usr/share/man/man8/genkan-vm.8"
install -D -m 644 images/libvirt/domain.xml "$files/usr/share/genkan-vm/domain.xml"
install -D -m 644 "$image" "$files/usr/share/genkan-vm/genkan-vm.qcow2"
echo "$version" >"$files/usr/share/genkan-vm/version"

# Cargo and its programs are not asked for: what is packed is built already.
(cd "$source" && dpkg-buildpackage --build=binary --no-sign) >"$out/build/log" 2>&1 || {
    cat "$out/build/log" >&2
    exit 1
}
rm -f "$out"/*.deb
mv "$out"/build/*.deb "$out"
rm -rf "$out/build"
ls "$out"/*.deb
