# Functions to build an initramfs of Debian packages, for the guest router and for the guests of the tests. To be sourced
# by a script that has set
#
#   name      what it calls itself in messages
#   packages  the folder that keeps what was downloaded
#   root      a scratch folder: packages are unpacked in $root/packages, the initramfs is put together in $root/initramfs
# shellcheck shell=sh disable=SC2154

# linux-image-amd64 is an empty package that depends on the kernel of today.
kernel_package() {
    found=$(apt-cache depends linux-image-amd64 2>/dev/null \
        | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
    if [ -z "$found" ]; then
        echo "$name: apt does not know linux-image-amd64; run 'apt-get update' first" >&2
        return 1
    fi
    echo "$found"
}

# What apt would install of these packages today, a PACKAGE=VERSION a line.
candidates() {
    apt-cache policy "$@" \
        | awk '/^[a-z]/ { name = $1; sub(":$", "", name) } /^ *Candidate:/ { print name "=" $2 }'
}

# Downloads packages (PACKAGE=VERSION each) unless they are there, and unpacks them.
unpack() {
    mkdir -p "$packages" "$root/packages" "$root/initramfs"
    chmod 755 "$root" "$root/packages" "$root/initramfs"
    for package in "$@"; do
        file=$(ls "$packages/${package%%=*}"_*.deb 2>/dev/null | head -n 1 || true)
        if [ -z "$file" ] || [ "$(dpkg-deb -f "$file" Version)" != "${package#*=}" ]; then
            rm -f "$packages/${package%%=*}"_*.deb
            # apt warns that it cannot drop its privileges here: that is of no interest.
            (cd "$packages" && apt-get download -qq -o APT::Sandbox::User=root "$package")
        fi
        dpkg-deb -x "$packages/${package%%=*}"_*.deb "$root/packages"
    done
}

# In Debian /bin may be a link to /usr/bin; the packages still come in both ways.
find_one() {
    for place in bin sbin usr/bin usr/sbin; do
        if [ -x "$root/packages/$place/$1" ]; then echo "$root/packages/$place/$1"; return 0; fi
    done
    echo "$name: no $1 in the packages" >&2
    return 1
}

# Puts the libraries that programs need into this folder. They come from this machine: it runs the same Debian.
copy_libraries() {
    ldd "$@" | awk '/=> not found/ { print "missing " $1 } /=> \// { print $3 } /^[ \t]*\// { print $1 }' \
        | grep -v ':$' | sort -u | while read -r library rest; do
        if [ "$library" = missing ]; then
            echo "$name: this machine lacks the library $rest, which the guest's programs need" >&2
            return 1
        fi
        mkdir -p ".$(dirname "$library")"
        cp -L "$library" ".$library"
    done
}

# Copies kernel modules, and what they need, from the unpacked kernel to lib/modules of this folder, and writes
# lib/modules/order: an order that insmod can take.
copy_modules() {
    release=$(ls "$root/packages/lib/modules")
    tree="$root/packages/lib/modules/$release"
    [ -s "$tree/modules.dep" ] || busybox depmod -b "$root/packages" "$release"
    mkdir -p lib/modules
    for module in "$@"; do needs "$module"; done | awk '!seen[$0]++' | while read -r file; do
        cp "$tree/${file#"/lib/modules/$release/"}" lib/modules/
        basename "$file" >> lib/modules/order
    done
}

pattern() { echo "$1" | sed 's/[-_]/[-_]/g'; }

# A subshell for a body: the function calls itself and needs its variables to itself.
needs() (
    if line=$(grep -m 1 "/$(pattern "$1")\.ko:" "$tree/modules.dep"); then
        for file in ${line#*:}; do needs "$(basename "$file" .ko)"; done
        echo "${line%%:*}"
    elif ! grep -q "/$(pattern "$1")\.ko" "$tree/modules.builtin"; then
        echo "$name: the kernel has no module $1" >&2
        exit 1
    fi
)
