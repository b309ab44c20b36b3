// What every walk through pages in a real browser needs: one of five ways to use it, a look at each page, and hands.
//
// MODE: desktop, phone, german (a phone whose browser asks for German), keyboard (nothing but keys), plain (without JavaScript);
// any other is a desktop. What is asked for in English is looked for as the page has it.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { speaker, untranslated } from "./tongue.mjs";

const require = createRequire(process.env.BROWSER_MODULES + "/");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// With who drives the walk, in lines: what is seen, and whether to go on.
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const say = (...words) => console.log(words.join(" "));
export const told = async () => (await input.next()).value;
export const check = (holds, words) => { if (!holds) throw new Error(words); };

// `scripts`: how many a page may have. `args` for the browser, `context` for whoever sits before it.
export const begin = async ({ mode, url, shots, scripts = null, wait = 90_000, args = [], context = {} }) => {
  mkdirSync(shots, { recursive: true });
  const script = mode !== "plain";
  const small = mode === "phone" || mode === "german";
  const t = speaker(mode === "german" ? "de" : "en");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...args],
  });
  const elsewhere = [];
  const broken = [];
  // Another person, with a browser of her own.
  const person = async () => {
    const own = await browser.newContext({
      viewport: small ? { width: 390, height: 844 } : { width: 1200, height: 860 },
      deviceScaleFactor: small ? 2 : 1,
      isMobile: small,
      hasTouch: small,
      colorScheme: mode === "phone" ? "dark" : "light",
      javaScriptEnabled: script,
      ignoreHTTPSErrors: true,
      locale: mode === "german" ? "de-DE" : "en-DE",
      ...context,
    });
    const page = await own.newPage();
    page.setDefaultTimeout(wait);
    page.on("request", (request) => { if (new URL(request.url()).host !== new URL(url).host) elsewhere.push(request.url()); });
    page.on("pageerror", (error) => broken.push(String(error)));
    page.on("console", (message) => { if (message.type() === "error" && !/ 4(03|04|22) | 503 /.test(message.text())) broken.push(message.text()); });
    return page;
  };

  const hand = { mode, t, script, browser, person, page: await person() };
  let number = 0;
  const open = new Set();
  // Looks at the page that is there: a picture, no wider than the screen, nothing that axe finds.
  hand.seen = async (name) => {
    // It looks as with the mouse.
    if (mode === "keyboard") return say("step", name);
    number += 1;
    await hand.page.screenshot({ path: `${shots}/${String(number).padStart(2, "0")}-${name}.png`, fullPage: true });
    if (script) {
      const width = await hand.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(width <= 0, `${name}: the page is ${width} pixels too wide`);
      if (scripts !== null) check((await hand.page.evaluate(() => document.scripts.length)) === scripts, `${name} has a script`);
      const found = await hand.page.evaluate(async (source) => {
        (0, eval)(source);
        const result = await window.axe.run(document, { resultTypes: ["violations"] });
        return result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
      }, axe);
      check(found.length === 0, `${name}: axe: ${found.join("; ")}`);
    }
    if (mode === "german") for (const one of await untranslated(hand.page)) open.add(`${name}: ${one}`);
    say("step", name);
  };

  // ---- by mouse and finger, or by keyboard alone

  // Tab until the element is focused: whoever has no mouse has no other way.
  hand.reach = async (target) => {
    const handle = await target.elementHandle();
    for (let tries = 0; tries < 150; tries += 1) {
      if (await handle.evaluate((one) => one === document.activeElement)) return;
      await hand.page.keyboard.press("Tab");
    }
    throw new Error(`the keyboard does not reach ${target}`);
  };
  hand.fill = async (label, text) => {
    const field = hand.page.getByLabel(t(label), { exact: true });
    if (mode !== "keyboard") return field.fill(text);
    await hand.reach(field);
    await hand.page.keyboard.press("Control+A");
    await (text ? hand.page.keyboard.type(text) : hand.page.keyboard.press("Delete"));
  };
  hand.tick = async (label) => {
    const box = typeof label === "string" ? hand.page.getByLabel(t(label), { exact: true }) : label;
    if (mode !== "keyboard") return box.check();
    await hand.reach(box);
    if (!(await box.isChecked())) await hand.page.keyboard.press("Space");
  };
  hand.choose = async (label, value) => {
    const list = hand.page.getByLabel(t(label), { exact: true });
    if (mode !== "keyboard") return list.selectOption(value);
    await hand.reach(list);
    await hand.page.keyboard.press("Home");
    for (let tries = 0; tries < 40 && (await list.inputValue()) !== value; tries += 1) await hand.page.keyboard.press("ArrowDown");
    check((await list.inputValue()) === value, `${value} is not in the list`);
  };
  // A part of the page that is folded away.
  hand.unfold = async (words) => {
    const summary = hand.page.locator("#main summary").filter({ hasText: t(words) });
    if (await summary.evaluate((one) => one.parentElement.open)) return;
    if (mode !== "keyboard") return summary.click();
    await hand.reach(summary);
    await hand.page.keyboard.press("Enter");
  };
  hand.press = async (role, name, where = "#main") => {
    const target = hand.page.locator(where).getByRole(role, { name: t(name), exact: true });
    const went = hand.page.waitForEvent("framenavigated");
    if (mode === "keyboard") {
      await hand.reach(target);
      await Promise.all([went, hand.page.keyboard.press("Enter")]);
    } else {
      await Promise.all([went, target.click()]);
    }
    await hand.page.waitForLoadState("domcontentloaded");
  };
  hand.button = (name) => hand.press("button", name);
  hand.link = (name) => hand.press("link", name);
  hand.heading = (words) => hand.page.getByRole("heading", { level: 1, name: t(words), exact: typeof words === "string" }).waitFor();
  hand.text = (words) => hand.page.getByText(t(words, true)).first().waitFor();

  // Does the work, says how it ended, and closes the browser.
  hand.walk = async (work) => {
    try {
      await work();
      check(open.size === 0, `no phrase for:\n${[...open].join("\n")}`);
      check(elsewhere.length === 0, `asked for something elsewhere: ${elsewhere}`);
      check(broken.length === 0, `errors in the page: ${broken}`);
      say("walked");
    } catch (error) {
      await hand.page.screenshot({ path: `${shots}/failed.png`, fullPage: true }).catch(() => {});
      say("failed", String(error.stack || error).replace(/\n/g, " ⏎ "));
      process.exitCode = 1;
    } finally {
      await browser.close();
      // Standard input would keep the process.
      process.stdin.destroy();
    }
  };
  return hand;
};
