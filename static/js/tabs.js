// On a narrow screen the tabs scroll: bring the page's own into view.
"use strict";

const hereTab = document.querySelector(".tabs [aria-current]");
if (hereTab) hereTab.parentElement.scrollLeft = hereTab.offsetLeft - (hereTab.parentElement.clientWidth - hereTab.offsetWidth) / 2;
