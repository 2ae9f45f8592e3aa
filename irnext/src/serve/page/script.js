// The page of `irnext serve`. Each photo is sent to the server by itself, one after the other; the
// answer is a stream of frames: a line of JSON, and as many bytes as its member "bytes" says.
"use strict";

const FRAMES = "application/x-irnext-frames";
const element = (id) => document.getElementById(id);

/** All photos, in the order in which they were added. */
const photos = [];
/** The photo that is shown. */
let current = null;
/** The photo that is being restored. */
let working = null;

// ---------------------------------------------------------------------------------- The queue

function add(files) {
  for (const file of files) {
    const photo = {
      file,
      task: element("task").value,
      state: "waiting",
      progress: 0,
      text: "waiting",
    };
    photos.push(photo);
    list(photo);
    if (!current) show(photo);
  }
  next();
}

/** Makes the line of a photo. */
function list(photo) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "photo";
  const picture = document.createElement("canvas");
  picture.width = picture.height = 96;
  const lines = document.createElement("span");
  lines.className = "lines";
  button.append(picture, lines);
  for (const name of ["name", "state"]) {
    const part = document.createElement("span");
    part.className = name;
    lines.append(part);
  }
  button.querySelector(".name").textContent = photo.file.name;
  button.title = photo.file.name;
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", `Progress of ${photo.file.name}`);
  lines.append(bar);
  button.addEventListener("click", () => {
    show(photo);
    if (matchMedia("(max-width: 48rem)").matches) element("viewer").scrollIntoView();
  });
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "×";
  remove.setAttribute("aria-label", `Remove ${photo.file.name}`);
  remove.addEventListener("click", () => drop(photo));
  item.append(button, remove);
  photo.item = item;
  element("photos").append(item);
  update(photo);
  thumbnail(photo, photo.file);
}

/** The thumbnails so far. A large photo takes memory while it is read: so one at a time. */
let drawn = Promise.resolve();

/** Draws a picture of a photo, small, into its line; none if the browser does not show it. */
function thumbnail(photo, picture) {
  drawn = drawn.then(async () => {
    if (!photos.includes(photo)) return;
    const bitmap = await createImageBitmap(picture).catch(() => null);
    if (!bitmap) return;
    const canvas = photo.item.querySelector("canvas");
    // The middle of it, as large as the square.
    const side = Math.min(bitmap.width, bitmap.height);
    const [x, y] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
    const brush = canvas.getContext("2d");
    brush.imageSmoothingQuality = "high";
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(bitmap, x, y, side, side, 0, 0, canvas.width, canvas.height);
    canvas.classList.add("drawn");
    bitmap.close();
  });
}

/** Shows the state of a photo in its line and, if it is the current one, beside it. */
function update(photo) {
  photo.item.classList.toggle("failed", photo.state === "failed");
  photo.item.querySelector(".state").textContent = photo.text;
  const bar = photo.item.querySelector("progress");
  bar.hidden = photo.state !== "working";
  // A picture that is restored in one piece gives no news in between.
  if (photo.progress > 0) bar.value = photo.progress;
  else bar.removeAttribute("value");
  photo.item.querySelector(".photo").setAttribute("aria-current", String(photo === current));
  element("all").hidden = photos.filter((photo) => photo.result).length < 2;
  count();
  element("retry").hidden = photos.filter(({ state }) => state === "failed").length < 2;
  if (photo === current) describe();
}

/** Says how far the queue is, also to those who do not see it. */
function count() {
  const of = (state) => photos.filter((photo) => photo.state === state).length;
  const [done, failed] = [of("done"), of("failed")];
  const line = element("count");
  line.hidden = photos.length < 2;
  const text = `${done} of ${photos.length} done${failed ? `, ${failed} failed` : ""}`;
  if (line.textContent !== text) line.textContent = text;
}

