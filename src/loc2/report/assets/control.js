// Pointer, keyboard, sliders, toggles and hypotheses.

function select(changes) {
  Object.assign(state, { cell: -1, aerialCell: -1 }, changes);
  draw();
}

function position(panel, size, event) {
  const box = panel.getBoundingClientRect();
  const scale = size.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function groundSelection(event) {
  return { cell: nearestCell(...position(ground, data.ground, event), 1.5 * cells.size) };
}

function aerialSelection(event) {
  return { aerialCell: aerialCellAt(...position(aerial, data.aerial, event)) };
}

for (const [panel, find] of [[ground, groundSelection], [aerial, aerialSelection]]) {
  panel.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !state.pinned) select(find(event));
  });
  panel.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && !state.pinned) select({});
  });
  panel.addEventListener("click", (event) => {
    const found = find(event);
    const chosen = Object.values(found)[0] >= 0;
    const same = Object.entries(found).every(([key, value]) => state[key] === value);
    state.pinned = chosen && !(state.pinned && same);
    select(state.pinned || event.pointerType === "mouse" ? found : {});
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The nearest ground cell in a direction; sideways distance counts double. */
function neighbor(cell, [dx, dy]) {
  let best = cell, least = Infinity;
  for (let i = 0; i < cellCount; i++) {
    const u = cells.ground[2 * i] - cells.ground[2 * cell];
    const v = cells.ground[2 * i + 1] - cells.ground[2 * cell + 1];
    const along = u * dx + v * dy, across = Math.abs(u * dy) + Math.abs(v * dx);
    if (along > 0.25 * cells.size && along + 2 * across < least) {
      least = along + 2 * across;
      best = i;
    }
  }
  return best;
}

ground.addEventListener("keydown", (event) => {
  if (!(event.key in ARROWS) || !cellCount) return;
  event.preventDefault();
  state.pinned = true;
  const middle = () => nearestCell(data.ground.width / 2, data.ground.height / 2, Infinity);
  select({ cell: state.cell < 0 ? middle() : neighbor(state.cell, ARROWS[event.key]) });
});

aerial.addEventListener("keydown", (event) => {
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  state.pinned = true;
  const { rows, cols } = cells.grid;
  const now = state.aerialCell < 0
    ? Math.floor(rows / 2) * cols + Math.floor(cols / 2) : state.aerialCell;
  const [dx, dy] = state.aerialCell < 0 ? [0, 0] : ARROWS[event.key];
  const col = Math.min(cols - 1, Math.max(0, (now % cols) + dx));
  const row = Math.min(rows - 1, Math.max(0, Math.floor(now / cols) + dy));
  select({ aerialCell: row * cols + col });
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    state.pinned = false;
    select({});
  } else if (/^[1-9]$/.test(event.key) && event.key <= data.hypotheses.length) {
    choose(Number(event.key) - 1);
  }
});

for (const name of ["lines", "inliers", "outliers", "layout", "posterior", "camera"]) {
  const box = byId(`show-${name}`);
  state[name] = box.checked;
  box.addEventListener("change", () => {
    state[name] = box.checked;
    draw();
  });
}

const opacity = byId("opacity");
state.opacity = Number(opacity.value) / 100;
opacity.addEventListener("input", () => {
  state.opacity = Number(opacity.value) / 100;
  if (!state.layout) byId("show-layout").click();
  draw();
});

const threshold = byId("threshold");
/** The slider runs over the matches by rank, so that every step changes what is shown. */
function applyThreshold() {
  const sorted = Array.from(data.hypotheses[state.hypothesis].weight).sort((a, b) => a - b);
  const rank = Math.min(cellCount - 1, Math.round((Number(threshold.value) / 1000) * cellCount));
  state.threshold = cellCount ? sorted[Math.max(0, rank)] : 0;
  byId("threshold-value").textContent = `≥ ${state.threshold.toPrecision(2)}`;
  draw();
}
threshold.addEventListener("input", applyThreshold);

const choices = byId("choices");
data.hypotheses.forEach((h, i) => {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "radio");
  const parts = [`${i + 1}`, h.mass < 0.01 ? "< 1 %" : share(h.mass),
    `${signed(h.east)} m E, ${signed(h.north)} m N, ${h.heading.toFixed(0)}°`];
  for (const part of parts) {
    button.appendChild(document.createElement("span")).textContent = part;
  }
  button.addEventListener("click", () => choose(i));
  choices.appendChild(button);
});

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}

function choose(index) {
  const count = data.hypotheses.length;
  state.hypothesis = (index + count) % count;
  [...choices.children].forEach((button, i) => {
    const now = i === state.hypothesis;
    button.setAttribute("aria-checked", now);
    button.tabIndex = now ? 0 : -1;
    if (now && choices.contains(document.activeElement)) button.focus();
  });
  const h = data.hypotheses[state.hypothesis];
  byId("which").textContent = `Answer ${state.hypothesis + 1} of ${count}`;
  const angle = (h.heading * Math.PI) / 180;
  byId("rose-now").setAttribute("x2", 44 * Math.sin(angle));
  byId("rose-now").setAttribute("y2", -44 * Math.cos(angle));
  applyThreshold();
}
byId("previous").addEventListener("click", () => choose(state.hypothesis - 1));
byId("next").addEventListener("click", () => choose(state.hypothesis + 1));
choices.addEventListener("keydown", (event) => {
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  const [dx, dy] = ARROWS[event.key];
  choose(state.hypothesis + dx + dy);
});

{
  const heading = data.posterior.heading, top = Math.max(...heading, 1e-12);
  const half = Math.PI / heading.length;
  heading.forEach((p, i) => {
    const r = 44 * Math.sqrt(p / top), middle = 2 * half * i;
    const point = (a) => `${r * Math.sin(a)} ${-r * Math.cos(a)}`;
    const d = `M0 0L${point(middle - half)}L${point(middle + half)}Z`;
    element(byId("rose-bars"), "path", { d, class: "bar" });
  });
}

layoutImage.src = data.layout.image;
const resized = new ResizeObserver(() => {
  draw();
  drawAnswers();
});
resized.observe(stage);
for (const { panel } of answerPanels) resized.observe(panel);
choose(0);
document.documentElement.dataset.ready = "yes";
