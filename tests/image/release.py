"""Looks at what one downloads (scripts/release) as whoever downloads it would: unpacks it, compares sums, reads what is in it.

usage: release.py [BOARD]      qemu-x86_64 unless told; the image has to be there (scripts/image)
"""

import collections
import datetime
import hashlib
import json
import lzma
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree

from box import ROOT, TARGET  # first, since it says where house is
from house import Checks, same

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

LIMIT = 64_000_000
# doc/json-schema/os-list-schema.json of Raspberry Pi Imager, and what newer ones read besides.
IMAGER = {"name": str, "description": str, "icon": str, "url": str, "extract_size": int, "extract_sha256": str,
          "image_download_size": int, "image_download_sha256": str, "release_date": str, "devices": list, "init_format": str}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked(path):
    """(bytes, SHA-256) of what an .xz holds."""
    digest, size = hashlib.sha256(), 0
    with lzma.open(path) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def cargo(*words):
    return subprocess.run(["cargo", *words, "--locked", "--features", "mimalloc"], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout


def normal_dependencies(triple):
    """Every crate that a build for the target could need at run time, walked through cargo's metadata."""
    whole = json.loads(cargo("metadata", "--format-version=1", "--filter-platform", triple))
    nodes = {node["id"]: node for node in whole["resolve"]["nodes"]}
    seen, waiting = set(), [whole["resolve"]["root"]]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += [edge["pkg"] for edge in nodes[one]["deps"] if any(kind["kind"] is None for kind in edge["dep_kinds"])]
    return {(package["name"], package["version"]) for package in whole["packages"] if package["id"] in seen}


def named_in(binary):
    """The crates of whose source files the binary speaks, in its panics."""
    data = binary.read_bytes()
    found = re.findall(rb"cargo/registry/src/[^/]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[A-Za-z0-9.+-]*)/", data)
    return {(name.decode(), version.decode()) for name, version in found}


def main():
    board = sys.argv[1] if len(sys.argv) > 1 else "qemu-x86_64"
    arch = board.removeprefix("qemu-")
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    folder = TARGET / "image" / board
    image, stem = folder / "homepost.img", f"homepost-{version}-{board}"
    packed, listed, bill = (folder / f"{stem}.{end}" for end in ("img.xz", "os_list.json", "cdx.json"))
    checks = Checks()

    with checks("nothing is made for publishing without a key of the publisher's"):
        without = {name: value for name, value in os.environ.items() if name not in ("UPDATE_KEY", "MAKEFLAGS", "MAKELEVEL")}
        for words in ([], ["UPDATE_KEY=/nowhere/key.pem"]):
            done = subprocess.run(["make", "-s", "release", *words], cwd=ROOT, env=without, capture_output=True, text=True)
            assert done.returncode and "UPDATE_KEY" in done.stderr and not done.stdout, done
    with checks("the packed image is what was built, and small enough"):
        size, digest = unpacked(packed)
        same((size, digest), (image.stat().st_size, sha256(image)), "unpacked")
        assert packed.stat().st_size <= LIMIT, packed.stat().st_size
        print(f"       {packed.name}: {packed.stat().st_size / 1e6:.1f} MB")
    with checks("its checksum is what sha256sum expects"):
        subprocess.run(["sha256sum", "--check", "--quiet", f"{packed.name}.sha256"], cwd=folder, check=True)
    with checks("Imager's list agrees with the files"):
        whole = json.loads(listed.read_text())
        same(list(whole), ["os_list"], "keys")
        [entry] = whole["os_list"]
        same({key: type(value) for key, value in entry.items()}, IMAGER, "fields")
        same([entry["extract_size"], entry["extract_sha256"]], [size, digest], "the image")
        same([entry["image_download_size"], entry["image_download_sha256"]], [packed.stat().st_size, sha256(packed)], "the .xz")
        same(entry["init_format"], "none", "init_format")
        assert version in entry["name"], entry["name"]
        datetime.date.fromisoformat(entry["release_date"])
        for name in (entry["url"], entry["icon"]):
            assert (folder / name.rsplit("/", 1)[1]).is_file(), f"{name} is not beside it"
        same(entry["url"].rsplit("/", 1)[1], packed.name, "url")
        xml.etree.ElementTree.parse(folder / "homepost.svg")
    with checks("RELEASE_URL is where the list says the files are"):
        with tempfile.TemporaryDirectory() as elsewhere:
            there = os.path.join(elsewhere, "image", board)
            os.makedirs(there)
            with open(os.path.join(there, "homepost.img"), "wb") as small:
                small.write(b"not really an image")
            env = dict(os.environ, CARGO_TARGET_DIR=elsewhere, RELEASE_URL="https://example.org/files/", SOURCE_DATE_EPOCH="1700000000")
            subprocess.run([ROOT / "scripts" / "release", board, "--binary", folder / "work" / "root" / "usr" / "bin" / "homepost"],
                           env=env, check=True, capture_output=True)
            [entry] = json.loads(open(os.path.join(there, listed.name)).read())["os_list"]
            same([entry["url"], entry["release_date"]], [f"https://example.org/files/{packed.name}", "2023-11-14"], "entry")

    text = bill.read_text()
    sbom = json.loads(text)
    rows = sbom["components"]
    with checks("the bill of materials keeps to CycloneDX's schema"):
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        assert error is None, error
        refs = [row["bom-ref"] for row in rows] + [sbom["metadata"]["component"]["bom-ref"]]
        same([ref for ref, count in collections.Counter(refs).items() if count > 1], [], "names given twice")
        for edge in sbom["dependencies"]:
            assert {edge["ref"], *edge["dependsOn"]} <= set(refs), edge
        same(sbom["metadata"]["component"]["hashes"][0]["content"], digest, "the image it speaks of")
    by_kind = collections.defaultdict(set)
    for row in rows:
        if "purl" in row:
            parsed = PackageURL.from_string(row["purl"])
            same((parsed.name, parsed.version), (row["name"], row["version"]), row["purl"])
            by_kind[parsed.type].add((row["name"], row["version"]))
    binary = folder / "work" / "root" / "usr" / "bin" / "homepost"
    triple = f"{arch}-unknown-linux-musl"
    with checks("every crate of the binary is in it, each with a licence, and none that is not"):
        tree = cargo("tree", "--target", triple, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
        linked = {(line.split()[0], line.split()[1].removeprefix("v")) for line in tree.splitlines() if line.strip()}
        # Those that the standard library stands on hang on it alone.
        below = next(edge["dependsOn"] for edge in sbom["dependencies"] if edge["ref"] == "rust-std")
        of_std = {(parsed.name, parsed.version) for parsed in map(PackageURL.from_string, below)}
        same(sorted(linked - by_kind["cargo"]), [], "linked, and missing")
        same(sorted(by_kind["cargo"] - linked - of_std), [], "not linked")
        same(sorted(linked - normal_dependencies(triple)), [], "that cargo's metadata does not know")
        spoken = named_in(binary)
        assert len(spoken) > 20, f"the binary names only {len(spoken)} crates"
        same(sorted(spoken - by_kind["cargo"]), [], "named in the binary, and missing")
        same([row["name"] for row in rows if row.get("purl", "").startswith("pkg:cargo/") and not row.get("licenses")], [], "without a licence")
        print(f"       {len(by_kind['cargo'])} crates, {len(spoken)} of them named in the binary")
    with checks("every package that a file of the image comes from is in it"):
        names = {name for name, _ in by_kind["deb"]}
        root = folder / "work" / "root"
        expected = {"busybox-static": "usr/bin/busybox", "nftables": "usr/sbin/nft", "openntpd": "usr/sbin/ntpd", "e2fsprogs": "usr/sbin/e2fsck",
                    "libc6": "usr/lib/libc.so.6", "fdisk": "usr/sbin/sfdisk", "util-linux": "usr/bin/../sbin/setpriv"}
        same([name for name, path in expected.items() if (root / path).exists() and name not in names], [], "missing")
        same(sorted(name for name in names if name.startswith("linux-image")),
             ["linux-image-" + os.listdir(root / "usr" / "lib" / "modules")[0]], "kernels")
        assert any(name.startswith("grub-efi") for name in names), "GRUB"
        # All else that is not ours: each regular file that is no text has a package whose checksum it has.
        known = {}
        for deb in (folder / "debian" / "packages").read_text().split():
            sums = subprocess.run(["dpkg-deb", "-I", deb, "md5sums"], capture_output=True, text=True).stdout
            name = subprocess.run(["dpkg-deb", "-f", deb, "Package"], capture_output=True, text=True).stdout.strip()
            known |= {line.split()[0]: name for line in sums.splitlines() if line.strip()}
        for path in root.rglob("*"):
            if path.is_symlink() or not path.is_file() or "modules" in path.parts or path == binary:
                continue
            content = path.read_bytes()
            if content[:4] == b"\x7fELF":
                name = known.get(hashlib.md5(content, usedforsecurity=False).hexdigest())
                assert name in names, f"{path.relative_to(root)} is from {name}, which is not in the list"
    checks.end()


if __name__ == "__main__":
    main()
