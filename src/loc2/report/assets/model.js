// The data of the page and the geometry on it. Conventions are those of loc2.frames: metres east
// and north of the aerial image's centre, headings clockwise from image up, pixels from the corner.

const data = JSON.parse(document.getElementById("data").textContent);
const cells = data.cells;
const cellCount = cells.ground.length / 2;

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function floats(base64) {
  return new Float32Array(bytes(base64).buffer);
}

// One match for each ground cell and answer: each answer is explained in its own way.
for (const answer of data.hypotheses) {
  answer.found = floats(answer.found);
  answer.weight = floats(answer.weight);
}

const maps = (() => {
  const packed = cells.maps;
  const count = bytes(packed.count);
  const raw = bytes(packed.index).buffer;
  const index = packed.indexBytes === 2 ? new Uint16Array(raw) : new Uint32Array(raw);
  const value = bytes(packed.value);
  const start = new Uint32Array(count.length + 1);
  for (let i = 0; i < count.length; i++) start[i + 1] = start[i] + count[i];
  return { index, value, start, peak: packed.peak };
})();

/** Entries [aerial cell, probability] of a ground cell's map. */
function mapOf(cell) {
  const entries = [];
  for (let i = maps.start[cell]; i < maps.start[cell + 1]; i++) {
    entries.push([maps.index[i], maps.peak[cell] * (maps.value[i] / 255) ** 2]);
  }
  return entries;
}

let inverse = null;
/** Entries [ground cell, probability] of an aerial cell: who may lie there. */
function groundOf(aerialCell) {
  if (!inverse) {
    inverse = new Map();
    for (let cell = 0; cell < cellCount; cell++) {
      for (const [index, p] of mapOf(cell)) {
        if (!inverse.has(index)) inverse.set(index, []);
        inverse.get(index).push([cell, p]);
      }
    }
  }
  return inverse.get(aerialCell) || [];
}

/** Where a pose puts a point (right, forward): metres east and north. */
function place(pose, right, forward) {
  const angle = (pose.heading * Math.PI) / 180;
  const cos = Math.cos(angle), sin = Math.sin(angle);
  return [
    pose.east + pose.scale * (right * cos + forward * sin),
    pose.north + pose.scale * (forward * cos - right * sin),
  ];
}

function aerialPx(east, north) {
  const mpp = data.aerial.metersPerPixel;
  return [data.aerial.width / 2 + east / mpp, data.aerial.height / 2 - north / mpp];
}

function placePx(pose, right, forward) {
  return aerialPx(...place(pose, right, forward));
}

/** Metres between where a cell was found and where the answer puts it. */
function residual(answer, cell) {
  const [u, v] = placePx(answer, cells.bev[2 * cell], cells.bev[2 * cell + 1]);
  const du = u - answer.found[2 * cell], dv = v - answer.found[2 * cell + 1];
  return Math.hypot(du, dv) * data.aerial.metersPerPixel;
}

function agrees(answer, cell) {
  return answer.weight[cell] > 0 && residual(answer, cell) <= data.inlierMeters;
}

function bearing(right, forward) {
  return (Math.atan2(right, forward) * 180) / Math.PI;
}

function bearingColor(degrees) {
  const n = data.bearingColors.length;
  return data.bearingColors[Math.min(n - 1, Math.floor(((degrees + 180) / 360) * n))];
}

function nearestCell(u, v, reach) {
  let best = -1, least = reach;
  for (let i = 0; i < cellCount; i++) {
    const d = Math.hypot(cells.ground[2 * i] - u, cells.ground[2 * i + 1] - v);
    if (d < least) { least = d; best = i; }
  }
  return best;
}

function aerialCellAt(u, v) {
  const grid = cells.grid;
  const col = Math.floor((u - grid.x) / grid.step), row = Math.floor((v - grid.y) / grid.step);
  const inside = col >= 0 && row >= 0 && col < grid.cols && row < grid.rows;
  return inside ? row * grid.cols + col : -1;
}

function aerialCellCenter(index) {
  const grid = cells.grid;
  return [
    grid.x + ((index % grid.cols) + 0.5) * grid.step,
    grid.y + (Math.floor(index / grid.cols) + 0.5) * grid.step,
  ];
}