function drop(photo) {
  photo.abort?.abort();
  const at = photos.indexOf(photo);
  photos.splice(at, 1);
  photo.item.remove();
  for (const url of [photo.before, photo.after]) if (url) URL.revokeObjectURL(url);
  const neighbor = photos[Math.min(at, photos.length - 1)];
  if (photo === current) {
    current = null;
    if (neighbor) show(neighbor);
    else clear();
  }
  (neighbor?.item.querySelector(".photo") ?? element("choose")).focus();
  if (neighbor) update(neighbor);
  else count();
}

/** Puts a photo back into the queue. What there is of a result stays until there is another. */
function again(photo, task) {
  Object.assign(photo, { task, state: "waiting", text: "waiting", progress: 0 });
  update(photo);
  next();
}

/** Restores the next photo that waits, unless one is being restored. */
async function next() {
  if (working) return;
  working = photos.find((photo) => photo.state === "waiting");
  if (!working) return;
  const photo = working;
  let pause = 0;
  try {
    await restore(photo);
  } catch (error) {
    if (error.busy) {
      Object.assign(photo, { state: "waiting", text: "the server is busy; trying again soon" });
      pause = 5000;
    } else {
      photo.state = "failed";
      photo.text = reason(error);
    }
  }
  if (photos.includes(photo)) {
    update(photo);
    if (photo === current) show(photo);
  }
  setTimeout(() => {
    working = null;
    next();
  }, pause);
}

/** What went wrong, as a sentence. */
function reason(error) {
  if (error instanceof TypeError)
    return "The server does not answer. Start it again (irnext serve), and try again.";
  return sentence(error.message);
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}

async function restore(photo) {
  Object.assign(photo, { state: "working", text: "restoring…", abort: new AbortController() });
  // Browsers show few formats. For the others the server adds pictures.
  const shown = await displayable(photo.file);
  if (shown && !photo.before) {
    photo.before = URL.createObjectURL(photo.file);
    if (photo === current) show(photo);
  }
  update(photo);
  const answer = await ask(photo, { preview: !shown }, FRAMES, photo.abort.signal);
  const pictures = {};
  let report = null,
    result = null;
  for await (const [news, bytes] of frames(answer.body)) {
    if (news.state === "waiting" && news.ahead > 0) photo.text = `waiting, ${news.ahead} before it`;
    if (news.state === "working") {
      photo.text = "restoring…";
      photo.progress = news.progress;
    }
    if (news.state === "preview") pictures[news.of] = new Blob([bytes], { type: news.type });
    if (news.state === "failed") throw new Error(news.error);
    if (news.state === "done") {
      result = new Blob([bytes], { type: news.type });
      report = news;
    }
    update(photo);
  }
  if (!report) throw new Error("the answer was cut short");
  const restored = report.outcome === "restored";
  for (const url of [photo.before, photo.after]) if (url) URL.revokeObjectURL(url);
  Object.assign(photo, {
    result,
    report,
    before: URL.createObjectURL(pictures.before ?? photo.file),
    after: restored ? URL.createObjectURL(pictures.after ?? result) : null,
    state: "done",
    // What was asked for: a detected task is restored at a strength of its own.
    asked: photo.task,
    text: `${restored ? (names[report.task] ?? report.task) : "left alone"}${
      report.notes.length ? ", with remarks" : ""
    }`,
    saved: false,
  });
  if (pictures.before) thumbnail(photo, pictures.before);
}

element("again").append(...element("task").cloneNode(true).options);

const names = {
  dehaze: "haze removed",
  derain: "rain removed",
  desnow: "snow removed",
  "deblur-motion": "motion blur removed",
  "deblur-defocus": "defocus blur removed",
};

/** Asks the server to restore a photo; throws the reason why it does not. */
async function ask(photo, more, accept, signal) {
  const query = new URLSearchParams({ task: photo.task, "keep-going": true, ...more });
  const answer = await fetch(`/restore?${query}`, {
    method: "POST",
    body: photo.file,
    headers: { Accept: accept },
    signal,
  });
  if (!answer.ok) {
    const { error } = await answer
      .json()
      .catch(() => ({ error: `the server answers ${answer.status}` }));
    throw Object.assign(new Error(error), { busy: answer.headers.has("Retry-After") });
  }
  return answer;
}

