// The brush: a canvas over the picture. What is opaque on it is painted; after every stroke it is the control's value.
const $ = (name) => element.querySelector(".uce-brush-" + name);
const canvas = $("canvas"), picture = $("picture"), pen = canvas.getContext("2d");
let erasing = false, last = null, strokes = [];

const keep = () => { props.value = { painted: canvas.toDataURL("image/png") }; };
const remember = () => {
  strokes.push(pen.getImageData(0, 0, canvas.width, canvas.height));
  strokes = strokes.slice(-12);
  $("undo").disabled = false;
};
const choose = (eraser) => {
  erasing = eraser;
  $("paint").setAttribute("aria-pressed", String(!eraser));
  $("erase").setAttribute("aria-pressed", String(eraser));
};
const show = async () => {
  const given = props.value;
  if (!given || !given.picture) return;
  picture.src = given.picture;
  canvas.width = given.width;
  canvas.height = given.height;
  const ratio = given.width / given.height;
  $("sheet").style.aspectRatio = ratio;
  $("sheet").style.width = "min(640px, 100%, calc(75vh * " + ratio + "))";
  strokes = [];
  $("undo").disabled = true;
  choose(false);
  if (given.mask) {
    const mask = new Image();
    mask.src = given.mask;
    await mask.decode();
    pen.drawImage(mask, 0, 0);
  }
  canvas.dataset.ready = "yes";
};
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
};
const line = (to) => {
  pen.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  pen.strokeStyle = "rgb(255, 64, 129)";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = Math.max(canvas.width, canvas.height) * $("size").value / 100;
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...to);
  pen.stroke();
  last = to;
};

canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  remember();
  last = place(event);
  line(last);
});
canvas.addEventListener("pointermove", (event) => { if (last) line(place(event)); });
const lift = () => { if (last) { last = null; keep(); } };
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
$("paint").addEventListener("click", () => choose(false));
$("erase").addEventListener("click", () => choose(true));
$("undo").addEventListener("click", () => {
  pen.putImageData(strokes.pop(), 0, 0);
  $("undo").disabled = !strokes.length;
  keep();
});
$("clear").addEventListener("click", () => { remember(); pen.clearRect(0, 0, canvas.width, canvas.height); keep(); });
watch("value", show);
show();
