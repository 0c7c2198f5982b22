// Drawing. Everything is redrawn from the state; marks keep their size on the screen.

const byId = (id) => document.getElementById(id);
const ground = byId("ground"), aerial = byId("aerial"), stage = byId("stage");
const groundMarks = byId("ground-marks"), aerialMarks = byId("aerial-marks");
const lines = byId("lines"), layoutImage = byId("layout-image");
const INK = "#15181c", PAPER = "#ffffff", YELLOW = "#f0e442", GREEN = "#009e73";

const state = {
  hypothesis: 0, threshold: 0, cell: -1, aerialCell: -1, pinned: false, opacity: 0.9,
  lines: true, inliers: true, outliers: true, layout: false, posterior: false, camera: true,
};

function element(parent, name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  parent.appendChild(node);
  return node;
}

function line(parent, x1, y1, x2, y2, attributes) {
  return element(parent, "line", { x1, y1, x2, y2, ...attributes });
}

/** A mark visible on any background: a dark edge around a light line. */
function outlined(draw, color, width) {
  draw({ stroke: INK, "stroke-width": width + 2, fill: "none" });
  return draw({ stroke: color, "stroke-width": width, fill: "none" });
}

function paint(canvas, entries, cols, rows, box, scale) {
  canvas.width = cols;
  canvas.height = rows;
  Object.assign(canvas.style, {
    left: `${box.x * scale}px`, top: `${box.y * scale}px`,
    width: `${cols * box.step * scale}px`, height: `${rows * box.step * scale}px`,
  });
  const context = canvas.getContext("2d");
  const image = context.createImageData(cols, rows);
  for (const [index, share] of entries) image.data.set(heatColor(share), 4 * index);
  context.putImageData(image, 0, 0);
}

function heatColor(share) {
  const ramp = data.probabilityColors;
  return ramp[Math.min(ramp.length - 1, Math.round(share * (ramp.length - 1)))];
}

function draw() {
  const pose = data.hypotheses[state.hypothesis];
  const scaleG = ground.clientWidth / data.ground.width;
  const scaleA = aerial.clientWidth / data.aerial.width;
  groundMarks.replaceChildren();
  aerialMarks.replaceChildren();
  lines.replaceChildren();
  layoutImage.hidden = !state.layout;
  layOut(layoutImage, pose, scaleA, state.opacity);
  drawPosterior(scaleA);
  drawMatches(pose, scaleG, scaleA);
  if (state.camera) drawCamera(aerialMarks, pose, scaleA, state.hypothesis === 0);
  drawSpot(pose, scaleG, scaleA);
  aerial.classList.toggle("dim", state.layout || state.posterior || state.cell >= 0);
}

/** Put the drawing of the photo's ground where a pose says. */
function layOut(image, pose, scaleA, opacity) {
  const [u, v] = aerialPx(pose.east, pose.north);
  // the drawing is in metres of the best hypothesis; another scale stretches it
  const stretch = pose.scale / data.hypotheses[0].scale;
  const side = (2 * data.layout.radius * stretch * scaleA) / data.aerial.metersPerPixel;
  Object.assign(image.style, {
    width: `${side}px`, height: `${side}px`, opacity,
    left: `${u * scaleA - side / 2}px`, top: `${v * scaleA - side / 2}px`,
    transform: `rotate(${pose.heading}deg)`,
  });
}

const posteriorEntries = Array.from(bytes(data.posterior.map), (q, i) => [i, q / 255]);
function drawPosterior(scaleA) {
  const canvas = byId("posterior-map"), p = data.posterior;
  canvas.hidden = !state.posterior || state.cell >= 0;
  if (!canvas.hidden) paint(canvas, posteriorEntries, p.cols, p.rows, p, scaleA);
}

