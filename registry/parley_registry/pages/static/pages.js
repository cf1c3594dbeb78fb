// What HTML cannot say: "/" goes to the search, from anywhere but a field.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  event.preventDefault();
  const search = document.getElementById("text");
  if (search) {
    search.focus();
    search.select();
  } else {
    location.assign("/#text");
  }
});

// A list that was left by "/" elsewhere, and an address that names the search, begin in the search.
if (location.hash === "#text") document.getElementById("text")?.focus();
