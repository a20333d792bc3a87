#!/bin/sh
# Builds the guest router: Debian's kernel, a squashfs with genkan as the one service, a disk image with both that boots by
# BIOS and by UEFI, and an initramfs with the squashfs in it for boots without a disk. On the disk it stays there: a guest
# has memory for other things.
#
# usage: build.sh OUT PROGRAM
#
# OUT/vmlinuz, OUT/initramfs.gz and OUT/genkan-vm.qcow2 are the result; the folder packages beside OUT keeps what was
# downloaded. Nothing is done when the result was made of the same things. It needs no root. The same packages, the same
# PROGRAM and the same files here make the same bytes: every time stamp is SOURCE_DATE_EPOCH, or the kernel package's own.
#
# The disk never changes its layout, for a guest's delta image outlives the base below it:
#
#   1 MiB    BIOS boot partition: GRUB's core
#   2 MiB    EFI system partition (FAT): GRUB, vmlinuz, first.gz, root.squashfs; only read by the guest
#   128 MiB  genkan-state: all zero; the guest makes an ext4 there at its first boot
#   512 MiB  the end
set -eu
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin"
umask 022

out=${1:?usage: build.sh OUT PROGRAM}
program=$(realpath "${2:?usage: build.sh OUT PROGRAM}")
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
packages=$(dirname "$out")/packages
name=image
. "$here/initramfs.sh"

# The modules that are loaded, besides what these need. First: what finds the squashfs, on any disk.
first_modules="virtio_pci virtio_blk virtio_scsi sd_mod ahci ata_piix vfat nls_cp437 nls_ascii loop squashfs"
# Then: other virtio; the kernel path; cards of real machines that a guest is given; where configurations come from; the
# power button.
modules="virtio_net virtio_console virtio_rng virtio_balloon
    sch_ingress cls_bpf tun
    e1000 e1000e igb ixgbevf
    sr_mod ext4 crc32c_generic nls_utf8 isofs 9pnet_virtio 9p virtiofs
    button evdev"
programs="mke2fs e2fsck blkid chronyd dropbear"
# Random once, the same for ever.
disk_id=7A3B1E0C-6E0F-4B0D-9C7E-2F0B3C5D9A11
boot_volume=6E4B1A57

