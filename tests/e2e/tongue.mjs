// The words of the pages in another language, by the same file of phrases: so that one walk goes through both.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const GAP = /\{[^}]*\}/g;
const name = (gap, at) => gap.slice(1, -1).split(":")[0] || ` ${at}`;
const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const read = (code) => {
  const file = join(dirname(fileURLToPath(import.meta.url)), `../../src/web/language/${code}.txt`);
  const lines = readFileSync(file, "utf8").split("\n").map((line) => line.trim())
    .filter((line) => line && !line.startsWith("#") && !line.startsWith("Language:"));
  return lines.flatMap((line, at) => (at % 2 ? [] : [[line, lines[at + 1]]]));
};

// What a page in that language says for these English words, whole or a part of a phrase (`part`: rather that).
export const speaker = (code) => {
  if (code === "en") return (words) => words;
  const fixed = (line) => line.replace(GAP, "").length;
  const pairs = read(code).sort(([one], [next]) => fixed(next) - fixed(one));
  const exact = new Map(pairs);
  // Of a part of a phrase its longest piece without gaps will do.
  const partly = (words) => {
    const whole = pairs.findLast(([english]) => english.includes(words));
    return whole && whole[1].split(GAP).map((piece) => piece.trim()).sort((one, next) => next.length - one.length)[0];
  };
  const find = (words, part) => {
    if (exact.has(words)) return exact.get(words);
    const piece = part && partly(words);
    if (piece) return piece;
    for (const [english, other] of pairs) {
      const gaps = english.match(GAP);
      if (!gaps) continue;
      const holes = gaps.map((gap) => (gap.endsWith(":number}") ? "([\\d.,]+)" : "(.+?)"));
      const found = words.match(new RegExp(`^${english.split(GAP).map((piece, at) => escape(piece) + (holes[at] ?? "")).join("")}$`));
      if (!found) continue;
      const within = (gap, words) => (gap.endsWith(":words}") && find(words)) || words;
      const filled = new Map(gaps.map((gap, at) => [name(gap, at), within(gap, found[at + 1])]));
      let at = -1;
      return other.replace(GAP, (gap) => { at += 1; return filled.get(name(gap, at)); });
    }
    return partly(words);
  };
  const say = (words, part = false) => {
    if (words instanceof RegExp) {
      // Numbers are some number, also in the other words.
      const turned = words.source.split("|").map((source) => {
        const [, start, inner, end] = source.match(/^(\^?)(.*?)(\$?)$/);
        const text = inner.replace(/\\d\+/g, "77").replace(/\\(.)/g, "$1");
        return start + escape(say(text)).replace(/77/g, "\\d+") + end;
      });
      return new RegExp(turned.join("|"));
    }
    const [, sign, rest] = words.match(/^([✓…→✕] )?(.*)$/s);
    const found = find(rest, part) ?? (() => { const small = find(rest.charAt(0).toLowerCase() + rest.slice(1), part); return small && capital(small); })();
    return (sign || "") + (found ?? rest);
  };
  return say;
};

// What on this page has no phrase, as the translator marks it.
export const untranslated = (page) => page.evaluate(() => {
  const open = [...document.querySelectorAll("[lang=en]:not([translate=no])")].map((one) => one.outerHTML.slice(0, 300));
  return document.documentElement.lang === "en" ? ["the whole page"] : open;
});
