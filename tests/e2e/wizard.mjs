// Walks the set-up in a real browser, from the first page to the last. Driven by wizard.py, with which it talks in lines:
// `step NAME` when a step is done, `letter ADDRESS` when a letter has to be sent, `phrase ADDRESS PHRASE` for somebody's
// first pass phrase; a line on standard input says "go on".
//
// usage: node wizard.mjs MODE URL CODE SHOTS [PROVIDER]      MODE: as in browser.mjs, world (firstboot.py)
import { begin, check, say, told } from "./browser.mjs";
import { writes } from "./writing.mjs";

const [mode, url, code, shots, provider] = process.argv.slice(2);
const authority = mode === "world" ? "acme.authority.test" : "localhost";
const PHRASE = "river oak lantern moon";

const hand = await begin({ mode, url, shots, context: { timezoneId: "Europe/Berlin" } });
const { page, t, seen, reach, fill, tick, button, link, heading } = hand;

await hand.walk(async () => {
  await page.goto(url);
  await heading("Welcome home.");
  check((await page.getByLabel(t("Where do you live?")).inputValue()) === "Europe/Berlin", "the time zone is guessed");
  await seen("language");
  await button("Go on");

  await heading("Show me that you are near the box.");
  await seen("code");
  await fill("Set-up code", "AAAA-AAAA");
  await button("Go on");
  await page.getByText(t("That is not the code on the screen. 4 tries left.")).waitFor();
  await seen("code-wrong");
  await fill("Set-up code", code.toLowerCase().replace("-", ""));
  await button("Go on");

  await heading("Is this your first homepost?");
  await seen("origin");
  await button("Go on");
  await heading("Clock and network");
  await seen("network");
  await link("Go on");

  await heading("Who are you?");
  await seen("you");
  await fill("Your name", "Anna Smith");
  await fill("Your address", "anna");
  await fill("Pass phrase", "password1");
  await fill("The same once more", "password1");
  await button("Go on");
  await page.locator("#phrase-wrong").waitFor();
  await seen("you-wrong");
  await fill("Pass phrase", PHRASE);
  await fill("The same once more", PHRASE);
  await button("Go on");
  await heading("Your recovery sheet");
  await seen("sheet");
  const words = await page.locator(".words li span").allTextContents();
  check(words.length === 10, `${words.length} words`);
  for (const field of ["first", "second"]) {
    const label = await page.locator(`label[for=${field}]`).textContent();
    await fill(label, words[Number(label.replace(/\D/g, "")) - 1]);
  }
  await button("I have it");

  await heading("Your internet line");
  await seen("line");
  await button("Measure my line");
  await seen("line-measuring");
  for (let tries = 0; tries < 60 && (await page.locator("progress:not([max])").count()); tries += 1) await page.waitForTimeout(500);
  await page.getByText(t("What I measured")).waitFor();
  await seen("line-measured");
  if (mode === "keyboard") {
    await reach(page.getByText(t("Send through a relay")));
    if (!(await page.locator("#relay").evaluate((one) => one.open))) await page.keyboard.press("Enter");
  } else if (!(await page.locator("#relay[open]").count())) await page.getByText(t("Send through a relay")).click();
  await fill("Server", "smtp.provider.test");
  await fill("Password", "secret");
  await button("Keep the relay");
  await page.locator("#user-wrong").waitFor();
  await seen("relay-wrong");
  await fill("User name", "anna");
  await fill("Password", "secret");
  await fill("What stands for it in SPF records", "include:_spf.provider.test");
  await button("Keep the relay");
  await page.getByText(t("Your relay: smtp.provider.test")).waitFor();
  await seen("relay");
  if (mode === "world") {
    // Here letters reach the world by themselves.
    if (!(await page.locator("#relay[open]").count())) await page.getByText(t("Your relay: smtp.provider.test")).click();
    await button("Use no relay");
    await page.getByText(t("Send through a relay")).waitFor();
  }
  await link("Go on");

  await heading("Your domain");
  await seen("domain");
  await fill("I have a domain", "not a domain");
  await button("Use this domain");
  await page.locator("#domain-wrong").waitFor();
  await seen("domain-wrong");
  await fill("I have a domain", "smith.test");
  await button("Use this domain");

  await heading("Records for smith.test");
  for (let tries = 0; tries < 180 && (await page.locator("progress:not([max])").count()); tries += 1) await page.waitForTimeout(500);
  await seen("records");
  if (mode === "world") {
    say("records");
    await told();
    await button("Check again");
    await seen("records-asked");
    await page.getByText(/^(\d+) of \1 records are right$/).waitFor();
    await seen("records-right");
  }
  if (provider) {
    await link("Write the records");
    await writes(hand, { server: "127.0.0.1", key: "home-key", secret: "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyB5ZXM=", provider });
    await heading("Records for smith.test");
    await seen("records-written");
  }
  await link("Go on");
  await heading("Certificate");
  await seen("certificate");
  await fill("Address for its letters", "anna@smith");
  await tick(`I accept the terms of ${authority}`);
  await button("Get the certificate");
  await page.locator("#contact-wrong").waitFor();
  await seen("certificate-wrong");
  await fill("Address for its letters", "anna@smith.test");
  await tick(`I accept the terms of ${authority}`);
  await button("Get the certificate");
  await seen("certificate-asked");
  await page.getByText(t("vouches for you.")).waitFor();
  await seen("certificate-done");
  await link("Go on");

  await heading("Your first letter");
  await seen("letter");
  say("letter", "anna@smith.test");
  await told();
  await page.getByText(t("A letter for you is here.")).waitFor();
  if (mode === "world") {
    await hand.text("What I saw of it");
    const rows = await page.locator("section", { hasText: "What I saw of it" }).locator("dt, dd").allTextContents();
    const right = ["Encryption", "✓ encrypted on its way", "Server (SPF)", "✓ the server may send for elsewhere.test",
                   "Signature (DKIM)", "… the letter is not signed", "Sender (DMARC)", "✓ really from elsewhere.test"];
    if (JSON.stringify(rows) !== JSON.stringify(right)) throw new Error(`what was seen of the letter: ${JSON.stringify(rows)}`);
  }
  await seen("letter-arrived");
  await link("Send a letter out");
  await heading("A letter out");
  await fill("Your address elsewhere", "anna@smith.test");
  await button("Send it");
  await page.locator("#to-wrong").waitFor();
  await seen("letter-out-wrong");
  if (mode === "world") {
    // To an address that there is, and to one that there is not.
    await fill("Your address elsewhere", "aunt@elsewhere.test");
    await button("Send it");
    await page.getByText("✓ taken by mail.elsewhere.test").waitFor();
    await page.getByText("It was encrypted on its way.").waitFor();
    await seen("letter-out");
    await link("Send another letter out");
    await fill("Your address elsewhere", "nobody@elsewhere.test");
    await button("Send it");
    await page.getByText("✕ refused by mail.elsewhere.test").waitFor();
    await page.getByText("There is no such address.").waitFor();
    await seen("letter-out-refused");
  } else {
    await fill("Your address elsewhere", "aunt@elsewhere.test");
    await button("Send it");
    await page.getByText("aunt@elsewhere.test").first().waitFor();
    await seen("letter-out");
  }
  await link("Go on");

  await heading("Your family");
  await seen("family");
  await fill("Name", "Ben Smith");
  await fill("Address", "ben");
  await button("Add");
  await heading("ben@smith.test has a letter box.");
  await seen("invited");
  const [address, phrase] = (await page.locator(".fields dd").allTextContents()).map((text) => text.replace(new RegExp(`${t("Copy")}$`), "").trim());
  say("phrase", address, phrase);
  await told();
  await link("Done");
  await heading("Your family");
  await seen("family-two");
  await link("Go on");

  await heading("Your devices");
  await page.getByText(t("a device has signed in")).waitFor();
  await seen("devices");
  await link("Go on");
  await heading(/Your mail works|Everything is ready/);
  await seen("done");
  await button("Finish");
  await heading("Done.");
  await seen("closed");
});
