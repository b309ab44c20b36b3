#!/usr/bin/env bash
# Buildroot calls this before it packs the root file system: what is ours in a slot, by the same lines as scripts/image.
#
# usage: post-build.sh TARGET_DIR BOARD      (with BINARIES_DIR in the environment)
set -euo pipefail
root=$1 board=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=image/boards/rpi4
. "$top/image/boards/$board"
# shellcheck source=image/assemble.sh
. "$top/image/assemble.sh"

finish_root "$root"
kernel_root "$root" "$BINARIES_DIR"
# Packages' start scripts, which our inittab does not run. All the kernel needs is built in, so its modules go too.
rm -rf "$root/etc/init.d" "$root/etc/network"
[ -n "$MODULES" ] || rm -rf "$root/usr/lib/modules"
