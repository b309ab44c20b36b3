// Has the records of a domain written from its page: at a name server, with a wrong key and the right one; what is in the way is
// taken over by a tick, and put back; then through a provider whose token is revoked, and whose interface is down.
//
// Says `dns WORD` when the zone is to be looked at (written, taken, undone), and `provider down` when that is to be.
import { check, say, told } from "./browser.mjs";

const WRONG = "YW5vdGhlciBzZWNyZXQgb2YgdGhhdCBsZW5ndGggeHg=";

// At the page "Let homepost write the records". `ask`: what the name servers are called, where they are not found by themselves.
export const writes = async (hand, { server, key, secret, ask, provider }) => {
  const { page } = hand;
  const ended = async (words) => {
    await page.locator("h2:not(.hear)").filter({ hasText: hand.t(words) }).waitFor();
  };
  // The reason, in the words of the page; in German its beginning will do.
  const why = (words, german) => (hand.mode === "german" ? page.getByText(german).first().waitFor() : hand.text(words));
  const typed = async (label) => page.getByLabel(hand.t(label), { exact: true }).inputValue();
  const SECRET = "The secret of the TSIG key (base64)";

  await hand.heading("Let homepost write the records");
  await hand.seen("writing");
  await hand.choose("Who keeps the DNS of your domain?", "rfc2136");
  await hand.button("Go on");
  await hand.heading("Your name server");
  await hand.seen("writing-key");
  await hand.fill("Address of the name server", "the one over there");
  await hand.fill("Name of the key", key);
  await hand.fill(SECRET, WRONG);
  await hand.button("Keep it and compare");
  await page.locator("#server-wrong").waitFor();
  check((await typed("Name of the key")) === key, "what was typed is gone");
  check((await typed(SECRET)) === "", "the secret came back");
  check(!(await page.content()).includes(WRONG), "the secret is in the page");
  await hand.seen("writing-key-wrong");
  await hand.fill("Address of the name server", server);
  await hand.fill(SECRET, WRONG);
  if (ask) {
    await hand.unfold("Only if something is special");
    await hand.fill("Name servers to ask what is there", ask);
  }
  await hand.button("Keep it and compare");
  await ended(/^\d+ records to write\.$/);
  await hand.text("in the way");
  await hand.seen("writing-difference");
  await hand.button("Write these records");
  await ended("Nothing was written.");
  await why("does not take our signature (BADSIG): the secret is not the one it has. Nothing was changed. Give the secret again.", "(BADSIG)");
  await hand.seen("writing-refused");
  say("dns", "untouched");
  await told();

  await hand.link("Change key or token");
  await hand.heading("Your name server");
  check((await typed("Address of the name server")) === server, "what is kept is not shown");
  await hand.fill(SECRET, secret);
  await hand.button("Keep it and compare");
  await ended(/^\d+ records to write\.$/);
  await hand.button("Write these records");
  await ended(/^All \d+ records are written\.$/);
  await hand.text("1 was left alone, because something is in the way that homepost did not write.");
  await hand.seen("writing-written");
  say("dns", "written");
  await told();

  await hand.button("Look again");
  await ended("Something else is in the way.");
  await why("There is a DMARC record already", "Es gibt schon einen DMARC-Eintrag");
  await hand.seen("writing-in-the-way");
  await hand.tick(page.getByRole("checkbox"));
  await hand.button("Write what is ticked");
  await ended("The record is written.");
  await hand.seen("writing-taken");
  say("dns", "taken");
  await told();

  await hand.button("Undo what was written last");
  await ended("1 record to put back.");
  await hand.seen("writing-undo");
  await hand.button("Put them back");
  await ended("The record is put back.");
  await hand.seen("writing-undone");
  say("dns", "undone");
  await told();

  await hand.unfold("Write them in another way, or by hand");
  await hand.choose("How are they to be written?", "powerdns");
  await hand.button("Go on");
  await hand.heading("PowerDNS");
  await hand.seen("writing-token");
  await hand.fill("Address of its interface", provider);
  await hand.fill("The API key", "revoked-0815");
  await hand.button("Keep it and compare");
  await ended("Something else is in the way.");
  await hand.tick(page.getByRole("checkbox"));
  await hand.button("Write what is ticked");
  await ended("Nothing was written.");
  await why("PowerDNS does not accept the token, or it may not change this domain: it is mistyped, revoked or for something else.", "PowerDNS nimmt den Zugang nicht an");
  check(!(await page.content()).includes("revoked-0815"), "the token is in the page");
  await hand.seen("writing-revoked");
  say("provider", "down");
  await told();
  await hand.button("Look again");
  await ended("Something else is in the way.");
  await hand.tick(page.getByRole("checkbox"));
  await hand.button("Write what is ticked");
  await ended("Nothing was written.");
  await why("PowerDNS cannot be reached.", "PowerDNS ist nicht zu erreichen");
  await hand.seen("writing-away");
  say("dns", "undone");
  await told();

  await hand.unfold("Write them in another way, or by hand");
  await hand.choose("How are they to be written?", "none");
  await hand.button("Go on");
  await hand.text("Who keeps the DNS of your domain?");
  await hand.link("Back to the records");
};
