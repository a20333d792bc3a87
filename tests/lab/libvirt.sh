# Prepares an enclosure with a libvirt of its own, sourced with SCRATCH set to an empty folder: no file of this machine's
# libvirt is touched, the network is the enclosure's, and guests are emulated, whether this machine has KVM or not.
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run/libvirt
for folder in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mount -t tmpfs -o mode=755 libvirt $folder
done
mkdir -p /var/lib/libvirt/qemu

# Devices: without /dev/kvm.
mount -t tmpfs -o mode=755 dev /dev
mkdir /dev/pts /dev/shm /dev/net
chmod 1777 /dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/full c 1 7
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
mknod -m 666 /dev/net/tun c 10 200

# Guests run as this user, who may read no more than anybody.
{ grep -v ^libvirt-qemu: /etc/passwd; echo libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin; } >/run/passwd
{ grep -v ^libvirt /etc/group; echo libvirt-qemu:x:64055:; echo libvirt:x:64056:; } >/run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
cat >/etc/libvirt/qemu.conf <<END
security_driver = "none"
namespaces = []
cgroup_controllers = []
END

# A path that this user can follow, wherever the build folder is.
mkdir /var/lib/libvirt/scratch
mount --bind "$SCRATCH" /var/lib/libvirt/scratch

ip link set lo up
for bridge in br-wan br-lan; do
    ip link add $bridge type bridge
    ip link set $bridge up
done
virtlogd --daemon </dev/null >/run/virtlogd.log 2>&1
libvirtd </dev/null >/run/libvirtd.log 2>&1 &
tries=0
until virsh -c qemu:///system uri >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -ge 150 ]; then cat /run/libvirtd.log; exit 1; fi
    sleep 0.2
done