kernel=$(kernel_package)
wanted=$(candidates "$kernel" busybox-static e2fsprogs util-linux chrony dropbear-bin grub-pc-bin grub-efi-amd64-bin)
made_of=$(
    echo "$wanted" "${SOURCE_DATE_EPOCH:-}"
    cat "$program" "$here/build.sh" "$here/initramfs.sh" "$here/first" "$here/drives" "$here/grub.cfg" "$here"/guest/* | sha256sum
)
if [ -s "$out/genkan-vm.qcow2" ] && [ "$(cat "$out/contents" 2>/dev/null)" = "$made_of" ]; then exit 0; fi

root=$(mktemp -d "$out/root.XXXXXX")
trap 'rm -rf "$root"' EXIT INT TERM
echo "image: building from" $wanted
# shellcheck disable=SC2086 # a list of words
unpack $wanted

# Of the packages, only programs are taken. The root is never written to: what changes is in /run.
cd "$root/initramfs"
mkdir -p bin sbin boot dev proc sys run tmp etc/genkan etc/acpi/PWRF usr/bin usr/sbin var/lib/genkan lib/modules
ln -s ../run var/run
ln -s ../proc/mounts etc/mtab
cp "$(find_one busybox)" bin/busybox
for applet in $(bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "bin/$applet"; done
# busybox makes no ext4, and other programs are Debian's own.
for tool in $programs; do
    rm -f "bin/$tool"
    cp "$(find_one "$tool")" usr/sbin/
done
strip -o usr/sbin/genkan "$program"
copy_libraries usr/sbin/*

printf 'root:x:0:0:root:/root:/bin/sh\n_chrony:x:101:101::/var/lib/genkan/chrony:/bin/false\n' > etc/passwd
printf 'root:x:0:\n_chrony:x:101:\n' > etc/group
ln -s /run/shadow etc/shadow
echo 'ttyS0' > etc/securetty
echo 'tty1' >> etc/securetty
echo '/bin/sh' > etc/shells
echo 'hosts: files dns' > etc/nsswitch.conf
printf '127.0.0.1 localhost\n' > etc/hosts
ln -s /run/root root
ln -s /var/lib/genkan/ssh etc/dropbear
ln -s /run/resolv.conf etc/resolv.conf
printf 'export PATH=/sbin:/usr/sbin:/bin:/usr/bin\nPS1="genkan# "\n' > etc/profile
cp "$here/guest/inittab" etc/inittab
printf '#!/bin/sh\nexec poweroff\n' > etc/acpi/PWRF/00000080
cp "$here"/guest/* etc/genkan/
cp "$here/drives" etc/genkan/
rm etc/genkan/inittab
chmod 755 etc/acpi/PWRF/00000080 etc/genkan/*
chmod 644 etc/genkan/chrony.conf etc/genkan/drives
# What was loaded first is not loaded again.
# shellcheck disable=SC2086 # lists of words
copy_modules $modules
# shellcheck disable=SC2086
mkdir -p ../first/lib/modules && (cd ../first && copy_modules $first_modules)
(cd lib/modules && xargs rm -f < ../../../first/lib/modules/order)
grep -vxFf ../first/lib/modules/order lib/modules/order > order && mv order lib/modules/order

vmlinuz="$root/packages/boot/vmlinuz-$release"
epoch=${SOURCE_DATE_EPOCH:-$(stat -c %Y "$vmlinuz")}
export SOURCE_DATE_EPOCH="$epoch"
stamp() { find "$1" -exec touch -h -d "@$epoch" {} +; }
cd "$root"
stamp initramfs
mksquashfs initramfs root.squashfs -quiet -no-progress -comp zstd -Xcompression-level 15 -all-root -no-xattrs -no-exports \
    -processors 1
mkdir -p first/bin first/boot first/dev first/proc first/root first/sys memory
cp initramfs/bin/busybox first/bin/busybox
cp "$here/first" first/init
cp "$here/drives" first/drives
chmod 755 first/init
cp root.squashfs memory/
stamp first; stamp memory; stamp root.squashfs
archive() { (cd "$1" && find . -print0 | sort -z | cpio --quiet --null -o -H newc --reproducible -R 0:0); }
archive first | gzip -n -9 > first.gz
# The kernel unpacks one archive after the other; what is compressed already is not compressed again.
{ archive memory; cat first.gz; } > initramfs.gz
cp "$vmlinuz" vmlinuz

# GRUB, put together by hand: what it needs to find its folder, and nothing of this machine.
grub="$root/packages/usr/lib/grub"
printf 'search --no-floppy --fs-uuid --set=root %s\nset prefix=($root)/grub\n' \
    "$(echo $boot_volume | sed 's/\(....\)\(....\)/\1-\2/')" > early.cfg
common="part_gpt fat search search_fs_uuid normal configfile test serial terminal echo minicmd"
# shellcheck disable=SC2086 # lists of words
grub-mkimage -d "$grub/i386-pc" -O i386-pc -c early.cfg -p /grub -o core.img $common biosdisk linux
# shellcheck disable=SC2086
grub-mkimage -d "$grub/x86_64-efi" -O x86_64-efi -c early.cfg -p /grub -o bootx64.efi $common efi_gop chain

# A FAT of the size of its partition.
esp_start=4096
esp_sectors=$((262144 - esp_start))
truncate -s $((esp_sectors * 512)) esp
mkfs.fat -F 32 -n GENKAN-BOOT --invariant -i $boot_volume esp >/dev/null
cp "$here/grub.cfg" grub.cfg
stamp grub.cfg; stamp bootx64.efi; stamp vmlinuz; stamp first.gz
mmd -i esp ::/EFI ::/EFI/BOOT ::/grub
mcopy -m -i esp bootx64.efi ::/EFI/BOOT/BOOTX64.EFI
mcopy -m -i esp grub.cfg ::/grub/grub.cfg
mcopy -m -i esp vmlinuz first.gz root.squashfs ::/

# The disk. The boot block names the sector of GRUB's core, and the core's first one where it goes on.
truncate -s 512M disk
sfdisk -q disk <<PARTITIONS
label: gpt
label-id: $disk_id
first-lba: 2048
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=8A5E2B60-9B2D-4C43-B2F5-6D1C0A7E4F01, name=genkan-bios
start=$esp_start, size=$esp_sectors, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=8A5E2B60-9B2D-4C43-B2F5-6D1C0A7E4F02, name=genkan-boot
start=262144, size=782336, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=8A5E2B60-9B2D-4C43-B2F5-6D1C0A7E4F03, name=genkan-state
PARTITIONS
poke() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
cp "$grub/i386-pc/boot.img" boot.img
poke boot.img 92 '\0\010\0\0\0\0\0\0'  # the core's first sector: 2048
poke boot.img 102 '\220\220'           # the drive is the one that the BIOS says
poke core.img 500 '\001\010\0\0\0\0\0\0' # the core's second sector: 2049
dd if=boot.img of=disk bs=440 count=1 conv=notrunc status=none
dd if=core.img of=disk bs=512 seek=2048 conv=notrunc status=none
dd if=esp of=disk bs=512 seek=$esp_start conv=notrunc,sparse status=none
# One worker: several write their clusters in any order.
qemu-img convert -m 1 -c -f raw -O qcow2 disk genkan-vm.qcow2

for result in vmlinuz initramfs.gz genkan-vm.qcow2; do mv "$result" "$out/$result"; done
echo "$made_of" > "$out/contents"
du -k "$out/vmlinuz" "$out/initramfs.gz" "$out/genkan-vm.qcow2" | awk '{ sub(".*/", "", $2); printf "image: %s %.1f MB\n", $2, $1 / 1024 }'
