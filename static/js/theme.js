// A classic script that blocks: it runs before the page is painted, so that a chosen theme never flashes.
// Without a choice, the system's theme applies.
{
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
}
