"use strict";

// A table of many rows: some of them at a time, in an order, and how many there are. All that
// comes from the data is set as text.

const PAGE = 50;
const ENDLESS = 1e300;
const data = JSON.parse(byId("data").textContent);
const collator = new Intl.Collator(undefined, { numeric: true });

const make = (name, attributes, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const fixed = (value, digits) => {
  if (value === null) return "–";
  if (Math.abs(value) >= ENDLESS) return value < 0 ? "−∞" : "∞";
  return value.toFixed(digits).replace("-", "−");
};

const counted = (value) => value.toLocaleString("en");
const labelClass = (label) => (label < 0 ? "none" : `l${label % 12}`);

const labelTag = (label, missing) =>
  make(
    "span",
    { class: "tag" },
    make("span", { class: `swatch ${labelClass(label)}`, "aria-hidden": "true" }),
    make("bdi", {}, label < 0 ? missing : data.labels[label]),
  );

// What is left of an item's text, and how long all of it is where that is more.
const textOf = (item, most = Infinity) => {
  const whole = data.cut[item];
  const text = data.texts[item];
  if (whole === undefined && text.length <= most) return make("bdi", { dir: "auto" }, text);
  const shown = text.length > most ? text.slice(0, most) : text;
  const parts = [make("bdi", { dir: "auto" }, `${shown}…`)];
  if (whole !== undefined) {
    parts.push(make("span", { class: "quiet" }, ` (${counted(whole)} characters)`));
  }
  return make("span", {}, ...parts);
};

const compare = (a, b) => (typeof a === "string" ? collator.compare(a, b) : a - b);

// Items with no value come last, whichever way the others are sorted.
const sorted = (items, value, down) => {
  const known = items.filter((item) => value(item) !== null);
  const unknown = items.filter((item) => value(item) === null);
  const sign = down ? -1 : 1;
  known.sort((a, b) => sign * compare(value(a), value(b)) || a - b);
  return known.concat(unknown);
};

const haystacks = [];
const contains = (item, wanted) => {
  haystacks[item] ??= `${data.ids[item]}\n${data.texts[item]}\n${
    data.group && data.group[item] >= 0 ? data.groupNames[data.group[item]] : ""
  }`.toLowerCase();
  return haystacks[item].includes(wanted);
};

// columns: {title, value(item), cell(item) → Node or text, numeric, first} where `first` is the
// direction of the first click. passes: item → whether it is shown.
class ItemTable {
  constructor(columns, passes) {
    this.columns = columns;
    this.passes = passes;
    this.total = data.ids.length;
    this.by = null;
    this.down = false;
    this.page = 0;
    this.body = byId("rows");
    this.heads = columns.map((column, number) => this.head(column, number));
    byId("heads").append(...this.heads);
    const sorts = byId("sort");
    columns.forEach((column, number) => {
      if (!column.value) return;
      const ways = column.first === "descending" ? ["descending", "ascending"] : ["ascending", "descending"];
      for (const way of ways) {
        sorts.append(make("option", { value: `${number} ${way}` }, `${column.title}, ${way}`));
      }
    });
    sorts.addEventListener("change", () => {
      const [number, way] = sorts.value.split(" ");
      this.sort(number === "" ? null : Number(number), way === "descending");
    });
    byId("back").addEventListener("click", () => this.turn(-1));
    byId("on").addEventListener("click", () => this.turn(1));
  }

  head(column, number) {
    const attributes = { scope: "col", role: "columnheader", class: column.numeric ? "n" : "" };
    if (!column.value) {
      const title = make("span", { class: "hidden" }, column.title);
      return make("th", attributes, title);
    }
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      const first = column.first === "descending";
      this.sort(number, this.by === number ? !this.down : first);
    });
    return make("th", { ...attributes, "aria-sort": "none" }, button);
  }

  sort(number, down) {
    this.by = number;
    this.down = down;
    this.heads.forEach((head, place) => {
      if (!this.columns[place].value) return;
      const way = down ? "descending" : "ascending";
      head.setAttribute("aria-sort", place === number ? way : "none");
    });
    byId("sort").value = number === null ? "" : `${number} ${down ? "descending" : "ascending"}`;
    this.show();
  }

  turn(pages) {
    this.page += pages;
    this.render();
    byId("items-title").scrollIntoView({ block: "start" });
  }

  show() {
    const all = Array.from({ length: this.total }, (_, item) => item);
    const shown = all.filter(this.passes);
    const column = this.columns[this.by];
    this.items = column ? sorted(shown, column.value, this.down) : shown;
    this.page = 0;
    this.render();
  }

  render() {
    const pages = Math.max(1, Math.ceil(this.items.length / PAGE));
    const begin = this.page * PAGE;
    const here = this.items.slice(begin, begin + PAGE);
    this.body.replaceChildren(...here.map((item) => this.row(item)));
    const of = this.items.length === this.total ? "" : ` of ${counted(this.total)}`;
    byId("shown").textContent =
      here.length === 0
        ? `No item${of} is like this.`
        : `${counted(this.items.length)}${of} items; ${counted(begin + 1)} to ${counted(begin + here.length)} shown.`;
    byId("pages").textContent = `Page ${counted(this.page + 1)} of ${counted(pages)}`;
    byId("back").disabled = this.page === 0;
    byId("on").disabled = this.page >= pages - 1;
  }

  row(item) {
    const cells = this.columns.map((column) =>
      make(
        "td",
        { role: "cell", class: `${column.numeric ? "n " : ""}${column.css ?? ""}`, "data-label": column.title },
        column.cell(item),
      ),
    );
    return make("tr", { role: "row" }, ...cells);
  }
}