function drawMatches(answer, scaleG, scaleA) {
  const from = ground.getBoundingClientRect(), to = aerial.getBoundingClientRect();
  const origin = stage.getBoundingClientRect();
  const chosen = state.cell >= 0 || state.aerialCell >= 0;
  for (const marks of [groundMarks, aerialMarks]) marks.classList.toggle("chosen", chosen);
  const all = [], shown = [];
  for (let i = 0; i < cellCount; i++) {
    const match = [i, agrees(answer, i)];
    all.push(match);
    if (answer.weight[i] >= state.threshold) shown.push(match);
  }
  shown.sort((a, b) => a[1] - b[1]); // agreeing ones on top
  for (const [i, good] of shown) {
    if (!(good ? state.inliers : state.outliers)) continue;
    const x1 = cells.ground[2 * i] * scaleG, y1 = cells.ground[2 * i + 1] * scaleG;
    const x2 = answer.found[2 * i] * scaleA, y2 = answer.found[2 * i + 1] * scaleA;
    const color = bearingColor(bearing(cells.bev[2 * i], cells.bev[2 * i + 1]));
    const places = [[groundMarks, x1, y1]];
    if (answer.weight[i] > 0) places.push([aerialMarks, x2, y2]);
    for (const [marks, x, y] of places) {
      if (good) {
        element(marks, "circle", {
          cx: x, cy: y, r: 4, fill: color, stroke: INK, class: "match inlier", "data-cell": i,
        });
      } else {
        const cross = `M${x - 3} ${y - 3}l6 6m0 -6l-6 6`;
        element(marks, "path", { d: cross, stroke: PAPER, "stroke-width": 3, class: "edge" });
        element(marks, "path", {
          d: cross, stroke: INK, "stroke-width": 1.4, class: "match outlier", "data-cell": i,
        });
      }
    }
    if (!state.lines || chosen || answer.weight[i] === 0) continue;
    const style = good
      ? { stroke: color, "stroke-width": 1.6, "stroke-opacity": 0.85, class: "link inlier" }
      : { stroke: "#767d86", "stroke-width": 1, "stroke-dasharray": "4 4",
          "stroke-opacity": 0.6, class: "link outlier" };
    line(lines, from.left - origin.left + x1, from.top - origin.top + y1,
      to.left - origin.left + x2, to.top - origin.top + y2, style);
  }
  const good = (list) => list.filter((match) => match[1]).length;
  byId("shown").textContent =
    `${shown.length} of ${cellCount} matches shown; ${good(shown)} of these agree with this ` +
    `answer (${good(all)} of all)`;
}

function drawCamera(marks, pose, scaleA, uncertain) {
  const [u, v] = aerialPx(pose.east, pose.north);
  const x = u * scaleA, y = v * scaleA, length = 0.13 * scaleA * data.aerial.width;
  if (uncertain) {
    const half = Math.max(2, Math.min(179.9, data.headingHalfWidth));
    const [ax, ay] = ahead(x, y, pose.heading - half, length);
    const [bx, by] = ahead(x, y, pose.heading + half, length);
    element(marks, "path", {
      d: `M${x} ${y}L${ax} ${ay}A${length} ${length} 0 ${half > 90 ? 1 : 0} 1 ${bx} ${by}Z`,
      fill: YELLOW, "fill-opacity": 0.4, class: "heading-wedge",
    });
    const toPx = scaleA / data.aerial.metersPerPixel;
    outlined((style) => element(marks, "ellipse", {
      cx: 0, cy: 0, rx: data.ellipse.long * toPx, ry: data.ellipse.short * toPx,
      transform: `translate(${x} ${y}) rotate(${data.ellipse.bearing - 90})`,
      class: "ellipse", ...style,
    }), PAPER, 1.6);
  }
  const tip = ahead(x, y, pose.heading, length);
  outlined((style) => line(marks, x, y, tip[0], tip[1], { class: "heading", ...style }),
    YELLOW, 2);
  element(marks, "circle", {
    cx: x, cy: y, r: 5.5, fill: YELLOW, stroke: INK, "stroke-width": 1.6, class: "camera",
  });
  if (data.truth) {
    const [tu, tv] = aerialPx(data.truth.east, data.truth.north);
    const [tx, ty] = [tu * scaleA, tv * scaleA];
    const end = ahead(tx, ty, data.truth.heading, 0.8 * length);
    line(marks, tx, ty, end[0], end[1], { stroke: PAPER, "stroke-width": 4 });
    line(marks, tx, ty, end[0], end[1],
      { stroke: GREEN, "stroke-width": 2, "stroke-dasharray": "5 3" });
    element(marks, "path", {
      d: `M${tx - 6} ${ty}h12M${tx} ${ty - 6}v12`, stroke: PAPER, "stroke-width": 6,
    });
    element(marks, "path", {
      d: `M${tx - 5} ${ty}h10M${tx} ${ty - 5}v10`, stroke: GREEN, "stroke-width": 3.5,
      class: "truth",
    });
  }
}

