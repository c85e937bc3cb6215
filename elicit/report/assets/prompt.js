"use strict";

// The prompts of an item, put together of the pieces that they share.

const unpacked = ({ bytes, data: packed }) => {
  const raw = Uint8Array.from(atob(packed), (sign) => sign.charCodeAt(0));
  return Array.from(bytes === 2 ? new Uint16Array(raw.buffer) : new Uint32Array(raw.buffer));
};

const slices = (values, lengths) => {
  let end = 0;
  return lengths.map((length) => values.slice(end, (end += length)));
};

let pieces = null;
const unpackedPrompts = () => {
  if (pieces === null && data.prompts) {
    const found = data.prompts;
    pieces = {
      sequences: slices(unpacked(found.order), unpacked(found.lengths)),
      contexts: slices(unpacked(found.contexts), unpacked(found.contexts).map(() => 3)),
      ofItem: slices(unpacked(found.asked), unpacked(found.times)),
    };
  }
  return pieces;
};

const lengthOf = (text) => [...text].length;
const cutText = (item) => data.texts[item] + (data.cut[item] === undefined ? "" : "…");
const charactersOf = (item) => data.cut[item] ?? lengthOf(data.texts[item]);

// {turns: [{role, text}], characters, cut}: what the model was asked of an item in a context.
const promptOf = (item, context) => {
  const { writing, verbalizers, separator, labels } = data.prompts;
  const [sequence, upto, without] = unpackedPrompts().contexts[context];
  const shown = unpackedPrompts().sequences[sequence].slice(0, upto);
  const demonstrations = shown.filter((other) => other !== without - 1);
  const opening = data.prompts.opening;
  const turns = [];
  let characters = data.prompts.openingCharacters;
  let cut = lengthOf(opening) < characters ? 1 : 0;
  const say = (role, text) => turns.push({ role, text });
  if (opening) say(writing === "text" ? "" : "system", opening);
  const before = [];
  const end = writing === "turns" ? "" : separator;
  for (const other of demonstrations) {
    const answer = verbalizers[labels[other]] ?? "";
    characters += charactersOf(other) + lengthOf(answer) + lengthOf(end);
    cut += data.cut[other] === undefined ? 0 : 1;
    before.push(cutText(other) + answer + end);
    if (writing === "turns") {
      say("user", cutText(other));
      say("assistant", answer);
    }
  }
  characters += charactersOf(item);
  cut += data.cut[item] === undefined ? 0 : 1;
  if (writing === "turns") say("user", cutText(item));
  else say(writing === "text" ? "" : "user", before.join("") + cutText(item));
  return { turns, characters, cut, demonstrations: demonstrations.length };
};

const contextsOf = (item) => (data.prompts ? unpackedPrompts().ofItem[item] : []);

const fillPrompt = (item, context) => {
  const box = byId("prompt-text");
  if (context === undefined) {
    byId("prompt-facts").textContent = data.promptsMissing || "This item was not asked for.";
    box.replaceChildren(make("pre", {}, cutText(item)));
    byId("prompt-whole").textContent = data.texts[item];
    return;
  }
  const prompt = promptOf(item, context);
  const cut = prompt.cut ? ` Of ${counted(prompt.cut)} texts in it only the beginning is kept here (…).` : "";
  byId("prompt-facts").textContent =
    `${counted(prompt.characters)} characters, ${counted(prompt.demonstrations)} demonstrations.${cut}`;
  box.replaceChildren(
    ...prompt.turns.map(({ role, text }) => {
      const said = make("pre", { dir: "auto" }, text);
      return role ? make("div", { class: `turn ${role}` }, make("p", { class: "role" }, role), said) : said;
    }),
  );
  byId("prompt-whole").textContent = prompt.turns
    .map(({ role, text }) => (data.prompts.writing === "text" ? text : `${role}:\n${text}\n\n`))
    .join("");
};

const openPrompt = (item, told) => {
  const contexts = contextsOf(item);
  const choice = byId("prompt-context");
  byId("prompt-id").textContent = data.ids[item];
  byId("prompt-told").replaceChildren(...told);
  choice.replaceChildren(
    ...contexts.map((context, number) =>
      make("option", { value: context }, `${number + 1} of ${contexts.length}`),
    ),
  );
  byId("prompt-contexts").hidden = contexts.length < 2;
  choice.onchange = () => fillPrompt(item, Number(choice.value));
  fillPrompt(item, contexts[0]);
  byId("prompt").showModal();
  byId("prompt-text").scrollTop = byId("prompt-text").scrollHeight;
};

byId("prompt-close").addEventListener("click", () => byId("prompt").close());
