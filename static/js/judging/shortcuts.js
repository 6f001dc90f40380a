// What a press of a key stands for: a command, an answer, a digit. The server puts the account's keys into the list of keys.
import { answerByLetter, work } from "./dom.js";

const list = document.getElementById("keys");
const commands = new Map(Object.entries(JSON.parse(list.dataset.keys)));

export const areOff = "off" in list.dataset;
export const keyOf = (command) => [...commands].find(([, name]) => name === command)[0];

// A letter of another alphabet also counts as the Latin letter at its place: the keys of a Russian keyboard have both.
function candidates({ key, code }) {
  const upper = key.toUpperCase();
  const isOtherAlphabet = /^\p{L}$/u.test(key) && !/\p{Script=Latin}/u.test(key);
  return [upper.length === 1 ? upper : key, isOtherAlphabet && /^Key[A-Z]$/.test(code) ? code.at(-1) : ""];
}

const isShiftedLetter = (event) => event.shiftKey && /^\p{L}$/u.test(event.key);

export function commandOf(event) {
  if (isShiftedLetter(event)) return undefined;
  return candidates(event).map((key) => commands.get(key)).find(Boolean);
}

export function answerOf(event) {
  return isShiftedLetter(event) ? null : candidates(event).map(answerByLetter).find(Boolean);
}

// Shift with a digit, where the project asks for ratings; 0 is 10. By the key's place: with Shift it types a sign, or, on a
// French keyboard, the digit.
export function ratingOf(event) {
  const digit = event.shiftKey && /^Digit([0-9])$/.exec(event.code)?.[1];
  return digit && work().querySelector(".rating.quality") ? String(Number(digit) || 10) : null;
}

// A digit of the top row, also where it takes Shift to type one, or of the numeric pad; null for another key.
export function digitOf(event) {
  if (ratingOf(event)) return null;
  if (/^[0-9]$/.test(event.key)) return Number(event.key);
  return !event.shiftKey && /^Digit[0-9]$/.test(event.code) ? Number(event.code.at(-1)) : null;
}
