"""The records of a domain, held against BIND: as a zone file, and looked up live."""

import json
import re
import subprocess

import dnsprovider
import dnspush
from bind import Bind, tool
from house import Checks, House, same

DOMAIN = "example.test"
HEAD = """$TTL 3600
@ IN SOA ns1.example.test. hostmaster.example.test. 1 7200 900 1209600 240
@ IN NS ns1.example.test.
ns1 IN A 127.0.0.1
"""
ADDRESS = "192.0.2.25"


def short(record):
    """A record of `records --json` as `dig +short` shows it."""
    value = record["value"]
    if record["type"] == "TXT":
        parts = record["parts"] or [value]
        return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
    if record["type"] == "TLSA":
        # dig writes hex in capitals and in groups of 56.
        fields = value.split(" ")
        hexes = fields[3].upper()
        return " ".join(fields[:3] + [hexes[at:at + 56] for at in range(0, len(hexes), 56)])
    if record["priority"] is not None:
        return f"{record['priority']} {value}"
    return value


def records(house, *more):
    return house.json("dns", "records", DOMAIN, "--address", ADDRESS, *more)


def listed(checks, house):
    with checks("records are listed with and without a server, with all their fields"):
        cold = records(house)
        house.serve()
        warm = records(house)
        house.stop()
        same(warm, cold)
        for record in cold:
            missing = {"name", "type", "priority", "value", "ttl", "purpose", "publish"} - set(record)
            assert not missing, f"{record}: {missing}"
            assert record["publish"] or record["reason"], record
        kinds = [record["type"] for record in cold]
        same(kinds[:6], ["MX", "TXT", "TXT", "TXT", "TXT", "TXT"])
        same(kinds.count("SRV"), 8)
        same(kinds.count("TLSA"), 8)
    with checks("a port that is opened changes its record"):
        def imap():
            return next(r["value"] for r in records(house) if r["name"] == f"_imap._tcp.{DOMAIN}")
        same(imap(), "0 0 .")
        house.run("listeners", "on", "imap")
        same(imap(), "1 143 mail.example.test.")
        house.run("listeners", "off", "imap")
    with checks("without an address there is no address record to publish"):
        unknown = [r for r in house.json("dns", "records", DOMAIN) if r["type"] == "A"]
        # A machine with a public address of its own knows it.
        assert all(r["publish"] == (r["value"] is not None) for r in unknown) and unknown, unknown
    with checks("a domain that is not ours is refused"):
        done = house.run("dns", "records", "other.test", ok=False)
        same(done.returncode, 1)
        assert "other.test is not a domain of this server" in done.stderr, done.stderr
    with checks("no private key is in any output or log"):
        shown = house.run("dns", "records", DOMAIN).stdout + house.run("dns", "records", DOMAIN, "--json").stdout
        assert "PRIVATE" not in shown and "MC4CAQAwBQYDK2Vw" not in shown
        keys = [r["value"] for r in records(house) if "_domainkey" in r["name"]]
        same([re.sub(r"p=.*", "", key) for key in keys], ["v=DKIM1; k=ed25519; h=sha256; ", "v=DKIM1; k=rsa; h=sha256; "])


def as_zone(checks, house):
    file = house.folder / "zone"
    with checks("named-checkzone loads the zone file, with names in both forms"):
        for names in ([], ["--relative"]):
            file.write_text(house.run("dns", "records", DOMAIN, "--address", ADDRESS, "--zone", *names).stdout)
            done = subprocess.run([tool("named-checkzone"), DOMAIN, str(file)], text=True, capture_output=True, timeout=60)
            assert done.returncode == 0 and "OK" in done.stdout, done.stdout + done.stderr
    with checks("the records alone have no head, for a provider's importer"):
        alone = house.run("dns", "records", DOMAIN, "--address", ADDRESS, "--zone=records").stdout
        assert " SOA " not in alone and " NS " not in alone and " MX " in alone
    with checks("BIND serves every record of the file as it was listed, and none that is withheld"):
        bind = Bind(house.folder / "bind", {DOMAIN: file.read_text()})
        try:
            wanted = {}
            for record in records(house):
                place = wanted.setdefault((record["name"], record["type"]), [])
                if record["publish"]:
                    place.append(short(record))
            for (name, kind), values in wanted.items():
                same(bind.dig(name, kind) if name.endswith(DOMAIN) else [], sorted(values), f"{name} {kind}")
        finally:
            bind.end()