function ahead(x, y, heading, length) {
  const angle = (heading * Math.PI) / 180;
  return [x + length * Math.sin(angle), y - length * Math.cos(angle)];
}

/** The spot under the pointer or keyboard, its probability on the other side, in words too. */
function drawSpot(pose, scaleG, scaleA) {
  const pointMap = byId("point-map"), groundMap = byId("ground-map"), grid = cells.grid;
  pointMap.hidden = state.cell < 0;
  groundMap.hidden = state.aerialCell < 0;
  if (state.cell >= 0) {
    const entries = mapOf(state.cell), peak = maps.peak[state.cell];
    paint(pointMap, entries.map(([i, p]) => [i, p / peak]), grid.cols, grid.rows, grid, scaleA);
    markCell(state.cell, scaleG);
    drawLink(pose, state.cell, scaleG, scaleA);
  } else if (state.aerialCell >= 0) {
    const entries = groundOf(state.aerialCell);
    const top = entries.reduce((most, [, p]) => Math.max(most, p), 0);
    groundMap.width = Math.round(ground.clientWidth);
    groundMap.height = Math.round(ground.clientHeight);
    Object.assign(groundMap.style, { left: 0, top: 0, width: "100%", height: "100%" });
    const context = groundMap.getContext("2d"), size = cells.size * scaleG;
    for (const [cell, p] of entries) {
      const [r, g, b, a] = heatColor(p / top);
      context.fillStyle = `rgba(${r},${g},${b},${a / 255})`;
      context.fillRect(cells.ground[2 * cell] * scaleG - size / 2,
        cells.ground[2 * cell + 1] * scaleG - size / 2, size, size);
    }
    const [u, v] = aerialCellCenter(state.aerialCell), side = grid.step * scaleA;
    outlined((style) => element(aerialMarks, "rect", {
      x: u * scaleA - side / 2, y: v * scaleA - side / 2, width: side, height: side,
      class: "spot-cell", ...style,
    }), PAPER, 2);
  }
  byId("spot").textContent = describe(pose);
}

function markCell(cell, scaleG) {
  const size = cells.size * scaleG;
  outlined((style) => element(groundMarks, "rect", {
    x: cells.ground[2 * cell] * scaleG - size / 2, y: cells.ground[2 * cell + 1] * scaleG - size / 2,
    width: size, height: size, class: "spot-cell", ...style,
  }), PAPER, 2);
}