/** Whether the browser can show a file. */
async function displayable(file) {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    return true;
  } catch {
    return false;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The frames of a stream: the JSON of each, and its bytes. */
async function* frames(stream) {
  const reader = stream.getReader();
  let parts = [],
    length = 0,
    ended = false;
  const more = async () => {
    const { done, value } = await reader.read();
    if (done) ended = true;
    else {
      parts.push(value);
      length += value.length;
    }
  };
  const join = () => {
    if (parts.length !== 1) {
      const whole = new Uint8Array(length);
      let at = 0;
      for (const part of parts) {
        whole.set(part, at);
        at += part.length;
      }
      parts = [whole];
    }
    return parts[0];
  };
  const take = (count) => {
    const whole = join(),
      taken = whole.subarray(0, count);
    parts = [whole.subarray(count)];
    length -= count;
    return taken;
  };
  for (;;) {
    let end;
    while ((end = join().indexOf(10)) < 0) {
      if (ended) return;
      await more();
    }
    const news = JSON.parse(new TextDecoder().decode(take(end + 1)));
    const bytes = news.bytes ?? 0;
    while (length < bytes) {
      if (ended) throw new Error("The answer was cut short.");
      await more();
    }
    yield [news, take(bytes).slice()];
  }
}

// --------------------------------------------------------------------------------- The viewer

const stage = element("stage"),
  handle = element("handle");
const layers = { before: element("before"), after: element("after") };
/** Where the picture is: its scale in CSS pixels, and its corner. Width and height are its own. */
const view = { scale: 1, x: 0, y: 0, width: 0, height: 0, fitted: true };
let boundary = 50;

function show(photo) {
  current = photo;
  photos.forEach(update);
  element("again").value = photo.task;
  stage.hidden = !photo.before;
  element("hint").hidden = Boolean(photo.before);
  element("hint").textContent =
    photo.state === "failed" ? "This photo could not be restored." : "Not ready yet.";
  element("tools").hidden = false;
  const both = Boolean(photo.after);
  for (const id of ["after", "handle", "tag-before", "tag-after", "mixture"])
    element(id).hidden = !both;
  for (const id of ["zooms", "download"]) element(id).hidden = !photo.result;
  if (photo.before) {
    const before = layers.before.firstElementChild,
      after = layers.after.firstElementChild;
    before.onload = () => {
      Object.assign(view, { width: before.naturalWidth, height: before.naturalHeight });
      fit();
    };
    before.src = photo.before;
    if (photo.after) after.src = photo.after;
    else after.removeAttribute("src");
    element("strength").value = photo.strength ?? 100;
    strength();
  }
  describe();
}

function clear() {
  stage.hidden = element("tools").hidden = true;
  element("hint").hidden = false;
  element("hint").textContent = "Photos appear here, before and after.";
}

/** Says what was done with the current photo. */
function describe() {
  const line = element("report"),
    photo = current;
  const busy = photo?.state === "waiting" || photo?.state === "working";
  disable([element("again"), element("restore")], busy);
  line.classList.toggle("failed", photo?.state === "failed");
  if (photo?.state !== "done") {
    line.textContent = photo ? sentence(photo.text) : "";
    return;
  }
  const { outcome, reason, task, width, height, seconds, notes } = photo.report;
  const parts = [];
  if (outcome === "restored") parts.push(`${names[task] ?? task}${reason ? `: ${reason}` : ""}`);
  else
    parts.push(`left alone: ${reason}. To restore it anyway, choose what to remove, and Restore`);
  parts.push(...notes, `${width} × ${height} pixels, ${seconds.toFixed(1)} s`);
  line.textContent = parts.map(sentence).join(" ");
}

/** The control that lost the focus because it was disabled. */
let unfocused = null;

/** Disables controls, or enables them again. Whoever uses the keyboard keeps the place. */
function disable(controls, off) {
  for (const control of controls) {
    if (off && document.activeElement === control) unfocused = control;
    control.disabled = off;
    if (!off && unfocused === control) {
      unfocused = null;
      if (document.activeElement === document.body) control.focus();
    }
  }
}

function draw() {
  // From whole pixels of the screen on: between two of them, the browser would blur the picture.
  const corner = stage.getBoundingClientRect();
  const snap = (at, from) =>
    Math.round((from + at) * devicePixelRatio) / devicePixelRatio - from;
  const [x, y] = [snap(view.x, corner.left), snap(view.y, corner.top)];
  const transform = `translate(${x}px, ${y}px) scale(${view.scale})`;
  for (const layer of Object.values(layers)) {
    layer.firstElementChild.style.transform = transform;
    layer.classList.toggle("coarse", view.scale * devicePixelRatio >= 2);
  }
  layers.after.style.clipPath = `inset(0 0 0 ${boundary}%)`;
  // Behind a mixture there is the photo; behind a transparent result there must be nothing.
  const whole = !current?.after || Number(element("strength").value) < 100;
  layers.before.style.clipPath = whole ? "none" : `inset(0 ${100 - boundary}% 0 0)`;
  handle.style.left = `${boundary}%`;
  handle.setAttribute("aria-valuenow", String(Math.round(boundary)));
  stage.classList.toggle("zoomed", !view.fitted);
  element("zoom").textContent = `${Math.round(view.scale * devicePixelRatio * 100)} %`;
}

function fit() {
  const { clientWidth, clientHeight } = stage;
  const scale = Math.min(
    clientWidth / view.width,
    clientHeight / view.height,
    1 / devicePixelRatio,
  );
  const [x, y] = [(clientWidth - view.width * scale) / 2, (clientHeight - view.height * scale) / 2];
  Object.assign(view, { scale, x, y, fitted: true });
  draw();
}

/** Scales the picture about a point of the stage. */
function zoom(scale, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  scale = Math.min(Math.max(scale, 0.02), 32);
  const factor = scale / view.scale;
  move((x - view.x) * (1 - factor), (y - view.y) * (1 - factor), scale);
}

/** Moves the picture; part of it stays in view. */
function move(dx, dy, scale = view.scale) {
  const keep = 40;
  const limit = (at, side, room) => Math.min(Math.max(at, keep - side * scale), room - keep);
  const x = limit(view.x + dx, view.width, stage.clientWidth);
  const y = limit(view.y + dy, view.height, stage.clientHeight);
  Object.assign(view, { scale, x, y, fitted: false });
  draw();
}

function divide(percent) {
  boundary = Math.min(Math.max(percent, 0), 100);
  draw();
}

/** Shows the picture at the strength that is set: a mixture of before and after. */
function strength() {
  const amount = Number(element("strength").value);
  element("amount").textContent = `${amount} %`;
  layers.after.firstElementChild.style.opacity = amount / 100;
  if (current) current.strength = amount;
  draw();
}

/** Saves the result of a photo, at the strength that was set for it. */
async function save(photo) {
  const { outcome, task, type } = photo.report;
  const restored = outcome === "restored";
  let { result } = photo;
  if (restored && photo.strength < 100) {
    const strength = photo.strength / 100;
    // Not after the photo that is being restored.
    const how = { strength, beside: true };
    result = await (await ask({ ...photo, task: photo.asked }, how, "image/*")).blob();
  }
  const link = document.createElement("a");
  const stem = photo.file.name.replace(/\.[^.]*$/, "");
  link.href = URL.createObjectURL(result);
  link.download = `${stem}${restored ? `.${task}` : ""}.${extensions[type] ?? "jpg"}`;
  link.click();
  photo.saved = true;
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Saves the results of photos; meanwhile `button` says so. */
async function download(photos, button) {
  const label = button.textContent;
  disable([button], true);
  button.textContent = "Preparing…";
  try {
    for (const photo of photos) await save(photo);
    describe();
  } catch (error) {
    const line = element("report");
    line.classList.add("failed");
    line.textContent = reason(error);
  }
  disable([button], false);
  button.textContent = label;
}

const extensions = {
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "image/bmp": "bmp",
  "image/tiff": "tif",
  "image/x-portable-pixmap": "ppm",
  "image/x-portable-graymap": "pgm",
  "image/x-portable-anymap": "pnm",
};

// ------------------------------------------------------------------------------------- Events

element("choose").addEventListener("click", () => element("files").click());
element("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  add(event.dataTransfer.files);
});
addEventListener("paste", (event) => add(event.clipboardData.files));
element("restore").addEventListener("click", () => again(current, element("again").value));
element("retry").addEventListener("click", () => {
  const failed = photos.filter(({ state }) => state === "failed");
  failed.forEach((photo) => again(photo, photo.task));
  failed[0].item.querySelector(".photo").focus();
});
element("strength").addEventListener("input", strength);
element("download").addEventListener("click", (event) => download([current], event.target));
element("all").addEventListener("click", (event) =>
  download(
    photos.filter((photo) => photo.result),
    event.target,
  ),
);
addEventListener("beforeunload", (event) => {
  const isOpen = ({ state, result, saved }) =>
    state === "waiting" || state === "working" || (result && !saved);
  if (photos.some(isOpen)) event.preventDefault();
});
element("larger").addEventListener("click", () => zoom(view.scale * 1.25));
element("smaller").addEventListener("click", () => zoom(view.scale / 1.25));
element("fit").addEventListener("click", fit);
element("actual").addEventListener("click", () => zoom(1 / devicePixelRatio));
stage.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(view.scale * 1.0015 ** -event.deltaY, event.clientX - box.left, event.clientY - box.top);
  },
  { passive: false },
);
new ResizeObserver(() => {
  if (stage.hidden || !view.width) return;
  if (view.fitted) fit();
  else draw();
}).observe(stage);