def check(house, *servers):
    words = [word for server in servers for word in ("--server", server)]
    done = house.run("dns", "check", DOMAIN, "--address", ADDRESS, *words, "--json", ok=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def states(answer):
    return {(one["name"], one["type"], one["value"]): one["state"] for one in answer["records"]}


def the(answer, name, kind):
    return next(one for one in answer["records"] if one["name"] == name and one["type"] == kind)


def looked_up(checks, house):
    whole = house.run("dns", "records", DOMAIN, "--address", ADDRESS, "--zone").stdout
    good = Bind(house.folder / "good", {DOMAIN: whole})
    # What people do: a text in two records, with quotation marks, with the domain doubled, an address as MX.
    key = next(r for r in records(house) if r["value"].startswith("v=DKIM1; k=rsa"))
    first, second = key["parts"]
    bad = Bind(house.folder / "bad", {DOMAIN: HEAD + f"""
{key["name"]}. IN TXT "{first}"
{key["name"]}. IN TXT "{second}"
_dmarc IN TXT "\\"v=DMARC1; p=none; rua=mailto:postmaster@{DOMAIN}; ruf=mailto:postmaster@{DOMAIN}\\""
_smtp._tls.{DOMAIN} IN TXT "v=TLSRPTv1; rua=mailto:postmaster@{DOMAIN}"
@ IN MX 10 {ADDRESS}
@ IN TXT "v=spf1 include:_spf.google.com ~all"
@ IN TXT "google-site-verification=x"
mail IN A 104.16.1.1
"""})
    try:
        with checks("a zone that is right is called right"):
            code, answer, words = check(house, good.address)
            same((code, set(states(answer).values())), (0, {"right"}), words)
            same(answer["zone"], DOMAIN)
            same(answer["existing"], None)
        with checks("a server that runs, and may not do much, asks as well"):
            house.serve()
            same(check(house, good.address)[:2], (code, answer))
            house.stop()
        with checks("usual mistakes are recognised and said in words"):
            code, answer, words = check(house, bad.address)
            same(code, 1)
            assert "are not right yet" in words, words
            for name, kind, state, part in [
                (key["name"], "TXT", "different", "2 pieces"),
                (f"_dmarc.{DOMAIN}", "TXT", "different", "quotation marks"),
                (f"_smtp._tls.{DOMAIN}", "TXT", "different", "enter only _smtp._tls"),
                (DOMAIN, "MX", "different", "points to an address"),
                (f"mail.{DOMAIN}", "A", "different", "Cloudflare"),
                (f"mta-sts.{DOMAIN}", "CNAME", "not there yet", "up to 4 min"),
            ]:
                one = the(answer, name, kind)
                assert one["state"] == state and part in one["words"], one
            same(answer["existing"]["merged-spf"], "v=spf1 mx include:_spf.google.com ~all")
            assert any("There may be only one" in words for words in answer["advice"]), answer["advice"]
        with checks("two servers that do not say the same are told apart"):
            _, answer, _ = check(house, good.address, bad.address)
            one = the(answer, f"_mta-sts.{DOMAIN}", "TXT")
            assert one["state"] == "answers differ" and "not there yet" in one["words"], one
        with checks("a server that is silent does not hide the one that answers; silent alone, it is said"):
            bad.end()
            code, answer, words = check(house, good.address, bad.address)
            same((code, set(states(answer).values())), (0, {"right"}), words)
            code, answer, words = check(house, bad.address)
            same((code, answer), (1, None))
            assert "cannot ask" in words, words
    finally:
        good.end()
        bad.end()


def main():
    checks = Checks()
    house = House("dns")
    try:
        house.init()
        listed(checks, house)
        as_zone(checks, house)
        looked_up(checks, house)
        dnspush.pushed(checks, house, records, short)
        dnsprovider.provided(checks, house, records, short)
    finally:
        house.end()
    checks.end()


if __name__ == "__main__":
    main()
