#!/usr/bin/env python3
"""What others say of letters and records, as JSON for tests/vectors.rs.

usage: make.py SOURCES OUT     SOURCES has pyspf's and dkimpy's source archives, unpacked; both and PyYAML can be imported

    OUT/spf.json    the test suite for RFC 7208 that pyspf brings
    OUT/dkim.json   letters that dkimpy has signed or sealed, or that lie among its data, with what dkimpy says of them
"""
import base64
import glob
import json
import sys
from pathlib import Path

import dkim
import yaml


def spf(sources):
    [path] = glob.glob(f"{sources}/pyspf-*/test/rfc7208-tests.yml")
    scenarios = []
    # Octets above 127 stay what they are, each as one character.
    for scenario in yaml.safe_load_all(Path(path).read_text("utf-8")):
        zone = {}
        for name, records in scenario["zonedata"].items():
            out, generated, txt = [], [], False
            for record in records:
                if record == "TIMEOUT":
                    out.append(["TIMEOUT", ""])
                    continue
                [(kind, data)] = record.items()
                if kind in ("SPF", "TXT"):
                    text = "".join(data) if isinstance(data, list) else data
                    # The suite is from when there was a type SPF: what is written so is meant as TXT, unless TXT is too.
                    if kind == "SPF":
                        generated.append(["TXT", text])
                        continue
                    txt = True
                    if text == "NONE":
                        continue
                    data = text
                out.append([kind, data])
            zone[str(name).lower()] = out + ([] if txt else generated)
        tests = []
        for name, test in scenario["tests"].items():
            result = test["result"]
            tests.append({
                "name": name,
                "spec": str(test.get("spec")),
                "helo": test["helo"],
                "host": test["host"],
                "mailfrom": test["mailfrom"],
                "result": result if isinstance(result, list) else [result],
            })
        scenarios.append({"description": scenario["description"], "zone": zone, "tests": tests})
    return scenarios


# All end lines with CRLF, as letters that come by DATA do. (Of white space behind the last CRLF RFC 6376 3.4.4 does not say whether
# it is a line: dkimpy keeps one space of it, we take it for an empty line.)
BODIES = [b"", b"\r\n", b"\r\n\r\n", b"a\r\n", b"a", b"a \r\n", b"a\r\n \r\n", b"a\r\n\t\r\n \r\n", b"a\r\n\r\n \r\n\r\n",
          b"a b  c\t\r\n \t\r\n\r\n", b" \r\n", b" lead\r\n\r\nmid \r\n\r\n\r\nend\r\n \t \r\n", b"x" * 3000 + b"\r\n \r\n",
          b"tabs\tand  spaces \t \r\n" * 40 + b"   \r\n   \r\n"]
HEADER = (b"Subject:  folded\r\n\t and  spaced \r\nFrom: A <a@example.net>\r\nTo: b@example.com\r\n"
          b"X-Dup: 1\r\nX-Dup: 2\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\n\r\n")


