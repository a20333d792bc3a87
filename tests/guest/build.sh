#!/bin/sh
# Builds the guest that runs the real peers: Debian's kernel with its WireGuard and VXLAN, and a small initramfs with Debian's
# ppp, pppoe, radvd, Kea's DHCPv6 server, WIDE's DHCPv6 client and server, ip and wg.
#
# usage: build.sh OUT [PROGRAM]
#
# OUT/vmlinuz and OUT/initramfs.gz are the result; the folder packages beside OUT keeps what was downloaded. Nothing is
# done when the result is newer than this folder and the packages are the ones that apt would install today.
# OUT/router/initramfs.gz has PROGRAM as well, this machine's ip and tc to look at what it does, and its nft for a router to
# compare it with.
set -eu

out=${1:?usage: build.sh OUT [PROGRAM]}
tested=${2:+$(realpath "$2")}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
packages=$(dirname "$out")/packages
name=guest
. "$here/../../images/initramfs.sh"

# The modules that the guest loads, besides what these need.
modules="virtio_pci virtio_net virtio_console virtio_rng ppp_generic ppp_async ppp_synctty pppoe 8021q
    sch_ingress cls_bpf tun wireguard vxlan bridge crc32c_generic nf_tables nft_ct nft_chain_nat nft_masq"

kernel=$(kernel_package)
wanted=$(candidates "$kernel" ppp pppoe busybox-static radvd kea-common kea-dhcp6-server wide-dhcpv6-client \
    wide-dhcpv6-server iproute2 wireguard-tools)

fresh() {
    [ -s "$out/vmlinuz" ] && [ -s "$out/initramfs.gz" ] || return 1
    [ "$(cat "$out/contents" 2>/dev/null)" = "$wanted" ] || return 1
    for source in "$here"/* "$here/../../images/initramfs.sh"; do
        [ "$source" -nt "$out/initramfs.gz" ] && return 1
    done
    return 0
}

# An initramfs may be several archives, one after the other.
with_program() {
    [ -n "$tested" ] || return 0
    mkdir -p "$root/program/usr/sbin" "$out/router"
    chmod 755 "$root/program" "$root/program/usr" "$root/program/usr/sbin"
    strip -o "$root/program/usr/sbin/genkan" "$tested"
    cd "$root/program"
    for tool in ip tc nft; do cp -L "$(PATH=$PATH:/usr/sbin:/sbin command -v $tool)" usr/sbin/; done
    copy_libraries usr/sbin/*
    find . | cpio --quiet -o -H newc | gzip -1 | cat "$out/initramfs.gz" - > "$out/router/initramfs.gz"
}

root=$(mktemp -d "$out/root.XXXXXX")
trap 'rm -rf "$root"' EXIT INT TERM
if fresh; then
    with_program
    exit 0
fi

echo "guest: building from" $wanted
# shellcheck disable=SC2086 # a list of words
unpack $wanted

cd "$root/initramfs"
mkdir -p bin sbin dev proc sys run tmp root etc/ppp usr/sbin usr/lib lib/modules var/run var/log
ln -s ../proc/mounts etc/mtab
cp "$here/init" init
chmod 755 init
printf 'root:x:0:0:root:/root:/bin/sh\n' > etc/passwd
printf 'root:x:0:\n' > etc/group

cp "$(find_one busybox)" bin/busybox
programs="pppd pppoe-server pppoe radvd kea-dhcp6 dhcp6c dhcp6s ip wg"
for program in $programs; do cp "$(find_one $program)" usr/sbin/; done
hook=$(cd "$root/packages" && find usr/lib -name libdhcp_run_script.so)
mkdir -p "$(dirname "$hook")" var/lib/dhcpv6
cp "$root/packages/$hook" "$hook"
# dhcp6c and dhcp6s want a key for their control ports, which nobody uses.
mkdir etc/wide-dhcpv6
plugins=$(find "$root/packages/usr/lib/pppd" -name pppoe.so -o -name rp-pppoe.so | sort)
for plugin in $plugins; do
    folder=${plugin#"$root/packages/"}
    mkdir -p "$(dirname "$folder")"
    cp -L "$plugin" "$folder"
done

# shellcheck disable=SC2046 # lists of words
copy_libraries $(printf 'usr/sbin/%s ' $programs) $(find usr/lib -name '*.so')

# shellcheck disable=SC2086 # a list of words
copy_modules $modules

find . | cpio --quiet -o -H newc | gzip -1 > "$out/initramfs.gz.new"
cp "$root/packages/boot/vmlinuz-$release" "$out/vmlinuz"
mv "$out/initramfs.gz.new" "$out/initramfs.gz"
printf '%s\n' "$wanted" > "$out/contents"
with_program
