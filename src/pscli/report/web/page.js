"use strict";
// Outputs of models become text nodes and nothing else: no innerHTML anywhere.
const large = document.getElementById("large");
function enlarge(picture, text, drawn) {
  large.querySelector("img").src = picture.currentSrc || picture.src;
  large.querySelector("img").alt = picture.alt;
  large.querySelector("p").textContent = text;
  large.classList.toggle("drawn", drawn);
  large.showModal();
}
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
for (const button of document.querySelectorAll("button.figure"))
  button.addEventListener("click", () => enlarge(button.querySelector("img"), "", true));

const block = document.getElementById("data");
if (block) gallery(JSON.parse(block.textContent));

function gallery(data) {
  const STEP = 12, CONTEXT = 6;
  const cards = document.getElementById("cards"), found = document.getElementById("found");
  const more = document.getElementById("more"), find = document.getElementById("find");
  const pick = document.getElementById("pick"), type = document.getElementById("type");
  const verdict = document.getElementById("verdict");
  let rows = [], shown = 0;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) { made.textContent = text; made.dir = "auto"; }
    return made;
  }
  function option(select, value, text) {
    const made = element("option", "", text);
    made.value = value;
    select.append(made);
  }
  function parts(list) {
    return list.map((part) => {
      if (typeof part === "string") return element("div", "bubble", part);
      if (part.photo === undefined) return element("div", "gone", `[photo that cannot be had] ${part.caption}`);
      const box = element("div"), button = element("button", "photo"), image = element("img");
      button.type = "button";
      image.src = data.photos[part.photo];
      image.alt = part.caption || "photo without a caption";
      button.setAttribute("aria-label", `Enlarge: ${image.alt}`);
      button.addEventListener("click", () => enlarge(image, part.caption, false));
      button.append(image);
      box.append(button);
      if (part.caption) box.append(element("div", "caption", part.caption));
      return box;
    });
  }
  function said(message, first) {
    const box = element("div", message.speaker === first ? "said" : "said other");
    box.append(element("div", "who", message.speaker), ...parts(message.parts));
    return box;
  }
  function talk(row) {
    const box = element("div", "talk"), messages = (data.dialogues[row.dialogue] || []).slice(0, row.before);
    const first = messages.length ? messages[0].speaker : "";
    const late = messages.slice(-CONTEXT), early = messages.slice(0, -CONTEXT);
    if (!messages.length) box.append(element("p", "note", "What was said before is not known here."));
    if (early.length) {
      const hold = element("div", "earlier"), button = element("button", "", `${early.length} earlier`);
      button.type = "button";
      button.addEventListener("click", () => hold.replaceWith(...early.map((m) => said(m, first))));
      hold.append(button);
      box.append(hold);
    }
    box.append(...late.map((m) => said(m, first)));
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "What was said before");
    return box;
  }
  function side(name, list, className, small) {
    const box = element("div", className), head = element("h4", "", name);
    if (small) head.append(" ", element("small", "", small));
    box.append(head, ...(list.length ? parts(list) : [element("div", "gone", "(nothing)")]));
    return box;
  }
  function card(row) {
    const box = element("article", "card"), head = element("h3");
    if (row.kind) head.append(element("b", "", row.kind));
    head.append(element("span", "", row.id));
    if (row.truth) head.append(element("span", "", row.truth));
    const sides = element("div", "sides"), replies = element("div", "replies");
    replies.append(side("What was said", row.gold, "", row.speaker));
    row.replies.forEach((reply, number) => {
      const one = side(data.systems[number], reply.parts, `s${number % 6}`);
      if (reply.marks.length) {
        const marks = element("ul", "marks");
        for (const [label, right] of reply.marks) {
          const mark = element("li", right ? "mark right" : "mark wrong", `${right ? "✓" : "✗"} ${label}`);
          mark.append(element("span", "hidden", right ? ": right" : ": wrong"));
          marks.append(mark);
        }
        one.append(marks);
      }
      for (const note of reply.notes) one.append(element("p", "note", note));
      replies.append(one);
    });
    sides.append(talk(row), replies);
    box.append(head, sides);
    return box;
  }

  const lists = (row) => [row.gold, ...row.replies.map((reply) => reply.parts),
    ...(data.dialogues[row.dialogue] || []).slice(0, row.before).map((message) => message.parts)];
  const words = (row) => (row.words ??= [row.id, ...lists(row).flat()
    .map((part) => (typeof part === "string" ? part : part.caption))].join("\n").toLocaleLowerCase());
  const allRight = (reply) => reply.marks.every(([, right]) => right);
  function judged(row, wanted) {
    if (!wanted) return true;
    if (!row.replies.some((reply) => reply.marks.length)) return false;
    const rights = row.replies.map(allRight);
    if (wanted === "split") return rights.includes(true) && rights.includes(false);
    return wanted === "right" ? !rights.includes(false) : rights.includes(false);
  }
  function add() {
    cards.append(...rows.slice(shown, shown + STEP).map(card));
    shown = Math.min(rows.length, shown + STEP);
    more.hidden = shown === rows.length;
    found.textContent = rows.length
      ? `${shown.toLocaleString()} of ${rows.length.toLocaleString()} that fit; the page holds `
        + `${data.instances.length.toLocaleString()} of ${data.total.toLocaleString()} responses.`
      : "None fits.";
  }
  function filter() {
    const wanted = find.value.trim().toLocaleLowerCase();
    rows = data.instances.filter((row) => (!pick.value || row.picks.includes(pick.value))
      && (!type.value || row.kind === type.value.slice(1)) && judged(row, verdict.value)
      && (!wanted || words(row).includes(wanted)));
    shown = 0;
    cards.replaceChildren();
    add();
  }

  for (const [value, text] of data.picks) option(pick, value, text);
  option(pick, "", "all of this page");
  option(type, "", "any");
  for (const kind of data.kinds) option(type, `=${kind}`, kind);
  for (const select of [pick, type, verdict]) select.addEventListener("change", filter);
  let waiting;
  find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", add);
  filter();
}
