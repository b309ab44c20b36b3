// Walks the administration in a real browser. Driven by admin.py, with which it talks in lines: `step NAME` when a page was
// looked at, `person ADDRESS PHRASE` when somebody chose a pass phrase, `token TOKEN` when one was made; a line on standard
// input says "go on".
//
// usage: node admin.mjs MODE URL ADDRESS PHRASE SHOTS NAMESERVER PROVIDER      MODE: as in browser.mjs
import { begin, check, say, told } from "./browser.mjs";
import { writes } from "./writing.mjs";

const [mode, url, address, phrase, shots, server, provider] = process.argv.slice(2);
const NAME = `Carol of the ${mode}`;
const CHOSEN = "moss fern and river stone";

const hand = await begin({ mode, url, shots, scripts: 0, wait: 60_000, args: [`--host-resolver-rules=MAP ${new URL(url).hostname} 127.0.0.1`] });
const { t, seen, fill, press, button, link, heading, text } = hand;
const tab = (name) => press("link", name, ".tabs");
const secret = async () => (await hand.page.locator(".secret").textContent()).trim();

const signIn = async (who, opens) => {
  await fill("Your address", who);
  await fill("Your pass phrase", opens);
  await button("Sign in");
};

await hand.walk(async () => {
  await hand.page.goto(url);
  await heading("Sign in");
  await seen("sign-in");
  await hand.page.getByRole("link", { name: t("And who administers it?") }).click();
  await heading("A new pass phrase for who administers this box");
  await seen("forgotten");
  await hand.page.getByRole("button", { name: t("Show a code on the box's screen") }).click();
  await text("so homepost has no screen here");
  await hand.page.getByRole("link", { name: t("Back to signing in") }).click();
  await signIn(address, "not that one");
  await hand.page.locator("#phrase-wrong").waitFor();
  check((await hand.page.getByLabel(t("Your address")).inputValue()) === address, "what was typed is gone");
  await seen("sign-in-wrong");
  await signIn(address, phrase);
  await heading("How it is");
  await text("have not been looked at since the start");
  await seen("overview");

  await tab("People");
  await heading("People");
  await seen("people");
  const local = `carol-${mode}`;
  await fill("Name", NAME);
  await fill("Address", "ben");
  await button("Invite");
  await hand.page.locator(".alarm").waitFor();
  check((await hand.page.getByLabel(t("Name"), { exact: true }).inputValue()) === NAME, "what was typed is gone");
  await seen("people-wrong");
  await fill("Address", local);
  await fill("Room, in megabytes", "750");
  await button("Invite");
  await heading(`${local}@example.test has a letter box.`);
  await seen("invited");
  const invitation = await secret();

  // The person, in another browser.
  const admin = hand.page;
  hand.page = await hand.person();
  await hand.page.goto(invitation);
  await heading(`Welcome, ${NAME}.`);
  await seen("invitation");
  await fill("Pass phrase", "password");
  await fill("The same once more", "password");
  await button("Go on");
  await hand.page.locator("#phrase-wrong").waitFor();
  await seen("invitation-wrong");
  await fill("Pass phrase", CHOSEN);
  await fill("The same once more", CHOSEN);
  await button("Go on");
  await heading("Your letter box is open.");
  await seen("welcome");
  say("person", `${local}@example.test`, CHOSEN);
  await told();
  await link("Sign in here");
  await heading("Sign in");
  await signIn(`${local}@example.test`, CHOSEN);
  await heading(NAME);
  await seen("me");
  check((await hand.page.locator(".tabs a").count()) === 2, "an ordinary person sees other pages");
  await hand.page.goto(new URL("/admin/people", url).href);
  await heading("This is for administrators.");
  await seen("not-yours");
  await hand.page.goto(new URL("/me", url).href);
  await fill("The one you have now", CHOSEN);
  await fill("The new one", `${CHOSEN} 2`);
  await fill("The same once more", `${CHOSEN} 2`);
  await button("Change it");
  await text("Your pass phrase is changed.");
  await seen("me-changed");
  await tab("Your devices");
  await heading("Your devices");
  await fill("What do you call it?", "Tablet");
  await button("Make a password");
  await heading("A password for this device alone");
  await seen("device-password");
  say("person", `${local}@example.test`, await secret());
  await told();
  await link("Done");
  await text("✓ used");
  await fill("What do you call it?", "Phone");
  await button("Make a link for an Apple device");
  await heading("Open this on the device");
  await seen("device-link");
  await link("Done");
  await text("… link is good until");
  await seen("devices");
  await button("Remove Phone");
  await heading("Your devices");
  await hand.page.goto(invitation);
  await heading("This link opens nothing.");
  await seen("link-used");
  const carol = hand.page;
  hand.page = admin;

  await link("Done");
  await heading("People");
  await link(NAME);
  await heading(NAME);
  await seen("person");
  await button("Make a link");
  await heading(`A new link for ${local}@example.test`);
  await link("Done");
  await button("Replace it at once");
  await heading(`${local}@example.test has a new pass phrase.`);
  await seen("new-phrase");
  say("person", `${local}@example.test`, await secret());
  await told();
  hand.page = carol;
  await hand.page.goto(new URL("/me", url).href);
  await heading("Sign in");
  hand.page = admin;
  await link("Done");
  await button("Delete in two weeks");
  await heading(NAME);
  await text("to be deleted on");
  await seen("person-leaving");
  await button("Keep it");
  await button("Make an administrator");
  await text("Administers this box, as you do.");
  await button("Administer no more");
  await fill("Megabytes", "lots");
  await button("Change");
  await hand.page.locator(".alarm").waitFor();

  await tab("Aliases");
  await heading("Aliases");
  await fill("Alias", `info-${mode}@example.test`);
  await hand.page.getByLabel(t("Goes to")).fill(`nobody@example.test`);
  await button("Make it");
  await hand.page.locator(".alarm").waitFor();
  await seen("aliases-wrong");
  await hand.page.getByLabel(t("Goes to")).fill(`ben@example.test\n${local}@example.test`);
  await button("Make it");
  await text(`to ben@example.test, ${local}@example.test`);
  await seen("aliases");

  await tab("Domains");
  await heading("Domains");
  await fill("Domain", `${mode}.test`);
  await button("Add");
  await heading(`Records for ${mode}.test`);
  await seen("domain");
  await button("Look now");
  await hand.page.locator(".alarm").waitFor();
  await text("Cannot ask");
  await seen("domain-cannot-ask");
  await tab("Domains");
  await button(`Take away example.test`);
  await hand.page.locator(".alarm").waitFor();
  await button(`Take away ${mode}.test`);
  await heading("Domains");
  await seen("domains");

  await link("example.test");
  await heading("Records for example.test");
  await link("Write the records");
  await writes(hand, { server, ask: server, key: "home-key", secret: "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyB5ZXM=", provider });
  await heading("Records for example.test");
  await button("Look now");
  await text(/^\d+ of \d+ records are right$/);
  await seen("domain-written");

  await tab("Ports");
  await heading("Ports");
  await seen("ports");
  await button("Close https");
  await heading("Close port 443 (https)?");
  await text("You are reading this page through this port.");
  await seen("ports-sure");
  await link("Leave it open");
  await button("Open imap");
  await heading("Ports");
  say("port", "143");
  await told();
  await button("Close imap");
  await button("Close it");
  await heading("Ports");

  await tab("Certificates");
  await heading("Certificates");
  await seen("certificates");
  await tab("Queue");
  await heading("Queue");
  await text("1 still to be sent.");
  await seen("queue");
  // It goes nowhere: no name server here knows where.
  await link("From aunt@elsewhere.test");
  await heading("From aunt@elsewhere.test");
  await text("This was said last:");
  await hand.page.getByText(/^451 4\.4\.\d /).first().waitFor();
  await seen("letter");
  await button("Hold it");
  await text("→ held until somebody releases it");
  check((await hand.page.getByRole("button", { name: t("Try it now"), exact: true }).count()) === 0, "what is held can be tried");
  await seen("letter-held");
  await tab("Queue");
  await button("Release everything");
  await heading("Queue");
  await link("From aunt@elsewhere.test");
  await button("Try it now");
  await heading("From aunt@elsewhere.test");
  await button("Cancel it");
  await heading("Cancel this letter?");
  await seen("letter-sure");
  await link("Leave it");
  await heading("From aunt@elsewhere.test");
  const letter = hand.page.url();
  await button("Cancel it");
  await button("Cancel it");
  await heading("Queue");
  await text("Nothing waits to be sent.");
  await hand.page.goto(letter);
  await heading("This letter is in the queue no more.");
  await seen("letter-gone");

  await tab("Programs");
  await heading("Programs");
  await fill("What is it for?", `backup-${mode}`);
  await hand.page.getByLabel(t("It may")).selectOption("all");
  await button("Make it");
  await heading(`The token "backup-${mode}" is made.`);
  await seen("token");
  say("token", await secret());
  await told();
  await link("Done");
  await seen("programs");
  await button(`Revoke backup-${mode}`);
  await heading("Programs");
  check(!(await hand.page.locator("#main").textContent()).includes(`backup-${mode}`), "the token is there still");

  await tab("Updates");
  await heading("Updates");
  await button("Look for newer versions");
  await heading("Updates");
  await seen("updates");

  await tab("You");
  await heading("You");
  if (mode === "german") {
    // Somebody may have another language than the browser asks for, and than the household.
    const speaks = async (label, language, words) => {
      await hand.page.getByLabel(label, { exact: true }).selectOption(language);
      await Promise.all([hand.page.waitForEvent("framenavigated"), hand.page.locator("button[value=language]").click()]);
      await hand.page.waitForLoadState("domcontentloaded");
      await hand.page.getByRole("heading", { level: 1, name: words, exact: true }).waitFor();
      check((await hand.page.evaluate(() => document.documentElement.lang)) === language, `the page is not in ${language}`);
    };
    await speaks(t("These pages, in this browser"), "en", "You");
    await speaks("These pages, in this browser", "de", t("You"));
  }
  await press("button", "Sign out", "header");
  await heading("Sign in");
  await hand.page.goto(new URL("/admin", url).href);
  await heading("Sign in");
});
