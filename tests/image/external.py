"""Holds what Buildroot is given (buildroot/) together with what it has to fit: the scripts of the overlay, the map of the disk, the
other way to an image. Needs no tree of Buildroot; scripts/check-buildroot asks one, where there is one.

usage: external.py
"""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
EXTERNAL = TOP / "buildroot"
OVERLAY = TOP / "overlays" / "common"
BOARDS = {"x86_64-efi", "rpi4", "rpi5", "rpizero2w"}

# Words of the shell itself.
SHELL = set(
    ". : [ alias break case cd command continue echo eval exec exit export false getopts kill local printf pwd read readonly return set "
    "shift test times trap true type ulimit umask unset wait".split()
)
# Commands that a package of the configurations brings, by the symbol that selects it.
PACKAGES = {
    "sfdisk": "BR2_PACKAGE_UTIL_LINUX_BINARIES",
    "partx": "BR2_PACKAGE_UTIL_LINUX_PARTX",
    "setpriv": "BR2_PACKAGE_UTIL_LINUX_SETPRIV",
    "e2fsck": "BR2_PACKAGE_E2FSPROGS",
    "mke2fs": "BR2_PACKAGE_E2FSPROGS",
    "resize2fs": "BR2_PACKAGE_E2FSPROGS_RESIZE2FS",
    "nft": "BR2_PACKAGE_NFTABLES",
    "ntpd": "BR2_PACKAGE_OPENNTPD",
    "ntpctl": "BR2_PACKAGE_OPENNTPD",
    "homepost": "BR2_PACKAGE_HOMEPOST",
    "tryboot": "BR2_PACKAGE_HOMEPOST_TRYBOOT",
}
# Not asked of boards where nobody calls it.
ONLY = {"tryboot": BOARDS - {"x86_64-efi"}}
# Words after which another command follows.
PREFIXES = {"exec", "if", "then", "else", "elif", "while", "until", "do", "!", "{", "timeout", "unshare", "as_homepost", "setpriv"}


