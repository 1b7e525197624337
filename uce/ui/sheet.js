// The picture with its things: a click chooses, adds or takes away, which the server works out; the brush paints on a
// canvas, and what is opaque on it is the control's value after every stroke.
const $ = (name) => element.querySelector(".uce-sheet-" + name);
const view = $("view"), inner = $("inner"), canvas = $("canvas"), pen = canvas.getContext("2d"), cross = $("cross");
let shown = null, tool = "add", painting = false, last = null, strokes = [], zoom = 1, at = null, down = false;

const say = (text) => { $("said").textContent = text; };
const keep = () => { props.value = { painted: canvas.toDataURL("image/png") }; };
const choose = (name) => {
  tool = name;
  for (const button of element.querySelectorAll("[data-tool]"))
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
};
const resize = (to) => {
  const middle = [(view.scrollLeft + view.clientWidth / 2) / inner.clientWidth,
                  (view.scrollTop + view.clientHeight / 2) / inner.clientHeight];
  zoom = Math.min(8, Math.max(1, to));
  inner.style.width = "calc(" + zoom + " * min(100%, 70vh * " + shown.width / shown.height + "))";
  element.querySelector("output").textContent = Math.round(100 * zoom) + "%";
  view.scrollLeft = middle[0] * inner.clientWidth - view.clientWidth / 2;
  view.scrollTop = middle[1] * inner.clientHeight - view.clientHeight / 2;
};

const svg = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const outline = () => {
  const drawing = $("outlines"), unit = Math.max(shown.width, shown.height);
  drawing.setAttribute("viewBox", "0 0 " + shown.width + " " + shown.height);
  drawing.replaceChildren();
  for (const thing of shown.things) {
    const kind = (thing.chosen ? " chosen" : "") + (thing.wanted ? "" : " unwanted");
    for (const layer of ["rim", "line"])
      drawing.append(svg("path", { class: layer + kind, d: thing.path, style: "--tone: " + thing.color }));
  }
  for (const thing of shown.things.filter((one) => one.at && !painting)) {
    const mark = svg("g", { transform: "translate(" + thing.at + ") scale(" + unit / 34 + ")" });
    const text = svg("text", { y: 0.03, fill: thing.ink });
    text.textContent = thing.number;
    mark.append(svg("circle", { r: 0.62, fill: thing.color, stroke: "#fff", "stroke-width": 0.1 }), text);
    drawing.append(mark);
  }
};
const names = () => {
  $("names").replaceChildren(...shown.things.map((thing) => {
    const chip = document.createElement("button"), dot = document.createElement("i");
    chip.type = "button";
    dot.style.background = thing.color;
    dot.style.color = thing.ink;
    dot.textContent = thing.number;
    chip.setAttribute("aria-pressed", String(thing.chosen));
    chip.append(dot, thing.title);
    chip.addEventListener("click", () => trigger("select", { name: thing.name }));
    return chip;
  }));
};
const show = async () => {
  const given = props.value;
  if (!given || !given.picture) return;
  const other = !shown || shown.picture !== given.picture;
  shown = given;
  painting = Boolean(given.painting);
  if (other) $("picture").src = given.picture;
  $("pick").hidden = painting;
  $("brush").hidden = canvas.hidden = !painting;
  $("names").hidden = painting;
  if (painting || tool === "paint" || tool === "erase") choose(painting ? "paint" : "add");
  if (other) { at = [given.width / 2, given.height / 2]; resize(1); }
  outline();
  names();
  strokes = [];
  lift();
  say("");
  $("undo").disabled = true;
  delete canvas.dataset.ready;
  if (!painting) return;
  canvas.width = given.width;
  canvas.height = given.height;
  if (given.painting.mask) {
    const mask = new Image();
    mask.src = given.painting.mask;
    await mask.decode();
    pen.drawImage(mask, 0, 0);
  }
  canvas.dataset.ready = "yes";
};

const place = (event) => {
  const box = inner.getBoundingClientRect();
  return [(event.clientX - box.left) * shown.width / box.width, (event.clientY - box.top) * shown.height / box.height];
};
const act = (how) => {
  say({ add: "Looking what belongs to that place", take: "Taking away what belongs to that place",
        new: "Looking what is at that place" }[how] + " …");
  trigger("click", { x: at[0], y: at[1], how });
};
const remember = () => {
  strokes.push(pen.getImageData(0, 0, canvas.width, canvas.height));
  strokes = strokes.slice(-12);
  $("undo").disabled = false;
};
const line = (to) => {
  pen.globalCompositeOperation = tool === "erase" ? "destination-out" : "source-over";
  pen.strokeStyle = "rgb(255, 64, 129)";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = Math.max(canvas.width, canvas.height) * $("size").value / 100 / zoom;
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...to);
  pen.stroke();
  last = to;
};
const lift = () => { if (last) { last = null; down = false; keep(); } };

inner.addEventListener("click", (event) => {
  if (painting || !shown) return;
  at = place(event);
  act(tool);
});
inner.addEventListener("contextmenu", (event) => {
  event.preventDefault();
  if (painting || !shown) return;
  at = place(event);
  act("take");
});
canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  remember();
  last = place(event);
  line(last);
});
canvas.addEventListener("pointermove", (event) => { if (last && !down) line(place(event)); });
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);

const move = (x, y) => {
  at = [Math.min(shown.width - 1, Math.max(0, at[0] + x)), Math.min(shown.height - 1, Math.max(0, at[1] + y))];
  cross.hidden = false;
  cross.style.left = 100 * at[0] / shown.width + "%";
  cross.style.top = 100 * at[1] / shown.height + "%";
  cross.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (down) line(at);
  say("At " + Math.round(100 * at[0] / shown.width) + "% from the left, " + Math.round(100 * at[1] / shown.height) + "% from above");
};
view.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = Math.max(shown.width, shown.height) / (event.shiftKey ? 160 : 40) / zoom;
  const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (ways[event.key]) move(...ways[event.key]);
  else if (event.key === "Enter" || event.key === " ") {
    move(0, 0);
    if (!painting) act(tool);
    else if (down) { lift(); say("The brush is up"); }
    else { remember(); last = at; down = true; line(at); say("The brush is down: the arrow keys paint, Enter lifts it"); }
  } else if (event.key === "Delete" || event.key === "Backspace") { if (!painting) act("take"); }
  else if (event.key === "+" || event.key === "=") resize(zoom * 1.5);
  else if (event.key === "-") resize(zoom / 1.5);
  else if (event.key === "[" || event.key === "]") $("size").value = Number($("size").value) + (event.key === "]" ? 1 : -1);
  else if (event.key === "e" && painting) choose(tool === "erase" ? "paint" : "erase");
  else if (event.key === "Escape") { lift(); cross.hidden = true; }
  else return;
  event.preventDefault();
});
view.addEventListener("blur", lift);
view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey || !shown) return;
  event.preventDefault();
  resize(zoom * (event.deltaY < 0 ? 1.25 : 0.8));
}, { passive: false });
for (const button of element.querySelectorAll("[data-tool]"))
  button.addEventListener("click", () => choose(button.dataset.tool));
for (const button of element.querySelectorAll("[data-zoom]"))
  button.addEventListener("click", () => shown && resize(zoom * (button.dataset.zoom === "in" ? 1.5 : 1 / 1.5)));
$("undo").addEventListener("click", () => {
  pen.putImageData(strokes.pop(), 0, 0);
  $("undo").disabled = !strokes.length;
  keep();
});
$("clear").addEventListener("click", () => { remember(); pen.clearRect(0, 0, canvas.width, canvas.height); keep(); });
watch("value", show);
show();
