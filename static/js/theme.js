// Runs before the page is painted, so that a chosen theme never flashes. Without a choice, the system's theme holds.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
