# shellcheck shell=bash disable=SC2154 # the board's file and the sourcing script set what is not set here
# What both ways to an image do alike: scripts/image from Debian's packages, and the scripts that Buildroot calls
# (buildroot/board). Sourced after the board's file; `top` is the top of this tree.

# What GRUB carries with it. Buildroot wants the same list in its configuration; tests/image/external.py compares.
export grub_modules='part_gpt fat squash4 xzio gzio linux normal configfile loadenv echo test search search_fs_file boot reboot sleep regexp'

number() { sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -n 1; }

# finish_root ROOT : what is ours in a slot, besides the binary; everything else is there already. Can be run again.
finish_root() {
    local root=$1 number
    number=$(number)
    # Nothing of /var is kept: all that is written lies in /run and on /data.
    rm -rf "${root:?}/var" "$root/etc/resolv.conf" "$root/etc/mtab" "$root/etc/os-release"
    mkdir -p "$root"/{boot,data,dev,etc/homepost,proc,run,sys,tmp,var/empty,var/lib}
    ln -s /run "$root/var/run"
    ln -s /run/db "$root/var/db"
    ln -s /run/openntpd "$root/var/lib/openntpd"
    ln -s /run/homepost/resolv.conf "$root/etc/resolv.conf"
    ln -s /proc/mounts "$root/etc/mtab"

    cp -a "$top/overlays/common/." "$root/"
    [ ! -d "$top/overlays/$board" ] || cp -a "$top/overlays/$board/." "$root/"
    echo "$MODULES" >"$root/etc/homepost/modules"
    date +%s >"$root/etc/homepost/built"
    # Whose updates this system believes.
    "$top/scripts/update-file" keys >"$root/etc/homepost/update-keys"
    cat >"$root/etc/os-release" <<END
ID=homepost
NAME=homepost
VERSION_ID=$number
VARIANT_ID=$board
PRETTY_NAME="homepost $number for $board"
END
}

# boot_grub FOLDER : the boot partition of a machine with UEFI, but for GRUB itself. image/grub-early.cfg is built into that:
# it finds the boot partition it came from, and reads the real configuration there. Its parser knows no comments.
boot_grub() {
    mkdir -p "$1/EFI/BOOT"
    sed "s/@CONSOLE@/$CONSOLE/" "$top/image/grub.cfg" >"$1/EFI/BOOT/grub.cfg"
    grub-editenv "$1/EFI/BOOT/grubenv" create
    cp "$top/image/README.TXT" "$1/"
}

# boot_pi FOLDER FIRMWARE ROOT : the boot partition of a Raspberry Pi, which starts slot A. Each slot has a folder there with its
# kernel and device trees, copied from the slot's own /boot, so that they fit what lies in its squashfs.
boot_pi() {
    local file
    mkdir -p "$1"
    for file in "$2"/*.elf "$2"/*.dat "$2"/*.bin; do
        # The Pi 5 has its firmware in the board.
        [ ! -e "$file" ] || cp "$file" "$1/"
    done
    slot_pi "$1" "$3" a
    sed "s/@SLOT@/a/" "$3/boot/config.txt" >"$1/config.txt"
    cp "$top/image/README.TXT" "$1/"
}

# slot_pi FOLDER ROOT a|b : that slot's folder
slot_pi() {
    rm -rf "${1:?}/$3"
    mkdir "$1/$3"
    cp "$2/boot/vmlinuz" "$2"/boot/*.dtb "$1/$3/"
    sed "s/@SLOT@/$3/g" "$2/boot/cmdline.txt" >"$1/$3/cmdline.txt"
}

# kernel_root ROOT IMAGES : the kernel of a slot, and what a Pi's boot partition needs of it, from where Buildroot put them
kernel_root() {
    mkdir -p "$1/boot"
    cp "$2/$KERNEL_IMAGE" "$1/boot/vmlinuz"
    [ "$BOOT" = pi ] || return 0
    cp "$2"/*.dtb "$1/boot/"
    cp "$top/image/pi/config.txt" "$1/boot/"
    sed "s/@CONSOLE@/$CONSOLE/" "$top/image/pi/cmdline.txt" >"$1/boot/cmdline.txt"
}

# disk WORK SLOT OUT : OUT/homepost.img, with what lies in WORK/boot on its boot partition and SLOT as system A
disk() {
    local work=$1 slot=$2 out=$3 entry files=
    for entry in "$work/boot"/*; do files="$files\\n\\t\\tfile $(basename "$entry") { image = \"$entry\" }"; done
    sed "s#@FILES@#$files#; s#@TABLE@#${TABLE:-gpt}#; s#@MBR@#${MBR:-}#; s#@SLOT@#$slot#; s#@IMAGE@#homepost.img#" \
        "$top/image/disk.cfg" >"$work/disk.cfg"
    rm -rf "$work/empty" "$work/tmp" "$work/out"
    mkdir -p "$work/empty"
    genimage --loglevel 0 --rootpath "$work/empty" --tmppath "$work/tmp" --inputpath "$work" --outputpath "$work/out" \
        --config "$work/disk.cfg" >&2
    mv "$work/out/homepost.img" "$out/homepost.img"
}
