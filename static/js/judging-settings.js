// The fields of the judging keys: a press replaces the key, so that nothing has to be deleted first.
const fields = document.querySelector(".key-fields");

fields.addEventListener("keydown", (event) => {
  if (event.key.length !== 1 || event.key === " " || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const key = event.key.toUpperCase();
  event.target.value = key.length === 1 ? key : event.key;
});
fields.addEventListener("focusin", (event) => event.target.select());