/** The fingers or buttons that are down on the stage, and where. */
const pointers = new Map();
stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  if (event.target === handle) handle.focus();
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, {
    x: event.clientX,
    y: event.clientY,
    divides: event.target === handle,
  });
  stage.classList.add("moving");
});
stage.addEventListener("pointermove", (event) => {
  const pointer = pointers.get(event.pointerId);
  if (!pointer) return;
  const box = stage.getBoundingClientRect();
  const [dx, dy] = [event.clientX - pointer.x, event.clientY - pointer.y];
  if (pointer.divides) {
    divide(((event.clientX - box.left) / box.width) * 100);
  } else if (pointers.size === 2) {
    const other = [...pointers.values()].find((one) => one !== pointer);
    const distance = (x, y) => Math.hypot(x - other.x, y - other.y) || 1;
    const factor = distance(event.clientX, event.clientY) / distance(pointer.x, pointer.y);
    move(dx / 2, dy / 2);
    zoom(
      view.scale * factor,
      (event.clientX + other.x) / 2 - box.left,
      (event.clientY + other.y) / 2 - box.top,
    );
  } else {
    move(dx, dy);
  }
  Object.assign(pointer, { x: event.clientX, y: event.clientY });
});
for (const name of ["pointerup", "pointercancel"]) {
  stage.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) stage.classList.remove("moving");
  });
}

handle.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 10 : 2;
  const to = {
    ArrowLeft: boundary - step,
    ArrowDown: boundary - step,
    ArrowRight: boundary + step,
    ArrowUp: boundary + step,
    Home: 0,
    End: 100,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  divide(to);
});
stage.addEventListener("keydown", (event) => {
  if (event.target !== stage || view.fitted) return;
  // The keys move the view, and so the photo the other way.
  const step = event.shiftKey ? 200 : 40;
  const by = {
    ArrowLeft: [step, 0],
    ArrowRight: [-step, 0],
    ArrowUp: [0, step],
    ArrowDown: [0, -step],
  }[event.key];
  if (!by) return;
  event.preventDefault();
  move(...by);
});
addEventListener("keydown", (event) => {
  const typing = ["SELECT", "INPUT"].includes(event.target.tagName);
  if (stage.hidden || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    "+": () => zoom(view.scale * 1.25),
    "=": () => zoom(view.scale * 1.25),
    "-": () => zoom(view.scale / 1.25),
    0: fit,
    1: () => zoom(1 / devicePixelRatio),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