function drawLink(pose, cell, scaleG, scaleA) {
  const [u, v] = placePx(pose, cells.bev[2 * cell], cells.bev[2 * cell + 1]);
  outlined((style) => element(aerialMarks, "circle", {
    cx: u * scaleA, cy: v * scaleA, r: 9, class: "spot-posed", ...style,
  }), PAPER, 2);
  if (pose.weight[cell] === 0) return;
  const x = pose.found[2 * cell] * scaleA, y = pose.found[2 * cell + 1] * scaleA;
  element(aerialMarks, "path", {
    d: `M${x} ${y - 8}l8 8l-8 8l-8 -8Z`, fill: YELLOW, stroke: INK, "stroke-width": 1.6,
    class: "spot-match",
  });
  const from = ground.getBoundingClientRect(), to = aerial.getBoundingClientRect();
  const origin = stage.getBoundingClientRect();
  outlined((style) => line(lines,
    from.left - origin.left + cells.ground[2 * cell] * scaleG,
    from.top - origin.top + cells.ground[2 * cell + 1] * scaleG,
    to.left - origin.left + x, to.top - origin.top + y, { class: "link spot", ...style }),
  YELLOW, 2);
}

function describe(pose) {
  if (state.cell >= 0) {
    const right = cells.bev[2 * state.cell], forward = cells.bev[2 * state.cell + 1];
    const angle = bearing(right, forward), side = angle < 0 ? "left" : "right";
    const away = Math.hypot(right, forward) * pose.scale;
    let text = `Spot in the photo: ${Math.abs(angle).toFixed(0)}° to the ${side} of forward, ` +
      `${away.toFixed(1)} m away. `;
    if (pose.weight[state.cell] === 0) {
      text += "This answer puts it (ring) outside the map. ";
    } else {
      text += "Around where this answer puts it (ring), the most similar place (diamond) is " +
        `${residual(pose, state.cell).toFixed(1)} m off: ` +
        `it ${agrees(pose, state.cell) ? "agrees" : "disagrees"}. `;
    }
    text += `On the whole map, its best cell holds ${share(maps.peak[state.cell])} of its ` +
      "probability.";
    return text;
  }
  if (state.aerialCell >= 0) {
    const [u, v] = aerialCellCenter(state.aerialCell), mpp = data.aerial.metersPerPixel;
    const east = (u - data.aerial.width / 2) * mpp, north = (data.aerial.height / 2 - v) * mpp;
    const entries = groundOf(state.aerialCell);
    return `Place on the map: ${east.toFixed(1)} m east, ${north.toFixed(1)} m north. ` +
      (entries.length ? `${entries.length} spots of the photo may lie here; lighter: likelier.`
        : "No spot of the photo is likely to lie here.");
  }
  return "Point at the photo to see where that spot may lie on the map, or at the map to see " +
    "which spots of the photo may lie there.";
}

/** The best answers side by side, each with the photo's ground laid on the map. */
const SHOWN_ANSWERS = 3, SHOWN_SHARE = 0.2;
const answerPanels = data.hypotheses
  .filter((h, i) => i < SHOWN_ANSWERS && h.mass >= SHOWN_SHARE * data.hypotheses[0].mass)
  .map((pose, i) => {
    const figure = byId("answers").appendChild(document.createElement("figure"));
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.textContent = `Answer ${i + 1}: ${share(pose.mass)} of the probability`;
    const panel = figure.appendChild(document.createElement("div"));
    panel.className = "panel dim";
    const map = panel.appendChild(document.createElement("img"));
    map.src = aerial.querySelector("img").src;
    map.alt = `Aerial image with the photo's ground laid on it, answer ${i + 1}`;
    const layout = panel.appendChild(document.createElement("img"));
    Object.assign(layout, { className: "layout", alt: "", src: data.layout.image });
    const marks = element(panel, "svg", { "aria-hidden": "true" });
    panel.addEventListener("click", () => choose(i));
    return { panel, layout, marks, pose, first: i === 0 };
  });

function drawAnswers() {
  for (const { panel, layout, marks, pose, first } of answerPanels) {
    const scale = panel.clientWidth / data.aerial.width;
    marks.replaceChildren();
    layOut(layout, pose, scale, 0.95);
    drawCamera(marks, pose, scale, first);
  }
}

function share(p) {
  return p < 0.01 ? "under 1 %" : `${Math.round(100 * p)} %`;
}
