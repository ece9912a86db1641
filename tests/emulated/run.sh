#!/usr/bin/env bash
# compare_targets.py on a machine with AVX-512, whatever the machine at hand: Bochs emulates one.
# Usage: [PYTHON=python3] tests/emulated/run.sh [family ...]
# $PYTHON has NumPy and the fmtlib to test.  Bochs is Debian's: bochs, bochs-term, bochsbios, vgabios.
# Linux, BusyBox and a boot loader are downloaded as Debian's packages into a temporary folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for command in bochs-bin apt-get dpkg script; do
    command -v $command >/dev/null || { echo "$0 needs $command" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
apt-get -qq -o APT::Sandbox::User=root download \
    "$kernel" busybox-static isolinux syslinux-common genisoimage
for package in *.deb; do dpkg -x "$package" debian; done

mkdir -p disc/isolinux
"${PYTHON:-python3}" "$here/image.py" disc/initrd "$here/init" debian/bin/busybox \
    "$here/compare_targets.py" "$@" | tee here.txt
cp debian/boot/vmlinuz-* disc/vmlinuz
cp debian/usr/lib/ISOLINUX/isolinux.bin debian/usr/lib/syslinux/modules/bios/ldlinux.c32 disc/isolinux
# What Bochs 2.7 claims and Linux cannot work with: sizes of saved state, fast short string moves
# while it has fast string moves disabled.
cat >disc/isolinux/isolinux.cfg <<END
default linux
label linux
kernel /vmlinuz
initrd /initrd
append console=ttyS0 quiet mitigations=off apparmor=0 lpj=100000 tsc=reliable clearcpuid=pku,xsaves,xsavec,fsrm
END
debian/usr/bin/genisoimage -quiet -o disc.iso -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table disc
cat >bochsrc <<END
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
memory: guest=1024, host=1024
cpu: model=corei7_icelake_u, ips=50000000
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
speaker: enabled=0
log: bochs.log
END
echo c >commands # to the debugger in Debian's build: continue
TERM=linux timeout 2h nice -n 19 script -qec "bochs-bin -q -f bochsrc -rc commands" /dev/null \
    </dev/null >screen.txt || true
tr -d '\r' <serial.txt | tee there.txt
results() { awk '$3 == "calls" { print $1, $2, $4 }' "$1"; }
diff <(results here.txt) <(results there.txt)
grep -q "^targets: .*x86-64-v4" there.txt
grep -qx "status 0" there.txt
