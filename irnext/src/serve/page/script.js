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
  for (const name of ["name", "state"]) {
    const part = document.createElement("span");
    part.className = name;
    button.append(part);
  }
  button.firstChild.textContent = photo.file.name;
  button.title = photo.file.name;
  button.append(document.createElement("progress"));
  button.addEventListener("click", () => show(photo));
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "×";
  remove.setAttribute("aria-label", `Remove ${photo.file.name}`);
  remove.addEventListener("click", () => drop(photo));
  item.append(button, remove);
  photo.item = item;
  element("photos").append(item);
  update(photo);
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
  if (photo === current) describe();
}

function drop(photo) {
  photo.abort?.abort();
  photos.splice(photos.indexOf(photo), 1);
  photo.item.remove();
  for (const url of [photo.before, photo.after]) if (url) URL.revokeObjectURL(url);
  if (photo === current) {
    current = null;
    if (photos.length) show(photos[photos.length - 1]);
    else clear();
  }
}

/** Restores the next photo that waits, unless one is being restored. */
async function next() {
  if (working) return;
  working = photos.find((photo) => photo.state === "waiting");
  if (!working) return;
  const photo = working;
  try {
    await restore(photo);
  } catch (error) {
    photo.state = "failed";
    photo.text =
      error instanceof TypeError
        ? "The server does not answer. Is it still running?"
        : error.message;
  }
  working = null;
  if (photos.includes(photo)) update(photo);
  if (photo === current) show(photo);
  next();
}

async function restore(photo) {
  photo.state = "working";
  photo.text = "restoring…";
  update(photo);
  photo.abort = new AbortController();
  // Browsers show few formats. For the others the server adds pictures.
  const shown = await displayable(photo.file);
  const answer = await ask(photo, { preview: !shown }, FRAMES, photo.abort.signal);
  const pictures = {};
  for await (const [news, bytes] of frames(answer.body)) {
    if (news.state === "waiting" && news.ahead > 0) photo.text = `waiting, ${news.ahead} before it`;
    if (news.state === "working") {
      photo.text = "restoring…";
      photo.progress = news.progress;
    }
    if (news.state === "preview") pictures[news.of] = new Blob([bytes], { type: news.type });
    if (news.state === "failed") throw new Error(news.error);
    if (news.state === "done") {
      photo.result = new Blob([bytes], { type: news.type });
      photo.report = news;
    }
    update(photo);
  }
  if (!photo.report) throw new Error("The answer was cut short.");
  const restored = photo.report.outcome === "restored";
  for (const url of [photo.before, photo.after]) if (url) URL.revokeObjectURL(url);
  photo.before = URL.createObjectURL(pictures.before ?? photo.file);
  photo.after = restored ? URL.createObjectURL(pictures.after ?? photo.result) : null;
  photo.state = "done";
  photo.text = restored ? (names[photo.report.task] ?? photo.report.task) : "left alone";
}

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
      .catch(() => ({ error: `The server answers ${answer.status}.` }));
    throw new Error(error);
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
  element("task").value = photo.task;
  photos.forEach(update);
  if (photo.state !== "done") {
    stage.hidden = true;
    element("hint").hidden = false;
    element("hint").textContent =
      photo.state === "failed" ? photo.text : "This photo is not ready yet.";
    element("tools").hidden = true;
    describe();
    return;
  }
  element("hint").hidden = true;
  stage.hidden = element("tools").hidden = false;
  const before = layers.before.firstElementChild,
    after = layers.after.firstElementChild;
  before.onload = () => {
    Object.assign(view, { width: before.naturalWidth, height: before.naturalHeight });
    fit();
  };
  before.src = photo.before;
  if (photo.after) after.src = photo.after;
  else after.removeAttribute("src");
  const both = Boolean(photo.after);
  const ofBoth = ["after", "handle", "tag-before", "tag-after", "mixture"];
  for (const id of ofBoth) element(id).hidden = !both;
  element("strength").value = photo.strength ?? 100;
  strength();
  describe();
}

function clear() {
  stage.hidden = element("tools").hidden = true;
  element("hint").hidden = false;
  element("hint").textContent = "Photos appear here, before and after.";
}

/** Says what was done with the current photo. */
function describe() {
  const report = element("report"),
    photo = current;
  report.classList.remove("failed");
  if (photo?.state !== "done") {
    report.textContent = "";
    return;
  }
  const { outcome, reason, task, width, height, seconds, notes } = photo.report;
  const parts = [];
  if (outcome === "restored") parts.push(`${names[task] ?? task}${reason ? `: ${reason}` : ""}`);
  else parts.push(`Left alone: ${reason}. To restore it anyway, choose what to remove`);
  parts.push(`${width} × ${height} pixels, ${seconds.toFixed(1)} s`, ...notes);
  report.textContent = `${parts.join("; ")}.`;
}

function draw() {
  const transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  for (const layer of Object.values(layers)) {
    layer.firstElementChild.style.transform = transform;
    layer.classList.toggle("coarse", view.scale * devicePixelRatio >= 2);
  }
  layers.after.style.clipPath = `inset(0 0 0 ${boundary}%)`;
  handle.style.left = `${boundary}%`;
  handle.setAttribute("aria-valuenow", String(Math.round(boundary)));
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
}

async function download() {
  const photo = current,
    button = element("download");
  let result = photo.result;
  const { outcome, task, type } = photo.report;
  if (outcome === "restored" && photo.strength < 100) {
    button.disabled = true;
    button.textContent = "Preparing…";
    try {
      const answer = await ask({ ...photo, task }, { strength: photo.strength / 100 }, "image/*");
      result = await answer.blob();
    } catch (error) {
      const report = element("report");
      report.classList.add("failed");
      report.textContent =
        error instanceof TypeError ? "The server does not answer." : error.message;
      return;
    } finally {
      button.disabled = false;
      button.textContent = "Download";
    }
  }
  const link = document.createElement("a");
  const stem = photo.file.name.replace(/\.[^.]*$/, "");
  link.href = URL.createObjectURL(result);
  link.download = `${stem}${outcome === "restored" ? `.${task}` : ""}.${extensions[type] ?? "jpg"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
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
// Another task restores the photo that is shown again.
element("task").addEventListener("change", (event) => {
  if (!current || current.state === "working") return;
  Object.assign(current, {
    task: event.target.value,
    state: "waiting",
    text: "waiting",
    progress: 0,
    report: null,
  });
  show(current);
  next();
});
element("strength").addEventListener("input", strength);
element("download").addEventListener("click", download);
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
addEventListener("resize", () => {
  if (stage.hidden) return;
  if (view.fitted) fit();
  else draw();
});

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
