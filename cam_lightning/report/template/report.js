"use strict";

// Theme: the system's, unless the reader chose one. A page opened from disk may have no storage.
const theme = document.querySelector("#theme");
const themes = ["auto", "light", "dark"];
const stored = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
                 set: (value) => { try { localStorage.setItem("theme", value); } catch { /* kept until reload */ } } };
function showTheme(name) {
  document.documentElement.style.colorScheme = name === "auto" ? "light dark" : name;
  theme.dataset.theme = name;
  theme.textContent = `theme: ${name}`;
}
theme.hidden = false;
showTheme(themes.includes(stored.get()) ? stored.get() : "auto");
theme.addEventListener("click", () => {
  const next = themes[(themes.indexOf(theme.dataset.theme) + 1) % themes.length];
  showTheme(next);
  stored.set(next);
});

const copy = document.querySelector("#copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(".command code").textContent);
    copy.textContent = "Copied";
  });
}

const list = document.querySelector(".cards");
const items = list ? [...list.children] : [];
const filters = document.querySelector("#filters");

if (filters) {
  filters.hidden = false;
  const facets = [...new Set([...filters.elements].map((e) => e.name))].filter((name) => name && name !== "order");

  const fits = (item, chosen, except) =>
    facets.every((facet) => facet === except || !chosen.get(facet) || item.dataset[facet] === chosen.get(facet));

  // Beside each choice stands how many pictures it would show, given all the other filters.
  function count(facet, value, chosen) {
    return items.filter((item) => fits(item, chosen, facet) && (!value || item.dataset[facet] === value)).length;
  }

  function update() {
    const chosen = new FormData(filters);
    for (const item of items) item.hidden = !fits(item, chosen);
    for (const input of filters.querySelectorAll("input")) {
      const number = count(input.name, input.value, chosen);
      input.parentElement.querySelector("small").textContent = number;
      input.parentElement.classList.toggle("empty", number === 0);
    }
    for (const option of filters.elements.class.options) {
      option.textContent = `${option.value || "all"} (${count("class", option.value, chosen)})`;
    }
    const shown = items.filter((item) => !item.hidden).length;
    document.querySelector("#shown").textContent = `${shown} of ${items.length} pictures`;
    document.querySelector("#none").hidden = shown > 0;
  }

  function order() {
    const by = filters.elements.order.value;
    const sign = by === "probability" ? -1 : 1;
    // What has no such number comes last.
    const rank = (item) => (item.dataset[by] ? sign * Number(item.dataset[by]) : Infinity);
    const before = (a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : a.dataset.position - b.dataset.position);
    list.append(...[...items].sort(before));
  }

  filters.addEventListener("change", (event) => (event.target.name === "order" ? order() : update()));
  filters.addEventListener("reset", () => setTimeout(() => { update(); order(); }));
  filters.addEventListener("submit", (event) => event.preventDefault());
  // A browser that goes back to the page restores the filters, not what they hid.
  addEventListener("pageshow", () => { update(); order(); });
  update();
}

const large = document.querySelector("#large");
let current = null;
let panel = 0;

// Of a photo under several maps one panel is shown, and the same one of the pictures before and after.
function enlarge(item, at) {
  const pictures = [...item.querySelectorAll("img")];
  const picture = pictures[at] ?? pictures[0];
  [current, panel] = [item, at];
  const image = large.querySelector("img");
  image.src = picture.src;
  image.alt = picture.alt;
  const text = large.querySelector(".text");
  text.replaceChildren(item.querySelector("template").content.cloneNode(true));
  const caption = [...picture.parentElement.querySelectorAll(".panel > span")].map((part) => part.textContent).join(" ");
  if (caption) text.querySelector("h3").after(Object.assign(document.createElement("p"), { textContent: caption }));
  if (!large.open) large.showModal();
}

function step(by) {
  const visible = [...list.children].filter((item) => !item.hidden);
  enlarge(visible[(visible.indexOf(current) + by + visible.length) % visible.length], panel);
}

list?.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (!card) return;
  const clicked = event.target.closest(".panel");
  enlarge(card.parentElement, clicked ? [...clicked.parentElement.children].indexOf(clicked) : 0);
});
large?.addEventListener("click", (event) => {
  if (event.target === large || "close" in event.target.dataset) large.close();
  else if (event.target.dataset.step) step(Number(event.target.dataset.step));
});
large?.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") step(1);
  else if (event.key === "ArrowLeft") step(-1);
});
large?.addEventListener("close", () => current?.querySelector("button").focus());
