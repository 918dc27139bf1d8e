// The page: one picture, what is asked about it, and what was found. Plain modules of the browser, nothing to build.
import { api, serverGone } from "./api.js";
import { decodeMask, hits, paint } from "./masks.js";

const LOWEST = 0.05; // asked for once; the slider chooses among what was found
const MOST = 100;
const LONGEST_SIDE = 1600; // of the masks that are shown; exports have all pixels
const $ = (id) => document.getElementById(id);

const view = $("view"), pen = view.getContext("2d");
const layer = document.createElement("canvas");

let picture = null; // { blob, name, bitmap, id, width, height, scale }
let prompt = nothing(); // what is asked, and its answers: replaced as a whole, so that taking back is easy
let past = [];
let hidden = new Set(); // of objects
let hot = null; // the object under the pointer
let draft = null; // a box that is being drawn
let cross = null; // the keyboard's place
let opening = null; // AbortController of the picture that arrives
let asking = null; // of the prompt that waits
let numbers = 0; // of objects, each its own
let clicking = true; // whether the model can answer clicks

function nothing() {
  return { text: "", boxes: [], points: [], found: [], best: null, clicked: null, kept: [] };
}

// ---------------------------------------------------------------- pictures

async function open(blob, name) {
  opening?.abort();
  asking?.abort();
  const mine = (opening = new AbortController());
  forget();
  say("");
  working("Sending the picture", null);
  try {
    const next = { blob, name, bitmap: null };
    await send(next, mine.signal);
    if (mine.signal.aborted) return;
    picture = next;
    prompt = nothing();
    past = [];
    hidden.clear();
    $("text").value = "";
    fit();
    refresh();
    await encoded(next, mine.signal);
    say(`${name}: ${next.width} × ${next.height} pixels. Type what to look for, or ${clicking ? "click an object" : "draw an example"}.`);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
    else say("Cancelled.");
    if (picture === null || picture.failed) { picture = null; }
  } finally {
    if (opening === mine) {
      opening = null;
      working(null);
      refresh();
    }
  }
}

async function send(next, signal) {
  const about = await api(`images?name=${encodeURIComponent(next.name)}`, { method: "POST", body: next.blob, type: next.blob.type || "application/octet-stream", signal });
  Object.assign(next, { id: about.id, width: about.width, height: about.height, ready: false });
  next.scale = Math.min(1, LONGEST_SIDE / Math.max(about.width, about.height));
  if (signal?.aborted) { drop(next); throw new DOMException("", "AbortError"); }
  if (next.bitmap === null) {
    next.bitmap = await createImageBitmap(next.blob).catch(async () =>
      createImageBitmap(await api(`images/${next.id}/preview`, { signal, as: "blob" })));
  }
}

async function encoded(next, signal) {
  try {
    for (;;) {
      const about = await api(`images/${next.id}?wait=0.4`, { signal });
      if (about.state === "failed") {
        next.failed = true;
        throw new Error([about.error.problem, about.error.remedy].filter(Boolean).join(": "));
      }
      if (about.state === "ready") break;
      const place = about.place > 0 ? `Waiting, place ${about.place}` : "Encoding the picture";
      working(place, about.place > 0 ? null : about.progress);
    }
    next.ready = true;
  } catch (error) {
    if (error.name === "AbortError") { drop(next); next.failed = true; }
    throw error;
  }
}

