#!/bin/sh
# Builds the guest that runs the real peers: Debian's kernel with its WireGuard and VXLAN, and a small initramfs with Debian's
# ppp, pppoe, radvd, Kea's DHCPv6 server, WIDE's DHCPv6 client and server, ip and wg.
#
# usage: build.sh OUT [PROGRAM]
#
# OUT/vmlinuz and OUT/initramfs.gz are the result; OUT/packages keeps what was downloaded. Nothing is done when the
# result is newer than this folder and the packages are the ones that apt would install today. OUT/router/initramfs.gz
# has PROGRAM as well, and this machine's ip and tc to look at what it does.
set -eu

out=${1:?usage: build.sh OUT [PROGRAM]}
tested=${2:+$(realpath "$2")}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/packages"
out=$(cd "$out" && pwd)

# The modules that the guest loads, besides what these need.
modules="virtio_pci virtio_net virtio_console virtio_rng ppp_generic ppp_async ppp_synctty pppoe 8021q
    sch_ingress cls_bpf tun wireguard vxlan bridge"

# linux-image-amd64 is an empty package that depends on the kernel of today.
kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
if [ -z "$kernel" ]; then
    echo "guest: apt does not know linux-image-amd64; run 'apt-get update' first" >&2
    exit 1
fi

wanted=$(apt-cache policy "$kernel" ppp pppoe busybox-static radvd kea-common kea-dhcp6-server wide-dhcpv6-client \
    wide-dhcpv6-server iproute2 wireguard-tools \
    | awk '/^[a-z]/ { name = $1; sub(":$", "", name) } /^ *Candidate:/ { print name "=" $2 }')

fresh() {
    [ -s "$out/vmlinuz" ] && [ -s "$out/initramfs.gz" ] || return 1
    [ "$(cat "$out/contents" 2>/dev/null)" = "$wanted" ] || return 1
    for source in "$here"/*; do [ "$source" -nt "$out/initramfs.gz" ] && return 1; done
    return 0
}

# Puts the libraries that programs need into this folder. They come from this machine: it runs the same Debian.
copy_libraries() {
    ldd "$@" | awk '/=> not found/ { print "missing " $1 } /=> \// { print $3 } /^[ \t]*\// { print $1 }' \
        | grep -v ':$' | sort -u | while read -r library rest; do
        if [ "$library" = missing ]; then
            echo "guest: this machine lacks the library $rest, which the guest's programs need" >&2
            return 1
        fi
        mkdir -p ".$(dirname "$library")"
        cp -L "$library" ".$library"
    done
}

# An initramfs may be several archives, one after the other.
with_program() {
    [ -n "$tested" ] || return 0
    mkdir -p "$root/program/usr/sbin" "$out/router"
    chmod 755 "$root/program" "$root/program/usr" "$root/program/usr/sbin"
    strip -o "$root/program/usr/sbin/genkan" "$tested"
    cd "$root/program"
    for tool in ip tc; do cp -L "$(PATH=$PATH:/usr/sbin:/sbin command -v $tool)" usr/sbin/; done
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
mkdir "$root/packages" "$root/initramfs"
chmod 755 "$root" "$root/packages" "$root/initramfs"

cd "$out/packages"
for package in $wanted; do
    file=$(ls "${package%%=*}"_*.deb 2>/dev/null | head -n 1 || true)
    if [ -z "$file" ] || [ "$(dpkg-deb -f "$file" Version)" != "${package#*=}" ]; then
        rm -f "${package%%=*}"_*.deb
        # apt warns that it cannot drop its privileges here: that is of no interest.
        apt-get download -qq -o APT::Sandbox::User=root "$package"
    fi
    dpkg-deb -x "${package%%=*}"_*.deb "$root/packages"
done

cd "$root/initramfs"
mkdir -p bin sbin dev proc sys run tmp root etc/ppp usr/sbin usr/lib lib/modules var/run var/log
ln -s ../proc/mounts etc/mtab
cp "$here/init" init
chmod 755 init
printf 'root:x:0:0:root:/root:/bin/sh\n' > etc/passwd
printf 'root:x:0:\n' > etc/group

# In Debian /bin may be a link to /usr/bin; the packages still come in both ways.
find_one() {
    for place in bin sbin usr/bin usr/sbin; do
        if [ -x "$root/packages/$place/$1" ]; then echo "$root/packages/$place/$1"; return 0; fi
    done
    echo "guest: no $1 in the packages" >&2
    return 1
}
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

# The modules and what they need, in an order that insmod can take.
release=$(ls "$root/packages/lib/modules")
tree="$root/packages/lib/modules/$release"
busybox depmod -b "$root/packages" "$release"
pattern() { echo "$1" | sed 's/[-_]/[-_]/g'; }
# A subshell for a body: the function calls itself and needs its variables to itself.
needs() (
    if line=$(grep -m 1 "/$(pattern "$1")\.ko:" "$tree/modules.dep"); then
        for file in ${line#*:}; do needs "$(basename "$file" .ko)"; done
        echo "${line%%:*}"
    elif ! grep -q "/$(pattern "$1")\.ko" "$tree/modules.builtin"; then
        echo "guest: the kernel has no module $1" >&2
        exit 1
    fi
)
for module in $modules; do needs "$module" >> "$root/all"; done
awk '!seen[$0]++' "$root/all" > "$root/order"
while read -r file; do
    cp "$tree/${file#"/lib/modules/$release/"}" lib/modules/
    basename "$file" >> lib/modules/order
done < "$root/order"

find . | cpio --quiet -o -H newc | gzip -1 > "$out/initramfs.gz.new"
cp "$root/packages/boot/vmlinuz-$release" "$out/vmlinuz"
mv "$out/initramfs.gz.new" "$out/initramfs.gz"
printf '%s\n' "$wanted" > "$out/contents"
with_program
