"use strict";

// What every page has: the theme, buttons that copy, and loading itself again.

const byId = (id) => document.getElementById(id);

// Storage is refused to local files by some browsers; a choice then lasts as long as the page.
const remembered = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch (error) {
      console.info("not remembered:", error.name);
    }
  },
};

const THEME = "elicit-theme";
const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const chosen = remembered.get(THEME);
if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

const copied = async (text, from) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard for this page: select the text, so that the reader's own keys copy it.
    getSelection().selectAllChildren(from);
    return false;
  }
};

const setUpTheme = () => {
  const button = byId("theme");
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered.set(THEME, root.dataset.theme);
    show();
  });
  systemDark.addEventListener("change", show);
  show();
};

const setUpCopying = () => {
  for (const button of document.querySelectorAll("[data-copies]")) {
    const from = byId(button.dataset.copies);
    const said = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.textContent = (await copied(from.textContent, from)) ? "Copied" : "Selected";
      setTimeout(() => {
        button.textContent = said;
      }, 2000);
    });
  }
};

const setUpReloading = () => {
  const bar = byId("going-on");
  if (!bar) return;
  const button = byId("pause");
  let paused = false;
  const pause = (value) => {
    paused = value;
    button.textContent = paused ? "Go on reloading" : "Stop reloading";
  };
  button.hidden = false;
  button.addEventListener("click", () => pause(!paused));
  // Who looks at items doesn't want them taken away.
  for (const act of ["pointerdown", "keydown"]) {
    byId("items").addEventListener(act, () => pause(true));
  }
  setInterval(() => {
    if (!paused) location.reload();
  }, 1000 * Number(bar.dataset.seconds));
};

document.addEventListener("DOMContentLoaded", () => {
  setUpTheme();
  setUpCopying();
  setUpReloading();
});
