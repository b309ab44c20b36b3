"""What a walk through the pages that write records (writing.mjs) leaves in the DNS, seen by dig and by who keeps the zone."""

import contextlib

from dns import short
from dnspush import KEY, SECRET
from dnsprovider import interface
from house import same

KEYS = {KEY: SECRET}
OTHERS = '"v=DMARC1; p=reject"'
# Of somebody else's, in the way of one of ours; and something that is in no way.
FOREIGN = f'_dmarc IN TXT {OTHERS}\n@ IN TXT "google-site-verification=x"\n'


class Watched:
    """The zone of a domain, and a provider's interface that takes another token than the one that is typed."""

    def __init__(self, bind, house, domain):
        self.bind, self.house, self.domain = bind, house, domain
        self.before, self.after = bind.all(domain), None
        self.stack = contextlib.ExitStack()
        self.interface = self.stack.enter_context(interface(bind))
        self.provider = self.interface.address

    def told(self, word):
        """After `dns WORD` or `provider WORD` of the walk."""
        dmarc = f"_dmarc.{self.domain}"
        if word == "down":
            assert 0 < self.interface.asked < 4, f"{self.interface.asked} requests with a token that is not taken"
            self.end()
        elif word == "untouched":
            same(self.bind.all(self.domain), self.before, "the zone")
        elif word == "written":
            self.after = self.bind.all(self.domain)
            assert not set(self.before) - set(self.after), "touched what is not ours"
            wanted = {}
            for record in self.house.json("dns", "records", self.domain):
                if record["publish"] and record["name"] != dmarc and record["name"].endswith(self.domain):
                    wanted.setdefault((record["name"], record["type"]), []).append(short(record))
            assert len(wanted) > 8, wanted
            for (name, kind), values in wanted.items():
                missing = set(values) - set(self.bind.dig(name, kind))
                assert not missing, f"{name} {kind}: {missing} is not there"
            same(self.bind.dig(dmarc, "TXT"), [OTHERS], "somebody else's")
        elif word == "taken":
            [ours] = self.bind.dig(dmarc, "TXT")
            assert ours != OTHERS and ours.startswith('"v=DMARC1'), ours
        elif word == "undone":
            same(self.bind.dig(dmarc, "TXT"), [OTHERS], "put back")
            same(self.bind.all(self.domain), self.after, "the zone")
        else:
            raise AssertionError(word)

    def silent(self):
        """No secret is where it does not belong."""
        said = self.house.log.read_text(errors="replace") + (self.house.data / "settings.toml").read_text()
        for secret in (SECRET, "revoked-0815"):
            assert secret not in said, "a secret was said"
        assert not (self.house.data / "dns-key.json").exists(), "by hand, and the secret is there still"

    def end(self):
        self.stack.close()
