"use strict";

// The items of a run: columns, filters and what can be looked up of each.

// A filter that keeps the most of something keeps a tenth of the items, and 20 at least.
const MOST = Math.max(20, Math.ceil(data.ids.length / 10));
const missing = data.done ? "abstained" : "none yet";
const inconsistent = new Set(data.inconsistent);
const items = data.ids.map((_, item) => item);
const flipped = (item) => data.flips[item] ?? 0;
const isWrong = (item) =>
  data.gold[item] >= 0 && data.label[item] >= 0 && data.gold[item] !== data.label[item];

const first = (from, value, down) => new Set(sorted(from, value, down).slice(0, MOST));
const filters = {
  uncertain: first(items.filter((item) => data.odds[item] !== null), (item) => data.odds[item], false),
  flipped: first(items.filter((item) => flipped(item) > 0), flipped, true),
  inconsistent,
  wrong: new Set(items.filter(isWrong)),
  abstained: new Set(items.filter((item) => data.label[item] < 0)),
};

const groupOf = (item) => (data.group[item] < 0 ? null : data.groupNames[data.group[item]]);
const votesFor = (item) =>
  data.votes[item]
    .map((votes, label) => [votes, label])
    .filter(([votes]) => votes > 0)
    .sort(([a], [b]) => b - a);
const mostVotes = (item) => Math.max(0, ...data.votes[item]);

const votesTold = (item) => {
  const votes = votesFor(item);
  if (votes.length === 0) return "–";
  const parts = votes.map(([count, label]) =>
    make("span", { class: "vote" }, `${count} `, labelTag(label, "")),
  );
  return make("span", {}, ...parts);
};

const marked = (tag, why) => make("span", {}, tag, " ", make("span", { class: "against" }, why));

const goldTold = (item) => {
  if (data.gold[item] < 0) return "–";
  const tag = labelTag(data.gold[item], "–");
  return isWrong(item) ? marked(tag, "differs") : tag;
};

const labelTold = (item) => {
  const tag = labelTag(data.label[item], missing);
  return inconsistent.has(item) ? marked(tag, "inconsistent") : tag;
};

const promptButton = (item) => {
  const button = make("button", { type: "button", class: "small" }, "Prompt");
  button.append(make("span", { class: "hidden" }, ` of ${data.ids[item]}`));
  const fact = (name, value) => [make("dt", {}, name), make("dd", {}, value)];
  button.addEventListener("click", () =>
    openPrompt(item, [
      ...fact("Label", labelTold(item)),
      ...fact("Probability", fixed(data.probability[item], 3)),
      ...(data.hasGold ? fact("Gold", goldTold(item)) : []),
      ...fact("Votes", votesTold(item)),
    ]),
  );
  return button;
};

const columns = [
  { title: "Id", css: "id", value: (item) => data.ids[item], cell: (item) => make("bdi", {}, data.ids[item]) },
  { title: "Text", css: "text", value: (item) => data.texts[item], cell: (item) => textOf(item, 300) },
  {
    title: "Label",
    value: (item) => (data.label[item] < 0 ? null : data.label[item]),
    cell: labelTold,
  },
  {
    title: "Probability",
    numeric: true,
    value: (item) => data.probability[item],
    cell: (item) => fixed(data.probability[item], 3),
  },
  {
    title: "Log-odds",
    numeric: true,
    value: (item) => data.odds[item],
    cell: (item) => fixed(data.odds[item], 2),
  },
  {
    title: "Flips",
    numeric: true,
    first: "descending",
    value: (item) => data.flips[item],
    cell: (item) => (data.flips[item] === null ? "–" : counted(data.flips[item])),
  },
  { title: "Votes", value: mostVotes, first: "descending", cell: votesTold },
];
if (data.groupNames.length > 0) {
  columns.push({
    title: "Group",
    css: "group",
    value: groupOf,
    cell: (item) => make("bdi", {}, groupOf(item) ?? "–"),
  });
}
if (data.hasGold) {
  columns.push({
    title: "Gold",
    value: (item) => (data.gold[item] < 0 ? null : data.gold[item]),
    cell: goldTold,
  });
}
columns.push({ title: "Prompt", css: "act", value: null, cell: promptButton });

const search = byId("search");
const label = byId("label");
const boxes = [...document.querySelectorAll("[data-filter]")];
let wanted = "";

const table = new ItemTable(
  columns,
  (item) =>
    boxes.every((box) => !box.checked || filters[box.dataset.filter].has(item)) &&
    (label.value === "" || data.label[item] === Number(label.value)) &&
    (wanted === "" || contains(item, wanted)),
);

for (const box of boxes) {
  const found = filters[box.dataset.filter];
  byId(`${box.id}-count`).textContent = counted(found.size);
  box.disabled = found.size === 0;
  box.checked = false;
  box.addEventListener("change", () => {
    const place = box.checked && box.dataset.sorts;
    const number = place ? columns.findIndex((column) => column.title === place) : -1;
    if (number >= 0) table.sort(number, columns[number].first === "descending");
    else table.show();
  });
}
data.labels.forEach((name, number) => label.append(make("option", { value: number }, name)));
label.addEventListener("change", () => table.show());
search.addEventListener("input", () => {
  wanted = search.value.trim().toLowerCase();
  table.show();
});
byId("clear").addEventListener("click", () => {
  for (const box of boxes) box.checked = false;
  search.value = wanted = label.value = "";
  table.sort(null, false);
});
byId("items-tool").hidden = false;
byId("no-script").hidden = true;
table.show();
