#!/usr/bin/env bash
# A Python program on a machine with AVX-512, whatever the machine at hand: Bochs emulates one.
# Usage: tests/emulated/run.sh [program.py [argument ...]]
# Without a program compare_targets.py; the suite's tests by suite.py.  $PYTHON, by default python3,
# has what the program imports.  Standard output is what the program says there; it takes an hour.
# Bochs is Debian's: bochs, bochs-term, bochsbios, vgabios.  Linux, BusyBox and a boot loader are
# downloaded as Debian's packages into a temporary folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] && program=$(realpath "$1") && shift || program=$here/compare_targets.py
for command in bochs-bin apt-get dpkg; do
    command -v $command >/dev/null || { echo "$0 needs $command" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"

kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
apt-get -qq -o APT::Sandbox::User=root download \
    "$kernel" busybox-static isolinux syslinux-common genisoimage
for package in *.deb; do dpkg -x "$package" debian; done

mkdir -p disc/isolinux
"${PYTHON:-python3}" "$here/image.py" disc/initrd "$here/init" debian/bin/busybox \
    "$program" "$@" | tee here.txt >&2
cp debian/boot/vmlinuz-* disc/vmlinuz
cp debian/usr/lib/ISOLINUX/isolinux.bin debian/usr/lib/syslinux/modules/bios/ldlinux.c32 disc/isolinux
# What Bochs 2.7 claims and Linux cannot work with: sizes of saved state, fast short string moves
# while it has fast string moves disabled.
cat >disc/isolinux/isolinux.cfg <<END
default linux
label linux
kernel /vmlinuz
initrd /initrd
append console=ttyS0 quiet vt.global_cursor_default=0 mitigations=off apparmor=0 lpj=100000 tsc=reliable clearcpuid=aperfmperf,pku,xsaves,xsavec,fsrm
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
panic: action=fatal
END
echo c >commands # to the debugger in Debian's build: continue
TERM=linux timeout -k 5 3h nice -n 19 bochs-bin -q -f bochsrc -rc commands </dev/null >screen.txt 2>&1 &
# The screen is a terminal of Bochs' own, which must be read or Bochs waits.
until terminal=$(grep -ao '/dev/pts/[0-9]*' screen.txt); do sleep 1; kill -0 $!; done
cat "$terminal" >/dev/null 2>&1 || true
wait || true # Bochs leaves with 1 when the power goes off
echo "$(date -I), $(dpkg-query -Wf '${Package} ${Version}' bochs), $kernel"
tr -d '\r' <serial.txt | sed -n '/^processor:/,/^status/p' | tee there.txt
results() { awk '$3 == "calls" { print $1, $2, $4 }' "$1"; }
diff <(results here.txt) <(results there.txt) >&2 # digests
grep -q "^processor: avx512" there.txt
grep -qx "status 0" there.txt