def dkims(sources):
    [data] = map(Path, glob.glob(f"{sources}/dkimpy-*/dkim/tests/data"))
    read = lambda name: (data / name).read_bytes()
    keys = {
        "test._domainkey.example.net": read("2048_testkey_wo_markers.pub.txt"),
        "ed._domainkey.example.net": b"v=DKIM1; k=ed25519; p=yi50DjK5O9pqbFpNHklsv9lqaS0ArSYu02qp1S0DW1Y=",
        "short._domainkey.example.net": read("test.txt"),
        "brisbane._domainkey.football.example.com": b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "test._domainkey.football.example.com": read("test.txt"),
        "sed._domainkey.test.ex": read("eximtest.dns"),
        "pkcs1._domainkey.example.net": read("2048_testkey_wo_markers.pub.rsa.txt"),
        "dns._domainkey.example.net": read("ed25519test.dns"),
        "strict._domainkey.example.net": b"v=DKIM1; t=s; k=ed25519; p=yi50DjK5O9pqbFpNHklsv9lqaS0ArSYu02qp1S0DW1Y=",
    }
    # Each of test.private's key, and what is wrong with all but one.
    for name in ("test", "test2", "test_bad", "test_tlsrpt", "badk", "badversion"):
        keys[f"{name.replace('_', '-')}._domainkey.example.org"] = read(f"{name}.txt")
    if b"p=" not in keys["test._domainkey.example.net"]:
        keys["test._domainkey.example.net"] = b"v=DKIM1; k=rsa; p=" + b"".join(keys["test._domainkey.example.net"].split())

    def ask(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return keys.get(name.rstrip("."))

    out = []

    def add(name, message, expect):
        out.append({"name": name, "message": base64.b64encode(message).decode(), "expect": expect})

    rsa, ed = read("2048_testkey.key"), read("ed25519test.key")
    for n, body in enumerate(BODIES):
        message = HEADER + body
        for header_form in (b"simple", b"relaxed"):
            for body_form in (b"simple", b"relaxed"):
                for selector, key, algorithm in ((b"test", rsa, b"rsa-sha256"), (b"ed", ed, b"ed25519-sha256")):
                    signature = dkim.sign(message, selector, b"example.net", key, canonicalize=(header_form, body_form),
                                          signature_algorithm=algorithm)
                    name = f"body {n}, {header_form.decode()}/{body_form.decode()}, {algorithm.decode()}"
                    signed = signature + message
                    add(name, signed, ["pass" if dkim.verify(signed, dnsfunc=ask) else "fail"])
                    changed = signed.replace(b"and  spaced", b"and spaced!")
                    add(name + ", changed", changed, ["pass" if dkim.verify(changed, dnsfunc=ask) else "fail"])
    for name in ("rfc6376.signed.msg", "rfc6376.signed.rsa.msg", "ed25519test2.msg"):
        message = read(name).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        d = dkim.DKIM(message)
        count = message.count(b"DKIM-Signature:")
        expect = ["pass" if d.verify(idx=n, dnsfunc=ask) else "fail" for n in range(count)]
        add(name, message, expect)
    # What RFC 6376 calls a PERMFAIL is an exception to dkimpy, and a permerror here.
    def said(d):
        try:
            return "pass" if d.verify(dnsfunc=ask) else "fail"
        except dkim.DKIMException:
            return "permerror"

    crlf = lambda message: message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    private = read("test.private")
    for name in ("test", "test2", "test_bad", "test_tlsrpt", "badk", "badversion"):
        message = crlf(read("test.message"))
        signature = dkim.sign(message, name.replace("_", "-").encode(), b"example.org", private)
        # dkimpy tells a key that cannot be read from one that does not fit only in its log; RFC 6376 6.1.2 has PERMFAIL for the first.
        # (The bad key is one that can be read.)
        fits = said(dkim.DKIM(signature + message)) == "pass"
        assert fits == (name in ("test", "test2")), name
        add(f"key {name}", signature + message, ["pass" if fits else "fail" if name == "test_bad" else "permerror"])
    # Letters that lie there without a signature, or with one whose key nobody has (test2.message, message.mbox): signed anew. Those
    # that have no From cannot be (test_nofrom.message).
    unsigned = ("rfc6376.msg", "rfc6376.w1258.msg", "ed25519test.msg", "test.message", "test2.message", "test_extra.message", "message.mbox")
    for name in unsigned:
        message = crlf(read(name))
        others = ["permerror"] * message.count(b"DKIM-Signature:")
        for selector, key, algorithm in ((b"test", rsa, b"rsa-sha256"), (b"ed", ed, b"ed25519-sha256"),
                                         (b"pkcs1", rsa, b"rsa-sha256"), (b"dns", ed, b"ed25519-sha256")):
            signature = dkim.sign(message, selector, b"example.net", key, canonicalize=(b"relaxed", b"simple"),
                                  signature_algorithm=algorithm)
            add(f"{name}, {selector.decode()}", signature + message, [said(dkim.DKIM(signature + message))] + others)
    message = crlf(read("rfc6376.signed.no_t.msg"))
    add("rfc6376.signed.no_t.msg", message, [said(dkim.DKIM(message))])
    # RFC 6376 3.6.1, t=s: dkimpy does not look at it (what it says of the second is noted, and what the clause says is expected).
    message = crlf(read("test.message"))
    for selector, identity, expect in ((b"strict", b"a@example.net", "pass"), (b"strict", b"a@sub.example.net", "permerror"),
                                       (b"ed", b"a@sub.example.net", "pass")):
        signature = dkim.sign(message, selector, b"example.net", ed, identity=identity, signature_algorithm=b"ed25519-sha256")
        assert dkim.verify(signature + message, dnsfunc=ask)
        add(f"{selector.decode()}, i={identity.decode()}", signature + message, [expect])
    add("d= that is no name", read("test.message.baddomain").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), ["permerror"])
    message = read("test.message").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    chains = []
    once = b"Authentication-Results: lists.example.net; dmarc=pass header.from=d1.example\r\n" + message
    sealed = b"".join(dkim.arc_sign(once, b"test", b"example.net", rsa, b"lists.example.net")) + once
    twice = b"Authentication-Results: lists.example.net; arc=pass; dmarc=fail\r\n" + sealed
    resealed = b"".join(dkim.arc_sign(twice, b"test", b"example.net", rsa, b"lists.example.net")) + twice
    cut = sealed.replace(b"ARC-Seal:", b"X-Seal:")
    def seal(letter, said):
        """By a server of a name of its own, which found that."""
        letter = b"Authentication-Results: third.example.net; " + said + b"\r\n" + letter
        return b"".join(dkim.arc_sign(letter, b"test", b"example.net", rsa, b"third.example.net")) + letter

    thrice = seal(resealed, b"arc=pass; dmarc=fail")
    # A list adds a line below and seals again: the older signature of the letter does not fit any more, and need not.
    after_change = seal(sealed + b"footer\r\n", b"arc=pass; dmarc=fail")
    changed_subject = lambda letter: letter.replace(b"\r\nSubject: ", b"\r\nSubject: [list] ", 1)
    # Sealed by somebody who found the chain broken, and by somebody who took it for unbroken.
    broken = resealed + b"x\r\n"
    over_broken = seal(broken, b"arc=fail")
    lied_over = over_broken.replace(b"cv=fail", b"cv=pass", 1)
    numbered = lambda letter, old, new: letter.replace(b"i=" + old + b";", b"i=" + new + b";")
    chain = [("none", message), ("one seal", sealed), ("two seals", resealed), ("body changed", broken),
             ("a seal is missing", cut), ("results changed", sealed.replace(b"dmarc=pass", b"dmarc=none")),
             ("three seals", thrice), ("changed between two seals", after_change), ("subject changed", changed_subject(thrice)),
             ("a footer below three seals", thrice + b"x\r\n"), ("sealed as broken", over_broken), ("broken, and sealed as whole", lied_over),
             ("numbers with a gap", numbered(resealed, b"2", b"3")), ("two of one number", numbered(resealed, b"2", b"1")),
             ("number nought", numbered(sealed, b"1", b"0")), ("number 51", numbered(sealed, b"1", b"51")),
             ("the first says that there was one before", sealed.replace(b"cv=none", b"cv=pass", 1)),
             ("the second says that there was none before", resealed.replace(b"cv=pass", b"cv=none", 1)),
             ("older results changed", thrice.replace(b"dmarc=pass", b"dmarc=none")),
             ("another key's name", sealed.replace(b"s=test", b"s=gone")),
             ("a letter's signature is missing", sealed.replace(b"ARC-Message-Signature:", b"X-Message-Signature:")),
             ("results are missing", sealed.replace(b"ARC-Authentication-Results:", b"X-Results:")),
             ("twice the same", sealed.split(b"Authentication-Results: lists")[0] + sealed)]
    for name, letter in chain:
        cv, _, _ = dkim.arc_verify(letter, dnsfunc=ask)
        expect = {dkim.CV_Pass: "pass", dkim.CV_None: "none"}.get(cv, "fail")
        # RFC 8617 4.2.1, 5.2: instances begin with 1, and a set that is none makes the chain fail; dkimpy does not see it.
        if name == "number nought":
            assert expect == "none"
            expect = "fail"
        chains.append({"name": name, "message": base64.b64encode(letter).decode(), "expect": expect})
    text = {name: value.decode("latin-1").strip() for name, value in keys.items()}
    return {"keys": text, "letters": out, "chains": chains}


if __name__ == "__main__":
    sources, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    (out / "spf.json").write_text(json.dumps(spf(sources)))
    (out / "dkim.json").write_text(json.dumps(dkims(sources)))