def script(path):
    """A program without an ending, as a module."""
    loader = importlib.machinery.SourceFileLoader(path.name.replace("-", "_"), str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


LOST = script(TOP / "scripts" / "lost-symbols")


def configurations():
    """{board: {symbol: value}}"""
    found = {}
    for path in (EXTERNAL / "configs").glob("homepost_*_defconfig"):
        values = LOST.read(path.read_text())
        found[values["BR2_ROOTFS_POST_SCRIPT_ARGS"].strip('"')] = values
    return found


def shell_files():
    """Every shell script and sourced file of this tree."""
    files = [TOP / ".ci" / "run", TOP / "image" / "assemble.sh", TOP / "image" / "initramfs-init"]
    for folder in ("scripts", "overlays", "buildroot"):
        for path in sorted((TOP / folder).rglob("*")):
            if path.is_file() and (path.suffix == ".sh" or re.match(rb"#!.*\b(ba|da)?sh\b", path.read_bytes()[:40])):
                files.append(path)
    return files


def substitutions(text):
    """(text with an X for each $( ), [the insides of those])"""
    outside, insides, at = [], [], 0
    for found in re.finditer(r"\$\((?!\()", text):
        if found.start() < at:
            continue
        outside.append(text[at : found.start()] + "X")
        depth, at = 1, found.end()
        while depth and at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        insides.append(text[found.end() : at - 1])
    return "".join(outside) + text[at:], insides


def commands(text):
    """The words in the place of a command in a script of ours. It knows their style, not all of the shell."""
    text = re.sub(r"\\\n", " ", text)
    text = re.sub(r"<<-?'?([A-Z]+)'?([^\n]*)\n.*?\n\1\n", r"\2\n", text, flags=re.S)
    text = re.sub(r"(?m)(^|\s)#.*$", r"\1", text)
    text = re.sub(r"\$\(\((.|\n)*?\)\)", "0", text)
    text, insides = substitutions(text)
    found = set().union(*map(commands, insides))
    text = re.sub(r"'[^']*'", "X", text)
    text = re.sub(r'"[^"]*"', "X", text)
    # case … in, and its patterns
    text = re.sub(r"\bcase \S+ in\b", "\n", text)
    text = re.sub(r"(?m)(;;\s*|^\s*)[^\s()|;&]*( \| [^\s()|;&]+)*\) ", r"\1", text)
    text = re.sub(r"(?m)^\s*[^\s()|;&]*( \| [^\s()|;&]+)*\)\s*$", "", text)
    for part in re.split(r"\n|;|\|\|?|&&|(?<![>0-9<])&(?!\d)|[()]", text):
        words = part.split()
        while words:
            word = words.pop(0)
            if re.match(r"[A-Za-z_]\w*=", word) or re.match(r"\d*[<>]", word):
                continue
            name = word.rsplit("/", 1)[-1]
            found.add(name)
            if name not in PREFIXES:
                break
            while name in ("timeout", "unshare", "setpriv") and words and (words[0].startswith("-") or re.fullmatch(r"\d+|homepost|nobody|nogroup", words[0])):
                words.pop(0)
    return found


KEYWORDS = {"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "for", "case", "esac", "in", "{", "}", "!", "X"}


def called():
    """{command: the overlay's scripts that call it}"""
    found = {}
    functions, own = set(), {path.name for path in (OVERLAY / "usr/lib/homepost").iterdir()}
    scripts = [path for path in OVERLAY.rglob("*") if path.is_file() and ("lib/homepost" in str(path) or "acpi" in str(path))]
    for path in scripts:
        functions |= set(re.findall(r"(?m)^\s*(\w+)\(\)", path.read_text()))
    for path in scripts:
        for name in commands(path.read_text()) - KEYWORDS - SHELL - functions - own:
            if re.fullmatch(r"[a-z_][a-z0-9_.-]*", name):
                found.setdefault(name, []).append(path.name)
    # And what the start of the box runs.
    steps = TOP / "src/appliance/machine/start/real.rs"
    for name in re.findall(r'\bprogram\("([^"]+)"\)', steps.read_text().split("#[cfg(test)]")[0]):
        if not name.startswith("/usr/lib/homepost/"):
            found.setdefault(name.rsplit("/", 1)[-1], []).append(steps.name)
    return found


class Comparer(unittest.TestCase):
    """scripts/lost-symbols, which the rest relies on."""

    def judge(self, requested, result):
        return LOST.lost(LOST.read(requested), LOST.read(result))

    def test_what_came_out_as_asked_is_fine(self):
        self.assertEqual([], self.judge('A=y\nB="x y"\n# C is not set\n# D is not set\n', 'A=y\nB="x y"\n# C is not set\nE=y\n'))

    def test_a_wrong_symbol_is_found(self):
        self.assertEqual(["BR2_PACKAGE_NO_SUCH_THING=y is not there"], self.judge("A=y\nBR2_PACKAGE_NO_SUCH_THING=y\n", "A=y\n"))

    def test_another_value_is_found(self):
        self.assertEqual(["A=y became m", "B=n became y"], self.judge("A=y\n# B is not set\n", "A=m\nB=y\n"))
        self.assertEqual(["A=y became n"], self.judge("A=y\n", "# A is not set\n"))

    def test_a_removed_symbol_is_found(self):
        self.assertEqual(1, len(self.judge("A=y\n", "A=y\nBR2_LEGACY=y\n")))

    def test_the_command_fails_with_it(self):
        with tempfile.TemporaryDirectory() as folder:
            result, good, wrong, empty = (pathlib.Path(folder, name) for name in ("result", "good", "wrong", "empty"))
            result.write_text("A=y\n")
            good.write_text("A=y\n")
            wrong.write_text("B=y\n")
            empty.write_text("")
            for file, code in ((good, 0), (wrong, 1), (empty, 1)):
                done = subprocess.run([TOP / "scripts/lost-symbols", result, file], capture_output=True, text=True)
                self.assertEqual(code, done.returncode, done.stdout)


class External(unittest.TestCase):
    """buildroot/ and what it names."""

    def test_each_board_has_facts_and_a_configuration(self):
        self.assertEqual(BOARDS, set(configurations()))
        facts = {path.name for path in (TOP / "image/boards").iterdir() if not path.name.startswith("qemu-")}
        self.assertEqual(BOARDS, facts)
        for board in BOARDS:
            self.assertTrue((EXTERNAL / "configs" / f"homepost_{board.replace('-', '_')}_defconfig").exists(), board)

    def test_the_files_that_buildroot_looks_for_are_there(self):
        for name in ("external.desc", "external.mk", "Config.in", "package/homepost/Config.in", "package/homepost/homepost.mk",
                     "package/homepost-tryboot/Config.in", "package/homepost-tryboot/homepost-tryboot.mk"):
            self.assertTrue((EXTERNAL / name).exists(), name)
        for board, values in configurations().items():
            for symbol, value in values.items():
                for path in re.findall(r"\$\(BR2_EXTERNAL_HOMEPOST_PATH\)/([^\s\"]+)", value):
                    self.assertTrue((EXTERNAL / path).exists(), f"{board}: {symbol} names {path}")

    def test_both_ways_take_the_same_files(self):
        for board, values in configurations().items():
            self.assertEqual('"$(BR2_EXTERNAL_HOMEPOST_PATH)/../overlays/common"', values["BR2_ROOTFS_OVERLAY"], board)
        assemble = (TOP / "image/assemble.sh").read_text()
        self.assertIn("overlays/common", assemble)
        self.assertIn("image/disk.cfg", assemble)
        for user in ("scripts/image", "buildroot/board/post-build.sh", "buildroot/board/post-image.sh"):
            text = (TOP / user).read_text()
            self.assertIn("image/assemble.sh", text, user)
            self.assertNotIn("overlays/common", re.sub(r"(?m)^#.*", "", text), user)

    def test_grub_carries_the_same(self):
        listed = re.search(r"grub_modules='([^']*)'", (TOP / "image/assemble.sh").read_text())[1]
        values = configurations()["x86_64-efi"]
        self.assertEqual(listed, values["BR2_TARGET_GRUB2_BUILTIN_MODULES_EFI"].strip('"'))
        self.assertIn("image/grub-early.cfg", values["BR2_TARGET_GRUB2_BUILTIN_CONFIG_EFI"])
        self.assertNotIn("#", (TOP / "image/grub-early.cfg").read_text(), "GRUB's first parser knows no comments")

    def test_every_download_has_a_checksum(self):
        hashes = (EXTERNAL / "patches/linux/linux.hash").read_text()
        for board, values in configurations().items():
            self.assertEqual("y", values["BR2_DOWNLOAD_FORCE_CHECK_HASHES"], board)
            if version := values.get("BR2_LINUX_KERNEL_CUSTOM_VERSION_VALUE"):
                archive = f"linux-{version.strip(chr(34))}.tar.xz"
            else:
                archive = values["BR2_LINUX_KERNEL_CUSTOM_TARBALL_LOCATION"].strip('"').rsplit("/", 1)[-1]
            self.assertRegex(hashes, rf"(?m)^sha256  [0-9a-f]{{64}}  {re.escape(archive)}$", board)

    def test_nobody_can_log_in(self):
        busybox = LOST.read((EXTERNAL / "board/busybox.fragment").read_text())
        for applet in ("TELNETD", "FTPD", "INETD", "LOGIN", "GETTY", "SU"):
            self.assertEqual("n", busybox[f"CONFIG_{applet}"], applet)
        for board, values in configurations().items():
            self.assertEqual("n", values["BR2_TARGET_ENABLE_ROOT_LOGIN"], board)
            self.assertEqual("n", values["BR2_TARGET_GENERIC_GETTY"], board)
            self.assertFalse([symbol for symbol in values if re.search("DROPBEAR|OPENSSH|TELNET", symbol)], board)


class Commands(unittest.TestCase):
    """Every command that a script on the box calls is on the box."""

    def test_the_reader_of_scripts(self):
        text = """
        # cut is only spoken of
        if ! a1 <x | b1 -q 'c; no'; then d1="$(e1 "$(f1 x)")" && g1; else exec /usr/sbin/h1 -x; fi
        case $(i1) in up | down) j1 ;; *[!0-9]*) k1 2>&1 >/dev/null ;; esac
        for x in l m; do n1 $((1 + 2)); done &
        as_homepost timeout 20 /usr/bin/homepost no
        o1 <<EOF || p1
no
EOF
        """
        expected = set("a1 b1 e1 f1 g1 h1 i1 j1 k1 n1 o1 p1 homepost".split())
        self.assertEqual(expected, {name for name in commands(text) if re.fullmatch(r"[a-z]1|no|homepost|cut", name)})

    def test_all_are_brought(self):
        busybox = LOST.read((EXTERNAL / "board/busybox.fragment").read_text())
        all_called = called()
        # The reader finds what is known to be there.
        for name in ("sfdisk", "partx", "e2fsck", "resize2fs", "nft", "udhcpc", "mke2fs", "awk", "setpriv", "ntpctl", "acpid"):
            self.assertIn(name, all_called)
        missing = []
        for name, users in sorted(all_called.items()):
            if name in PACKAGES:
                missing += [f"{name} ({board})" for board, values in configurations().items()
                            if board in ONLY.get(name, BOARDS) and values.get(PACKAGES[name]) != "y"]
            elif busybox.get("CONFIG_" + name.upper().replace("-", "_")) != "y":
                missing.append(f"{name}, called by {', '.join(users)}")
        self.assertEqual([], missing, "neither a package in buildroot/configs nor an applet in buildroot/board/busybox.fragment")

    def test_init_finds_what_it_starts(self):
        for line in (OVERLAY / "etc/inittab").read_text().splitlines():
            if line and not line.startswith("#"):
                program = line.split(":", 3)[3].split()[0]
                self.assertTrue((OVERLAY / program.lstrip("/")).exists() or program == "/sbin/reboot", line)


class Disk(unittest.TestCase):
    """Buildroot's two scripts, with a stand-in for what Buildroot made."""

    def make(self, board):
        """(folder, image) as post-build.sh and post-image.sh leave them."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="homepost-external-"))
        self.addCleanup(shutil.rmtree, folder)
        target, images = folder / "target", folder / "images"
        for name in ("usr/bin", "usr/lib/modules/6.12", "etc/init.d", "var/log"):
            (target / name).mkdir(parents=True)
        (target / "etc/os-release").symlink_to("../usr/lib/os-release")
        (target / "etc/resolv.conf").symlink_to("../tmp/resolv.conf")
        (target / "usr/lib/os-release").write_text("ID=buildroot\n")
        (images / "rpi-firmware").mkdir(parents=True)
        (images / "efi-part/EFI/BOOT").mkdir(parents=True)
        for name in ("bzImage", "Image.gz"):
            (images / name).write_bytes(os.urandom(300_000))
        for name in ("bcm2711-rpi-4-b.dtb", "rpi-firmware/start4.elf", "rpi-firmware/config.txt", "efi-part/EFI/BOOT/bootx64.efi"):
            (images / name).write_text(name)
        environment = dict(os.environ, BINARIES_DIR=str(images), TARGET_DIR=str(target))
        # Buildroot runs the first at every make: the second time must find the same.
        for _ in range(2):
            subprocess.run([EXTERNAL / "board/post-build.sh", target, board], env=environment, check=True)
        slot = images / "rootfs.squashfs"
        subprocess.run(["mksquashfs", target, slot, "-comp", "xz", "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([EXTERNAL / "board/post-image.sh", images, board], env=environment, check=True, stderr=subprocess.DEVNULL)
        return folder, images / "homepost.img"

    def table(self, image):
        return json.loads(subprocess.run(["sfdisk", "-q", "-J", image], capture_output=True, check=True).stdout)["partitiontable"]

    def first_sector(self, image):
        with open(image, "rb") as disk:
            return disk.read(512)

    def read(self, image, name):
        """A file of the boot partition."""
        start = self.table(image)["partitions"][0]["start"] * 512
        return subprocess.run(["mtype", "-i", f"{image}@@{start}", f"::{name}"], capture_output=True, check=True).stdout

    def check_root(self, folder, board):
        target = folder / "target"
        self.assertIn(f"VARIANT_ID={board}\n", (target / "etc/os-release").read_text())
        self.assertEqual("ID=buildroot\n", (target / "usr/lib/os-release").read_text(), "written through the link")
        self.assertEqual("/run/homepost/resolv.conf", os.readlink(target / "etc/resolv.conf"))
        self.assertEqual("/run", os.readlink(target / "var/run"))
        for gone in ("etc/init.d", "usr/lib/modules", "var/log"):
            self.assertFalse((target / gone).exists(), gone)
        for path in OVERLAY.rglob("*"):
            if path.is_file():
                there = target / path.relative_to(OVERLAY)
                self.assertEqual(path.read_bytes(), there.read_bytes(), path)
                self.assertEqual(os.access(path, os.X_OK), os.access(there, os.X_OK), path)

    def check_map(self, image):
        table = self.table(image)
        self.assertEqual("gpt", table["label"])
        self.assertEqual(["homepost-boot", "homepost-a", "homepost-b", "homepost-data"], [row["name"] for row in table["partitions"]])
        with open(image, "rb") as disk:
            disk.seek(table["partitions"][1]["start"] * 512)
            self.assertEqual(b"hsqs", disk.read(4))

    def test_a_pi(self):
        folder, image = self.make("rpi4")
        self.check_root(folder, "rpi4")
        self.check_map(image)
        config = self.read(image, "config.txt").decode()
        self.assertRegex(config, r"(?m)^os_prefix=a/$")
        self.assertRegex(config, r"(?m)^kernel=vmlinuz$")
        self.assertLessEqual(max(map(len, config.splitlines())), 98, "the firmware reads no longer lines")
        command_line = self.read(image, "a/cmdline.txt").decode()
        self.assertEqual(1, command_line.count("\n"))
        self.assertIn("root=PARTLABEL=homepost-a ", command_line)
        self.assertIn("homepost.slot=a ", command_line)
        self.assertNotIn("@", command_line)
        self.assertEqual(b"rpi-firmware/start4.elf", self.read(image, "start4.elf"))
        self.assertIn(b"homepost.toml", self.read(image, "README.TXT"))

        # What starts the slot is what lies in the slot.
        slot = folder / "slot"
        subprocess.run(["unsquashfs", "-q", "-n", "-d", slot, folder / "images/rootfs.squashfs"], check=True, stdout=subprocess.DEVNULL)
        self.assertEqual((folder / "images/Image.gz").read_bytes(), self.read(image, "a/vmlinuz"))
        for name in ("vmlinuz", "bcm2711-rpi-4-b.dtb"):
            self.assertEqual((slot / "boot" / name).read_bytes(), self.read(image, f"a/{name}"), name)
        self.assertEqual(command_line, (slot / "boot/cmdline.txt").read_text().replace("@SLOT@", "a"))

        # Its firmware finds the boot partition in the old kind of table too, also after the data has grown as the start of the box does it.
        os.truncate(image, 2 << 30)
        command = ["sfdisk", "-q", "--no-reread", "--no-tell-kernel"]
        subprocess.run([*command, "--relocate", "gpt-bak-std", image], check=True, capture_output=True)
        subprocess.run([*command, "-N", "4", image], input=b",+\n", check=True, capture_output=True)
        self.assertGreater(self.table(image)["partitions"][3]["size"] * 512, 1 << 30)
        first = self.first_sector(image)[446:462]
        self.assertEqual(0x0C, first[4])
        self.assertEqual(self.table(image)["partitions"][0]["start"], int.from_bytes(first[8:12], "little"))

    def test_a_pc(self):
        folder, image = self.make("x86_64-efi")
        self.check_root(folder, "x86_64-efi")
        self.check_map(image)
        self.assertEqual(b"efi-part/EFI/BOOT/bootx64.efi", self.read(image, "EFI/BOOT/BOOTX64.EFI"))
        self.assertEqual(1024, len(self.read(image, "EFI/BOOT/grubenv")))
        grub = self.read(image, "EFI/BOOT/grub.cfg").decode()
        self.assertNotIn("@", grub)
        self.assertIn("root=PARTLABEL=homepost-$slot", grub)
        self.assertTrue((folder / "target/boot/vmlinuz").exists())
        self.assertEqual(0xEE, self.first_sector(image)[450])

    def test_the_pi_5_has_its_firmware_in_the_board(self):
        _, image = self.make("rpi5")
        self.check_map(image)
        self.assertEqual(0xEE, self.first_sector(image)[450])
        self.assertIn(b"os_prefix=a/", self.read(image, "config.txt"))


class Tryboot(unittest.TestCase):
    """What asks a Raspberry Pi's firmware for the version on trial."""

    def test_the_kernel_is_told_the_words_for_it(self):
        with tempfile.TemporaryDirectory() as folder:
            program, seen = pathlib.Path(folder, "tryboot"), pathlib.Path(folder, "seen")
            subprocess.run(["cc", "-Wall", "-Werror", "-o", program, EXTERNAL / "package/homepost-tryboot/tryboot.c"], check=True)
            # In a process namespace of its own a restart is the end of that namespace, and of nothing else (reboot(2)).
            # Who watches stands outside, and outlives it.
            watch = ["strace", "-f", "-qq", "-e", "trace=reboot", "-o", seen]
            apart = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", '[ $$ = 1 ] && exec "$0"; exit 3', program]
            done = subprocess.run([*watch, *apart], capture_output=True, text=True)
            self.assertIn('LINUX_REBOOT_CMD_RESTART2, "0 tryboot"', seen.read_text() if seen.exists() else done.stderr)
            self.assertNotIn(done.returncode, (0, 3), "the namespace went on")

    def test_only_a_restart_into_a_trial_asks_for_it(self):
        with tempfile.TemporaryDirectory() as folder:
            at = pathlib.Path(folder)
            text = (OVERLAY / "usr/lib/homepost/stop").read_text()
            tail = text[text.index("# Init would restart"):].replace("/usr/sbin/", f"{folder}/")
            self.assertIn("/tryboot", tail)
            (at / "end").write_text(f"state={folder}/state\n{tail}")
            (at / "state").mkdir()
            asked = lambda: subprocess.run(["sh", "-e", at / "end"], capture_output=True, text=True).stdout
            self.assertEqual("", asked(), "another board, another restart")
            (at / "tryboot").write_text("#!/bin/sh\necho asked\n")
            (at / "tryboot").chmod(0o755)
            self.assertEqual("", asked(), "a restart of every day")
            (at / "state/tryboot").touch()
            self.assertEqual("asked\n", asked())
            (at / "tryboot").unlink()
            self.assertEqual("", asked(), "a board with GRUB")


class Shell(unittest.TestCase):
    def test_shellcheck_has_nothing_to_say(self):
        files = shell_files()
        self.assertGreater(len(files), 20)
        done = subprocess.run(["shellcheck", "-x", "-f", "gcc", *files], cwd=TOP, capture_output=True, text=True)
        self.assertEqual("", done.stdout)
        self.assertEqual(0, done.returncode, done.stderr)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=1)
    bad = len(program.result.failures) + len(program.result.errors)
    print(f"{program.result.testsRun - bad} passed, {bad} failed")
    sys.exit(bad > 0)
