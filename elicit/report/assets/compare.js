"use strict";

// The items of two or more runs: those that differ first.

const given = data.ids.map((_, item) => data.found.map((run) => run[item]).filter((l) => l >= 0));
const kinds = given.map((labels) => new Set(labels).size);
const differs = (item) => kinds[item] > 1;
const compared = (item) => {
  if (differs(item)) return make("span", { class: "against" }, "differ");
  return given[item].length > 1 ? "agree" : "–";
};

const differing = byId("differing");
const search = byId("search");
let wanted = "";

const table = new ItemTable(
  [
    { title: "Id", css: "id", value: (item) => data.ids[item], cell: (item) => make("bdi", {}, data.ids[item]) },
    { title: "Text", css: "text", value: (item) => data.texts[item], cell: (item) => textOf(item, 300) },
    {
      title: "Labels",
      first: "descending",
      value: (item) => (given[item].length > 1 ? kinds[item] : null),
      cell: compared,
    },
    ...data.runs.map((name, run) => ({
      title: name,
      value: (item) => (data.found[run][item] < 0 ? null : data.found[run][item]),
      cell: (item) => labelTag(data.found[run][item], "–"),
    })),
  ],
  (item) => (!differing.checked || differs(item)) && (wanted === "" || contains(item, wanted)),
);

byId("differing-count").textContent = counted(data.ids.filter((_, item) => differs(item)).length);
differing.checked = false;
differing.addEventListener("change", () => table.show());
search.addEventListener("input", () => {
  wanted = search.value.trim().toLowerCase();
  table.show();
});
byId("clear").addEventListener("click", () => {
  differing.checked = false;
  search.value = wanted = "";
  table.sort(2, true);
});
byId("items-tool").hidden = false;
byId("no-script").hidden = true;
table.sort(2, true);
