// Choosing two versions opens what changed between them.

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-version]")) return;
  const [older, newer] = ["older", "newer"].map((name) => document.querySelector(`[data-version="${name}"]`).value);
  location.pathname = location.pathname.replace(/\d+\/\d+\/$/, `${older}/${newer}/`);
});
