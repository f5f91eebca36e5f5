#!/usr/bin/env bash
# Becomes the init of a machine of its own: machine.sh FOLDER CONSOLE [SOURCE=TARGET...], started by systemd.py inside new
# mount, PID, cgroup, UTS, IPC and network namespaces.
#
# Its disk is this system's, with every change kept in memory; systemd is the real one and finds no unit but those that
# FOLDER/units holds. The kernel's settings are read-only. SOURCE=TARGET: a folder that the machine sees read-only.
set -euo pipefail
folder=$1 console=$2
shift 2

disk=$folder/disk root=$folder/root
mkdir "$disk" "$root"
mount -t tmpfs disk "$disk"
mkdir "$disk"/{changes,work}
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/changes,workdir=$disk/work" "$root"
mkdir -p "$root/old"
for path in /run /tmp /home /root /etc/systemd/system /usr/lib/systemd/system /usr/lib/systemd/system-generators; do
    mount -t tmpfs -o mode=755 machine "$root$path"
done
cp "$folder"/units/* "$root/etc/systemd/system"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=755 machine "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root"/dev/{pts,shm,mqueue,hugepages}
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
: >"$root/dev/console"
mount --bind "$console" "$root/dev/console"

for pair in "$@"; do
    mkdir -p "$root${pair#*=}"
    mount --bind "${pair%%=*}" "$root${pair#*=}"
    mount -o remount,bind,ro "$root${pair#*=}"
done

ip link set lo up
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=goldherd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=machine.target --default-standard-output=tty --default-standard-error=tty --log-target=console --log-level=info --show-status=0
