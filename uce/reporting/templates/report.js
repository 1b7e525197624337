"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const photo = document.getElementById("photo");

  // A phone shows what was found; the rest opens when it is asked for, and so does what a link leads to.
  if (matchMedia("(max-width: 640px)").matches) all("details.fold[open]").forEach((e) => { e.open = false; });
  all("nav a").forEach((e) => e.addEventListener("click", () => {
    const fold = document.querySelector(e.getAttribute("href")).closest("details");
    if (fold) fold.open = true;
  }));

  // Concepts: pointing at one or selecting it marks its outline, its chip and its card.
  const marked = (index) => all(`[data-concept="${index}"]`);
  let chosen = null;
  function select(index, scroll) {
    chosen = chosen === index ? null : index;
    all("[data-concept]").forEach((e) => {
      const on = e.dataset.concept === chosen;
      e.classList.toggle("on", on);
      e.setAttribute("aria-pressed", String(on));
    });
    all("[data-card]").forEach((e) => e.classList.toggle("on", e.dataset.card === chosen));
    const path = chosen === null ? null : photo.querySelector(`path[data-concept="${chosen}"]`);
    const { width, height } = photo.viewBox.baseVal;
    document.getElementById("shade").setAttribute("d", path ? `M0 0H${width}V${height}H0Z${path.getAttribute("d")}` : "");
    const card = document.getElementById(`concept-${chosen}`);
    if (card && scroll && matchMedia("(min-width: 900px)").matches) card.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  all("[data-concept]").forEach((e) => {
    const index = e.dataset.concept;
    e.addEventListener("click", () => select(index, true));
    for (const [event, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]])
      e.addEventListener(event, () => marked(index).forEach((other) => other.classList.toggle("hover", on)));
    if (e.tagName === "path")
      e.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(index, true); }
      });
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !photo) return;
    if (event.key === "Escape" && chosen !== null) select(chosen, false);
    else if (/^[0-9]$/.test(event.key) && event.target.tagName !== "INPUT" && marked(event.key).length) select(event.key, true);
  });
  all(".copy").forEach((button) => {
    if (!navigator.clipboard) { button.hidden = true; return; }
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  });

  // Affinity: a row of the reduced matrix, painted over the picture.
  const data = JSON.parse(document.getElementById("explorer").textContent);
  if (!data || typeof DecompressionStream === "undefined") return;
  const area = document.getElementById("affinity"), canvas = document.getElementById("canvas");
  const strength = document.getElementById("strength"), said = document.getElementById("said");
  const spots = all(".map .spot"), { rows, columns, box, window: frame } = data, cells = rows * columns;
  const grid = document.createElement("canvas");
  grid.width = columns;
  grid.height = rows;
  const picture = new Image();
  let matrix = null, shares = null, at = data.start;

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const unit = (axis) => clamp((at[axis] - box[axis]) / box[axis + 2], 0, 0.999999) * frame[axis + 2] + frame[axis];
  const cell = () => [Math.floor(unit(1) * rows), Math.floor(unit(0) * columns)];

  function draw() {
    if (!matrix || !picture.complete || !picture.naturalWidth) return;
    const [row, column] = cell(), values = matrix.subarray((row * columns + column) * cells, (row * columns + column + 1) * cells);
    const small = grid.getContext("2d"), image = small.createImageData(columns, rows);
    for (let i = 0; i < cells; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = data.palette[3 * values[i] + c];
      image.data[4 * i + 3] = 255;
    }
    small.putImageData(image, 0, 0);
    const { width, height } = canvas, context = canvas.getContext("2d");
    context.globalAlpha = 1;
    context.filter = "grayscale(1)";
    context.drawImage(picture, 0, 0, width, height);
    context.filter = "none";
    context.globalAlpha = strength.value / 100;
    context.imageSmoothingEnabled = true;
    context.drawImage(grid, frame[0] * columns, frame[1] * rows, frame[2] * columns, frame[3] * rows,
      box[0] * width, box[1] * height, box[2] * width, box[3] * height);
    spots.forEach((spot) => { spot.hidden = false; spot.style.left = `${at[0] * 100}%`; spot.style.top = `${at[1] * 100}%`; });
    tell(row, column);
  }

  function tell(row, column) {
    const own = data.labels[row * columns + column];
    said.textContent = `Row ${row + 1}, column ${column + 1} of ${rows} x ${columns} cells, ` +
      (own < 0 ? "in no concept." : `in ${data.names[own]}.`);
    const list = document.getElementById("shares");
    const start = (row * columns + column) * data.names.length;
    list.replaceChildren(...data.names.map((text, index) => {
      const share = Math.round(shares[start + index] / 2), item = document.createElement("li");
      const name = document.createElement("span"), meter = document.createElement("span"), value = document.createElement("span");
      name.textContent = text;
      meter.className = "meter";
      const fill = document.createElement("i");
      fill.style.width = `${share}%`;
      fill.style.background = data.colors[index];
      meter.append(fill);
      value.textContent = `${share}%`;
      item.append(name, meter, value);
      return item;
    }));
  }

  function move(x, y) {
    at = [clamp(x, box[0], box[0] + box[2]), clamp(y, box[1], box[1] + box[3])];
    draw();
  }
  all(".map").forEach((map) => map.addEventListener("click", (event) => {
    const frame = map.getBoundingClientRect();
    move((event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height);
  }));
  area.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = cell();
    const x = ((column + 0.5 + step[0]) / columns - frame[0]) / frame[2], y = ((row + 0.5 + step[1]) / rows - frame[1]) / frame[3];
    move(box[0] + clamp(x, 0, 1) * box[2], box[1] + clamp(y, 0, 1) * box[3]);
  });
  strength.addEventListener("input", draw);
  picture.addEventListener("load", draw);
  picture.src = photo.querySelector("image").getAttribute("href");
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  Promise.all([unpack(data.data), unpack(data.shares)]).then((found) => {
    [matrix, shares] = found;
    draw();
  });
})();