function drop(which) {
  if (which?.id) api(`images/${which.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

function forget() {
  drop(picture);
  picture = null;
  refresh();
}

// ---------------------------------------------------------------- questions

// A picture that the server no longer has (it was started again, or made room for others) is sent again.
async function question(what, body, signal) {
  const about = picture;
  const ask = () => api(`images/${about.id}/${what}`, { method: "POST", body: JSON.stringify(body), type: "application/json", signal });
  try {
    return await ask();
  } catch (error) {
    if (error.status !== 404) throw error;
    working("Sending the picture again", null);
    await send(about, signal);
    await encoded(about, signal);
    return ask();
  }
}

async function ask(what) {
  asking?.abort();
  const mine = (asking = new AbortController()), about = picture, now = prompt;
  working("Looking", null);
  try {
    if (what === "segment") {
      const texts = [...new Set(now.text.split(",").map((text) => text.trim()).filter(Boolean))];
      const answer = texts.length + now.boxes.length === 0 ? { objects: [], best_below: null } : await question("segment", {
        ...(texts.length ? { texts } : {}),
        boxes: now.boxes.map((box) => box.corners),
        box_labels: now.boxes.map((box) => box.wanted),
        threshold: LOWEST,
        max_objects: MOST,
      }, mine.signal);
      if (mine.signal.aborted || about !== picture) return;
      now.found = answer.objects.map(known);
      now.best = answer.best_below;
    } else {
      const answer = now.points.length === 0 ? { objects: [] } : await question("click", {
        points: now.points.map((point) => point.at),
        point_labels: now.points.map((point) => point.wanted),
      }, mine.signal);
      if (mine.signal.aborted || about !== picture) return;
      now.clicked = answer.objects.length ? known(answer.objects[0], MOST + now.kept.length) : null;
    }
    told(what);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  } finally {
    if (asking === mine) {
      asking = null;
      working(null);
      refresh();
    }
  }
}

function known(object, index) {
  const hue = (index * 137.508 + 190) % 360; // neighbours in the list differ most
  return { ...object, number: numbers++, colour: hue, mask: decodeMask(object.rle, picture.scale) };
}

function told(what) {
  if (what === "click") {
    say(prompt.clicked ? `An object of ${prompt.clicked.area} pixels, score ${prompt.clicked.score.toFixed(2)}.` : "Nothing is there.");
    return;
  }
  const above = prompt.found.filter((object) => object.score >= threshold()).length;
  const best = Math.max(0, prompt.best ?? 0, ...prompt.found.map((object) => object.score));
  say(above ? `${above} found.` : `Nothing with that score; the best is ${best.toFixed(2)}.`);
}

// Changes what is asked; what was before can be had back.
function change(part, what) {
  if (!picture?.ready) return;
  past.push(prompt);
  prompt = { ...prompt, ...part };
  refresh();
  if (what) ask(what);
}

function undo() {
  if (!past.length) return;
  asking?.abort();
  prompt = past.pop();
  $("text").value = prompt.text;
  draft = null;
  say("Taken back.");
  refresh();
}

function point(at, wanted) {
  change({ points: [...prompt.points, { at, wanted }] }, "click");
}

function box(from, to, wanted) {
  const corners = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
  draft = null;
  if (corners[2] - corners[0] < 2 || corners[3] - corners[1] < 2) return draw();
  change({ boxes: [...prompt.boxes, { corners, wanted }] }, "segment");
}

function keep() {
  if (prompt.clicked) change({ kept: [...prompt.kept, prompt.clicked], clicked: null, points: [] });
}

// ---------------------------------------------------------------- what is shown

const threshold = () => Number($("threshold").value);
const tool = () => document.querySelector("[name=tool]:checked").value;
const sign = () => document.querySelector("[name=sign]:checked").value === "+";

function listed() {
  const clicked = prompt.clicked ? [prompt.clicked] : [];
  return [...clicked, ...prompt.kept, ...prompt.found.filter((object) => object.score >= threshold())];
}

const visible = () => listed().filter((object) => !hidden.has(object.number));

function fit() {
  if (!picture) return;
  const stage = $("stage"), style = getComputedStyle(stage), ratio = devicePixelRatio || 1;
  const wide = stage.clientWidth - 2 * parseFloat(style.paddingLeft);
  const narrow = matchMedia("(max-width: 760px)").matches;
  const high = narrow ? innerHeight * 0.6 : stage.clientHeight - 2 * parseFloat(style.paddingTop);
  const scale = Math.max(Math.min(wide / picture.width, high / picture.height, 4), 0.001);
  const width = Math.max(1, Math.round(picture.width * scale)), height = Math.max(1, Math.round(picture.height * scale));
  view.style.width = `${width}px`;
  view.style.height = `${height}px`;
  view.width = Math.round(width * ratio);
  view.height = Math.round(height * ratio);
  draw();
}

function refresh() {
  const there = picture !== null;
  $("empty").hidden = there || opening !== null;
  view.hidden = !there;
  view.classList.toggle("box", tool() === "box");
  $("ask").disabled = !picture?.ready;
  $("undo").disabled = past.length === 0;
  $("png").disabled = $("coco").disabled = !picture?.ready;
  const { points, boxes, kept } = prompt;
  const given = [[points.length, "click", "clicks"], [boxes.length, "box", "boxes"], [kept.length, "kept object", "kept objects"]]
    .filter(([count]) => count).map(([count, one, many]) => `${count} ${count === 1 ? one : many}`);
  $("given").hidden = given.length === 0;
  $("given-text").textContent = given.join(", ");
  $("keep").hidden = !prompt.clicked;
  list();
  layers();
}

function list() {
  const objects = there() ? listed() : [];
  const focused = document.activeElement?.dataset?.number;
  $("count").textContent = objects.length ? String(objects.length) : "";
  $("objects").replaceChildren(...objects.map((object) => {
    const item = document.createElement("li"), label = document.createElement("label"), check = document.createElement("input");
    check.type = "checkbox";
    check.checked = !hidden.has(object.number);
    check.dataset.number = item.dataset.number = object.number;
    check.style.accentColor = colour(object);
    const name = document.createElement("span"), score = document.createElement("span");
    name.className = "name";
    name.textContent = name.title = object === prompt.clicked ? "clicked object" : prompt.kept.includes(object) ? "kept object" : object.label;
    score.className = "score";
    score.textContent = object.score.toFixed(2);
    label.append(check, name, score);
    item.append(label);
    check.addEventListener("change", () => { if (check.checked) hidden.delete(object.number); else hidden.add(object.number); layers(); });
    for (const [event, value] of [["pointerenter", object], ["pointerleave", null], ["focusin", object], ["focusout", null]])
      item.addEventListener(event, () => heat(value));
    return item;
  }));
  if (focused) $("objects").querySelector(`input[data-number="${focused}"]`)?.focus();
}

const there = () => picture !== null;
const colour = (object) => `hsl(${object.colour} 85% 52%)`;

function heat(object) {
  if (hot === object) return;
  hot = object;
  for (const item of $("objects").children) item.classList.toggle("hot", hot !== null && item.dataset.number === String(hot.number));
  layers();
}

function layers() {
  if (!picture) return;
  paint(layer, visible(), Number($("opacity").value), hot, Math.round(picture.width * picture.scale), Math.round(picture.height * picture.scale));
  draw();
}

function draw() {
  if (!picture?.bitmap) return;
  const scale = view.width / picture.width, ratio = devicePixelRatio || 1;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture.bitmap, 0, 0, view.width, view.height);
  if (layer.width) pen.drawImage(layer, 0, 0, view.width, view.height);
  const stroke = (path, style, width, dash = []) => {
    pen.setLineDash([]);
    pen.strokeStyle = "rgb(0 0 0 / .6)";
    pen.lineWidth = (width + 2) * ratio;
    pen.stroke(path);
    pen.setLineDash(dash.map((length) => length * ratio));
    pen.strokeStyle = style;
    pen.lineWidth = width * ratio;
    pen.stroke(path);
  };
  const rectangle = ([x0, y0, x1, y1], wanted) => {
    const path = new Path2D();
    path.rect(x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
    stroke(path, wanted ? "#fff" : "#ff6b6b", 2, wanted ? [] : [6, 4]);
  };
  for (const { corners, wanted } of prompt.boxes) rectangle(corners, wanted);
  if (draft) rectangle([...draft.from, ...draft.to], draft.wanted);
  for (const { at: [x, y], wanted } of prompt.points) {
    const dot = new Path2D(), mark = new Path2D(), r = 7 * ratio;
    dot.arc(x * scale, y * scale, r, 0, 2 * Math.PI);
    pen.fillStyle = wanted ? "#18864b" : "#c62828";
    pen.fill(dot);
    stroke(dot, "#fff", 2);
    mark.moveTo(x * scale - r / 2, y * scale);
    mark.lineTo(x * scale + r / 2, y * scale);
    if (wanted) { mark.moveTo(x * scale, y * scale - r / 2); mark.lineTo(x * scale, y * scale + r / 2); }
    pen.setLineDash([]);
    pen.lineWidth = 1.8 * ratio;
    pen.strokeStyle = "#fff";
    pen.stroke(mark);
  }
  if (cross) {
    const path = new Path2D(), r = 14 * ratio;
    path.moveTo(cross[0] * scale - r, cross[1] * scale);
    path.lineTo(cross[0] * scale + r, cross[1] * scale);
    path.moveTo(cross[0] * scale, cross[1] * scale - r);
    path.lineTo(cross[0] * scale, cross[1] * scale + r);
    stroke(path, "#fff", 2);
  }
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function working(text, progress) {
  $("working").hidden = text === null;
  if (text === null) return;
  $("working-text").textContent = text;
  if (progress === null || progress === undefined) $("progress").removeAttribute("value");
  else $("progress").value = progress;
}

// ---------------------------------------------------------------- exports

const stem = () => picture.name.replace(/\.[^.]*$/, "") || "picture";

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function exportPng() {
  const whole = document.createElement("canvas");
  whole.width = picture.width;
  whole.height = picture.height;
  const brush = whole.getContext("2d");
  brush.drawImage(picture.bitmap, 0, 0, whole.width, whole.height);
  paint(layer, visible(), Number($("opacity").value), null, Math.round(picture.width * picture.scale), Math.round(picture.height * picture.scale));
  brush.drawImage(layer, 0, 0, whole.width, whole.height);
  whole.toBlob((blob) => (blob ? download(blob, `${stem()}.overlay.png`) : say("The browser cannot write a picture of that size.", true)));
}

function exportCoco() {
  const objects = visible(), names = [...new Set(objects.map((object) => object.label))];
  const content = {
    info: { description: "objects found by SAM 3", version: document.documentElement.dataset.version },
    images: [{ id: 1, file_name: picture.name, width: picture.width, height: picture.height }],
    categories: names.map((name, index) => ({ id: index + 1, name })),
    annotations: objects.map((object, index) => ({
      id: index + 1, image_id: 1, category_id: names.indexOf(object.label) + 1, segmentation: object.rle,
      area: object.area, bbox: object.bbox, iscrowd: 0, score: object.score,
    })),
  };
  download(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }), `${stem()}.coco.json`);
}

// ---------------------------------------------------------------- pointer, keys, files

function place(event) {
  const rectangle = view.getBoundingClientRect();
  const x = ((event.clientX - rectangle.left) / rectangle.width) * picture.width;
  const y = ((event.clientY - rectangle.top) / rectangle.height) * picture.height;
  return [Math.min(Math.max(x, 0), picture.width), Math.min(Math.max(y, 0), picture.height)];
}

view.addEventListener("pointerdown", (event) => {
  if (!picture?.ready || event.button === 1) return;
  cross = null;
  const wanted = sign() && event.button !== 2 && !event.shiftKey;
  draft = { from: place(event), to: place(event), wanted, hidden: tool() === "click" };
  view.setPointerCapture(event.pointerId);
  view.focus({ preventScroll: true });
});
view.addEventListener("pointermove", (event) => {
  if (!picture) return;
  if (draft && event.buttons) {
    draft.to = place(event);
    if (tool() === "box") draw();
  } else if (event.pointerType !== "touch") heat(hits(visible(), place(event), picture.scale));
});
view.addEventListener("pointerup", (event) => {
  if (!draft || !picture?.ready) return;
  const { from, wanted } = draft, to = place(event);
  draft = null;
  if (tool() === "click") point(to, wanted);
  else box(from, to, wanted);
});
view.addEventListener("pointercancel", () => { draft = null; draw(); });
view.addEventListener("pointerleave", () => heat(null));
view.addEventListener("contextmenu", (event) => event.preventDefault());
view.addEventListener("blur", () => { cross = null; draw(); });
view.addEventListener("keydown", (event) => {
  if (!picture?.ready || event.ctrlKey || event.metaKey) return;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const wanted = sign() && !event.shiftKey;
  cross ??= event.key in arrows || event.key === "Enter" ? [picture.width / 2, picture.height / 2] : null;
  if (event.key in arrows) {
    const step = event.altKey ? 1 : Math.max(1, Math.max(picture.width, picture.height) / 50), [x, y] = arrows[event.key];
    cross = [Math.min(Math.max(cross[0] + x * step, 0), picture.width), Math.min(Math.max(cross[1] + y * step, 0), picture.height)];
    if (draft) draft.to = cross;
    heat(hits(visible(), cross, picture.scale));
    draw();
  } else if (event.key === "Enter" && tool() === "click") point(cross, wanted);
  else if (event.key === "Enter" && !draft) { draft = { from: cross, to: cross, wanted }; draw(); say("One corner is set; move on and press Enter."); }
  else if (event.key === "Enter") box(draft.from, cross, draft.wanted);
  else if (event.key === "Escape" && draft) { draft = null; draw(); }
  else if (event.key === "n") keep();
  else return;
  event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  const writing = event.target.matches?.("input[type=text], input[type=password]");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !(writing && $("text").value !== prompt.text)) { undo(); event.preventDefault(); }
  else if (event.key === "/" && !writing) { $("text").focus(); event.preventDefault(); }
});

const take = (files) => { if (files?.[0]) open(files[0], files[0].name || "pasted.png"); };
$("file").addEventListener("change", () => { take($("file").files); $("file").value = ""; });
for (const name of ["open", "empty"]) $(name).addEventListener("click", () => $("file").click());
$("example").addEventListener("click", async () => open(await (await fetch("page/example.jpg")).blob(), "example.jpg"));
$("stage").addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
for (const name of ["dragleave", "drop"]) $("stage").addEventListener(name, () => $("stage").classList.remove("over"));
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
$("stage").addEventListener("drop", (event) => take(event.dataTransfer.files));
addEventListener("paste", (event) => take(event.clipboardData.files));

$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  change({ text: $("text").value.trim(), found: [] }, "segment");
});
$("cancel").addEventListener("click", () => { opening?.abort(); asking?.abort(); });
$("undo").addEventListener("click", undo);
$("keep").addEventListener("click", keep);
$("clear").addEventListener("click", () => change({ ...nothing(), text: prompt.text, found: prompt.boxes.length ? [] : prompt.found }, prompt.boxes.length ? "segment" : null));
$("png").addEventListener("click", exportPng);
$("coco").addEventListener("click", exportCoco);
for (const radio of document.querySelectorAll("[name=tool]")) radio.addEventListener("change", () => { draft = null; refresh(); });
$("threshold").addEventListener("input", () => { $("threshold-value").textContent = threshold().toFixed(2); list(); layers(); });
$("opacity").addEventListener("input", () => { $("opacity-value").textContent = `${Math.round($("opacity").value * 100)} %`; layers(); });
new ResizeObserver(fit).observe($("stage"));
addEventListener("pagehide", (event) => { if (!event.persisted) drop(picture); });
serverGone((gone) => say(gone ? "The server does not answer; trying again." : "The server answers again.", gone));

api("about").then((about) => {
  document.documentElement.dataset.version = `sam3port ${about.version}`;
  clicking = !about.weights.lacks?.includes("clicks");
  $("clicking").hidden = !clicking;
  if (!clicking) document.querySelector("[name=tool][value=box]").checked = true;
  refresh();
  $("note").textContent = "seed" in about.weights ? "seeded weights: masks mean nothing" : "";
}).catch((error) => say(error.message, true));
