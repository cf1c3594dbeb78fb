// What HTML cannot say. First: "/" goes to the search, from anywhere but a field.
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

// An open page that gets no answer says so, until it gets one again.
function away(says) {
  const told = document.getElementById("away");
  if (told && told.textContent !== says) told.textContent = says;
}
document.addEventListener("htmx:error", () => away("The registry does not answer; this is what it said last."));
document.addEventListener("htmx:before:response", (event) => {
  if (event.detail.ctx.response.raw.status < 500) away("");
  else away("The registry cannot answer now; this is what it said last.");
});
