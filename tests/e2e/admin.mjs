// Walks the administration in a real browser. Driven by admin.py, with which it talks in lines: `step NAME` when a page was
// looked at, `person ADDRESS PHRASE` when somebody chose a pass phrase, `token TOKEN` when one was made; a line on standard
// input says "go on".
//
// usage: node admin.mjs MODE URL ADDRESS PHRASE SHOTS      MODE: desktop, phone, keyboard, plain (without JavaScript)
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";
import { createInterface } from "node:readline";

const require = createRequire(process.env.BROWSER_MODULES + "/");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [mode, url, address, phrase, shots] = process.argv.slice(2);
const WAIT = 60_000;
const script = mode !== "plain";
const NAME = `Carol of the ${mode}`;
const CHOSEN = "moss fern and river stone";
mkdirSync(shots, { recursive: true });

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (...words) => console.log(words.join(" "));
const told = async () => (await input.next()).value;
const check = (holds, words) => { if (!holds) throw new Error(words); };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    `--host-resolver-rules=MAP ${new URL(url).hostname} 127.0.0.1`],
});
const elsewhere = [];
const broken = [];
const person = async () => {
  const context = await browser.newContext({
    viewport: mode === "phone" ? { width: 390, height: 844 } : { width: 1200, height: 860 },
    deviceScaleFactor: mode === "phone" ? 2 : 1,
    isMobile: mode === "phone",
    hasTouch: mode === "phone",
    colorScheme: mode === "phone" ? "dark" : "light",
    javaScriptEnabled: script,
    ignoreHTTPSErrors: true,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.on("request", (request) => { if (new URL(request.url()).host !== new URL(url).host) elsewhere.push(request.url()); });
  page.on("pageerror", (error) => broken.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error" && !/ 4(03|04|22) | 503 /.test(message.text())) broken.push(message.text()); });
  return page;
};

let page = await person();
let number = 0;
const seen = async (name) => {
  // It looks as with the mouse.
  if (mode === "keyboard") return say("step", name);
  number += 1;
  await page.screenshot({ path: `${shots}/${String(number).padStart(2, "0")}-${name}.png`, fullPage: true });
  if (script) {
    const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(width <= 0, `${name}: the page is ${width} pixels too wide`);
    check((await page.evaluate(() => document.scripts.length)) === 0, `${name} has a script`);
    const found = await page.evaluate(async (source) => {
      (0, eval)(source);
      const result = await window.axe.run(document, { resultTypes: ["violations"] });
      return result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
    }, axe);
    check(found.length === 0, `${name}: axe: ${found.join("; ")}`);
  }
  say("step", name);
};

// ---- by mouse and finger, or by keyboard alone

// Tab until the element is focused: whoever has no mouse has no other way.
const reach = async (target) => {
  const handle = await target.elementHandle();
  for (let tries = 0; tries < 150; tries += 1) {
    if (await handle.evaluate((one) => one === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`the keyboard does not reach ${target}`);
};
const fill = async (label, text) => {
  const field = page.getByLabel(label, { exact: true });
  if (mode !== "keyboard") return field.fill(text);
  await reach(field);
  await page.keyboard.press("Control+A");
  await page.keyboard.type(text);
};
const press = async (role, name, where = "#main") => {
  const target = page.locator(where).getByRole(role, { name, exact: true });
  const went = page.waitForEvent("framenavigated");
  if (mode === "keyboard") {
    await reach(target);
    await Promise.all([went, page.keyboard.press("Enter")]);
  } else {
    await Promise.all([went, target.click()]);
  }
  await page.waitForLoadState("domcontentloaded");
};
const button = (name) => press("button", name);
const link = (name) => press("link", name);
const tab = (name) => press("link", name, ".tabs");
const heading = (words) => page.getByRole("heading", { level: 1, name: words, exact: typeof words === "string" }).waitFor();
const text = (words) => page.getByText(words).first().waitFor();
const secret = async () => (await page.locator(".secret").textContent()).trim();

const signIn = async (who, opens) => {
  await fill("Your address", who);
  await fill("Your pass phrase", opens);
  await button("Sign in");
};

try {
  await page.goto(url);
  await heading("Sign in");
  await seen("sign-in");
  await signIn(address, "not that one");
  await page.locator("#phrase-wrong").waitFor();
  check((await page.getByLabel("Your address").inputValue()) === address, "what was typed is gone");
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
  await page.locator(".alarm").waitFor();
  check((await page.getByLabel("Name", { exact: true }).inputValue()) === NAME, "what was typed is gone");
  await seen("people-wrong");
  await fill("Address", local);
  await fill("Room, in megabytes", "750");
  await button("Invite");
  await heading(`${local}@example.test has a letter box.`);
  await seen("invited");
  const invitation = await secret();

  // The person, in another browser.
  const admin = page;
  page = await person();
  await page.goto(invitation);
  await heading(`Welcome, ${NAME}.`);
  await seen("invitation");
  await fill("Pass phrase", "password");
  await fill("The same once more", "password");
  await button("Go on");
  await page.locator("#phrase-wrong").waitFor();
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
  check((await page.locator(".tabs a").count()) === 2, "an ordinary person sees other pages");
  await page.goto(new URL("/admin/people", url).href);
  await heading("This is for administrators.");
  await seen("not-yours");
  await page.goto(new URL("/me", url).href);
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
  await page.goto(invitation);
  await heading("This link opens nothing.");
  await seen("link-used");
  const carol = page;
  page = admin;

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
  page = carol;
  await page.goto(new URL("/me", url).href);
  await heading("Sign in");
  page = admin;
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
  await page.locator(".alarm").waitFor();

  await tab("Aliases");
  await heading("Aliases");
  await fill("Alias", `info-${mode}@example.test`);
  await page.getByLabel("Goes to").fill(`nobody@example.test`);
  await button("Make it");
  await page.locator(".alarm").waitFor();
  await seen("aliases-wrong");
  await page.getByLabel("Goes to").fill(`ben@example.test\n${local}@example.test`);
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
  await page.locator(".alarm").waitFor();
  await text("Cannot ask");
  await seen("domain-cannot-ask");
  await tab("Domains");
  await button(`Take away example.test`);
  await page.locator(".alarm").waitFor();
  await button(`Take away ${mode}.test`);
  await heading("Domains");
  await seen("domains");

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
  await seen("queue");

  await tab("Programs");
  await heading("Programs");
  await fill("What is it for?", `backup-${mode}`);
  await page.getByLabel("It may").selectOption("all");
  await button("Make it");
  await heading(`The token "backup-${mode}" is made.`);
  await seen("token");
  say("token", await secret());
  await told();
  await link("Done");
  await seen("programs");
  await button(`Revoke backup-${mode}`);
  await heading("Programs");
  check(!(await page.locator("#main").textContent()).includes(`backup-${mode}`), "the token is there still");

  await tab("You");
  await heading("You");
  await press("button", "Sign out", "header");
  await heading("Sign in");
  await page.goto(new URL("/admin", url).href);
  await heading("Sign in");

  check(elsewhere.length === 0, `asked for something elsewhere: ${elsewhere}`);
  check(broken.length === 0, `errors in the page: ${broken}`);
  say("walked");
} catch (error) {
  await page.screenshot({ path: `${shots}/failed.png`, fullPage: true }).catch(() => {});
  say("failed", String(error.stack || error).replace(/\n/g, " ⏎ "));
  process.exitCode = 1;
} finally {
  await browser.close();
  // Standard input would keep the process.
  process.stdin.destroy();
}
