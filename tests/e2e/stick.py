"""A stick in the box: a backup by itself, read back; pulled, full and other people's; and an empty box that is restored by one.

The root process of the box is played (played.py), since a stick cannot be plugged into this machine.
"""

import os
import shutil
import threading
import time

from house import ALICE, Checks, House
from played import Machine, until

LETTER = f"From: bob@example.net\r\nTo: {ALICE}\r\nSubject: kept\r\nMessage-ID: <kept@example.net>\r\n\r\nA letter.\r\n".encode()


def main():
    checks = Checks()
    house, other = House("stick"), House("stick-other")
    machine = Machine(house.folder / "box")
    os.environ["HOMEPOST_MACHINE"] = str(machine.folder / "machine.sock")
    os.environ["HOMEPOST_STICK"] = str(machine.folder)

    def status():
        return house.json("backup", "status")

    try:
        house.init()
        house.serve()
        client = house.smtp()
        client.sendmail("bob@example.net", [ALICE], LETTER)
        client.quit()
        before = house.letters()
        with checks("a stick without a recovery sheet is not written to, and the owner hears why"):
            machine.plug(1)
            problem = until(lambda: status()["problem"])
            assert "recovery sheet" in problem, problem
            assert not list(machine.inside.iterdir()), list(machine.inside.iterdir())
            problems = house.json("problems")
            assert any(one["about"] == "backup" and "recovery sheet" in one["words"] for one in problems), problems
        with checks("once there is a sheet, the stick that is in is backed up to without another word"):
            words = house.json("backup", "key")["words"]
            first = until(lambda: status()["made"])
            assert not status()["problem"], status()
        with checks("plugged in again it is backed up to by itself, read back, and let go"):
            machine.pull()
            machine.plug(2)
            made = until(lambda: (now := status())["made"] != first and now)
            assert made["verified"] == made["made"] and made["messages"] == 1 and not made["problem"], made
            assert "can be pulled out now" in made["stick"], made
            assert machine.acts[-1] == "close-stick" and not (machine.folder / "at").exists(), machine.acts
            assert house.json("backup", "list", str(machine.inside)), "no backup on the stick"
            assert not [one for one in house.json("problems") if one["about"] == "backup"]
        with checks("without being asked nothing more is written within the hour; asked, at once"):
            count = len(machine.acts)
            time.sleep(8)
            assert len(machine.acts) == count, machine.acts
            house.run("backup", "now")
            assert max(one["number"] for one in house.json("backup", "list", str(machine.inside))) == 3
        with checks("a stick that is gone, or not ours, is told in words and nothing is written"):
            machine.pull()
            done = house.run("backup", "now", ok=False)
            assert done.returncode == 1 and "There is no USB stick" in done.stderr, done
            machine.plug(3, state="foreign", label="PICTURES")
            done = house.run("backup", "now", ok=False)
            assert done.returncode == 1 and "not labelled HOMEPOST" in done.stderr, done
            machine.pull()
        house.stop()

        toml = machine.inside / "homepost.toml"
        told = machine.inside / "homepost.txt"
        with checks("an empty box with that stick and wrong words says so on the stick, and nothing is changed"):
            toml.write_text('restore = "these are not the words at all"\n')
            machine.plug(4)
            started = threading.Thread(target=other.serve, kwargs={"seconds": 300}, daemon=True)
            started.start()
            until(told.exists)
            until(lambda: machine.acts[-1] == "close-stick" and told.read_text())
            assert "not the words" in told.read_text() and "Nothing was changed" in told.read_text(), told.read_text()
            assert not (other.data / "settings.toml").exists() and toml.exists()
        with checks("with the right ones it is restored by itself, and the secret is gone from the stick"):
            machine.pull()
            machine.acts.append("pulled")
            toml.write_text(f'restore = "{words}"\n')
            machine.plug(5)
            started.join(300)
            until(lambda: machine.acts[-1] == "close-stick")
            assert "is put back: 1 accounts, 1 letters" in told.read_text(), told.read_text()
            assert not toml.exists()
            after = other.letters()
            assert list(after.values()) == list(before.values()), (before, after)
            assert other.check() == "", other.check()
        other.stop()
    finally:
        house.stop()
        other.stop()
        machine.listener.close()
        for one in (house, other):
            shutil.rmtree(one.folder, ignore_errors=True)
    checks.end()


if __name__ == "__main__":
    main()
