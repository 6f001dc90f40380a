// The judging screens. They work without scripts too, by plain forms; the scripts make them quick.
import * as compare from "./compare.js";
import * as demonstrate from "./demonstrate.js";
import { pinIfWide } from "./guidelines.js";
import "./keys.js";
import "./lease.js";
import * as rank from "./rank.js";
import { registerScreens, startScreen } from "./screen.js";
import { start } from "./submit.js";
import "../sources.js";

const FETCH_NEXT_AFTER_MS = 200; // the page's own requests come first

registerScreens({ rank, compare, write: demonstrate, improve: demonstrate });
startScreen();
pinIfWide();
setTimeout(start, FETCH_NEXT_AFTER_MS);
