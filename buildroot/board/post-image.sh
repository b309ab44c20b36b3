#!/usr/bin/env bash
# Buildroot calls this when the slot's squashfs is there: the disk around it, by the same lines as scripts/image.
#
# usage: post-image.sh BINARIES_DIR BOARD      (with TARGET_DIR in the environment)
set -euo pipefail
images=$1 board=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=image/boards/rpi4
. "$top/image/boards/$board"
# shellcheck source=image/assemble.sh
. "$top/image/assemble.sh"

work=$images/homepost
rm -rf "$work"
mkdir -p "$work"
case $BOOT in
    grub)
        boot_grub "$work/boot"
        cp "$images/efi-part/EFI/BOOT/bootx64.efi" "$work/boot/EFI/BOOT/$EFI"
        ;;
    pi) boot_pi "$work/boot" "$images/rpi-firmware" "$TARGET_DIR" ;;
esac
disk "$work" "$images/rootfs.squashfs" "$images"
