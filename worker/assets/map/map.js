// The map: asks for figures every two seconds while it is looked at, and draws what is new.

const REFRESH_MS = 2000;
const CLASSES = 7;
const CLASS_STEP = 0.5; // fixed, so that a colour means the same in every window
const HEIGHT = 1000; // of the map, in its own units
const NO_WINDOW = 'none';
const SVG = 'http://www.w3.org/2000/svg';

const by = (id) => document.getElementById(id);
const slider = by('slider');
const follow = by('follow');
const day = by('day');

const state = {
  list: null, // answer of api/windows
  until: null, // end of the slider where a day is chosen, else the newest
  start: null, // of the chosen window
  figures: null, // of that window
  neighbourhood: null, // that is chosen
  shapes: new Map(), // by neighbourhood: {path, x, y}
};

// --- Asking ---

async function ask(target) {
  const answer = await fetch(`api/${target}`);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${answer.status} ${answer.statusText}`);
  return answer.json();
}

/** Runs one refresh at a time; of those that are asked for meanwhile the last is made up for. */
function oneAtATime(work) {
  let running = false;
  let again = false;
  return async () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      await work();
    } while (again);
    running = false;
  };
}

const refresh = oneAtATime(async () => {
  try {
    await refreshWindows();
    if (state.start) {
      await refreshFigures();
      await refreshLine();
    }
    const { notice } = state.list;
    say(notice ?? (state.start ? '' : nothing(state.list)), notice !== null);
  } catch (error) {
    const lost = error instanceof TypeError;
    say(lost ? 'The server does not answer; what is shown is the last that it said.' : error.message, true);
  }
});

async function refreshWindows() {
  const until = state.until ? `?until=${state.until}` : '';
  const list = await ask(`windows${until}`);
  state.list = list;
  const chosen = list.windows.some(({ start }) => start === state.start);
  if (follow.checked || !chosen) state.start = following(list.windows)?.start ?? null;
  drawTime();
}

const nothing = ({ first }) => (first ? 'No window of that day holds a trip.' : 'No window holds a trip yet.');

/** The window that closes next holds most of its trips; where all have closed, the last. */
function following(windows) {
  return windows.find((window) => !window.final) ?? windows.at(-1);
}

async function refreshFigures() {
  const figures = await ask(`windows/${state.start}`);
  if (figures.start !== state.start || same(figures, state.figures)) return;
  state.figures = figures;
  figures.cells.sort((a, b) => b.averageTip - a.averageTip || a.neighbourhood.localeCompare(b.neighbourhood));
  state.neighbourhood ??= figures.cells[0]?.neighbourhood ?? null;
  drawFigures();
}

let line = null;

async function refreshLine() {
  if (!state.neighbourhood) return;
  const query = new URLSearchParams({ neighbourhood: state.neighbourhood, until: state.start });
  const next = await ask(`history?${query}`);
  if (next.neighbourhood !== state.neighbourhood || same(next, line)) return;
  line = next;
  drawLine();
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function say(text, trouble = false) {
  const status = by('status');
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle('trouble', trouble);
}

// --- Words ---

const clock = (time) => time.slice(11, 16);
const money = (amount) => (amount === null ? '–' : amount.toFixed(2));
const trips = (count) => (count === 1 ? '1 trip' : `${count.toLocaleString('en')} trips`);

function windowName({ start, final }) {
  const end = new Date(Date.parse(start) + state.list.windowSeconds * 1000).toISOString();
  return `${start.slice(0, 10)} ${clock(start)}–${clock(end)} UTC, ${final ? 'final' : 'still open'}`;
}

const classOf = (average) => Math.min(Math.max(Math.floor(average / CLASS_STEP), 0), CLASSES - 1);
const className = (cell) => (cell?.trips ? `class-${classOf(cell.averageTip)}` : 'none');

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function drawn(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// --- Time ---

function drawTime() {
  const { windows, first, last } = state.list;
  day.disabled = first === null;
  day.min = first?.slice(0, 10) ?? '';
  day.max = last?.slice(0, 10) ?? '';
  const index = windows.findIndex(({ start }) => start === state.start);
  slider.disabled = index < 0;
  if (index < 0) {
    clear();
    return;
  }
  slider.max = windows.length - 1;
  slider.value = index;
  const name = windowName(windows[index]);
  slider.setAttribute('aria-valuetext', name);
  by('window').value = name;
  if (document.activeElement !== day) day.value = state.start.slice(0, 10);
}

/** Where there is no window, no figures of another one are left. */
function clear() {
  if (by('window').value === NO_WINDOW) return;
  by('window').value = NO_WINDOW;
  slider.setAttribute('aria-valuetext', NO_WINDOW);
  state.figures = null;
  nameShapes(new Map());
  by('cells').replaceChildren();
  line = null;
  by('line-title').textContent = 'The last hours';
  by('line').setAttribute('aria-label', 'No window is chosen');
  by('line').replaceChildren();
  by('points').replaceChildren();
}

slider.addEventListener('input', () => {
  follow.checked = false;
  state.start = state.list.windows[slider.valueAsNumber].start;
  drawTime();
  refresh();
});

day.addEventListener('change', () => {
  if (!day.value) return;
  follow.checked = false;
  state.until = `${day.value}T23:59:59Z`;
  refresh();
});

follow.addEventListener('change', () => {
  if (follow.checked) state.until = null;
  refresh();
});

by('time').addEventListener('submit', (event) => event.preventDefault());

// --- Map ---

/** Longitudes are shortened by the cosine of the latitude in the middle: near enough for a city. */
function projection(rings) {
  const [longitudes, latitudes] = [0, 1].map((axis) => rings.flat().map((point) => point[axis]));
  const range = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [west, east] = range(longitudes);
  const [south, north] = range(latitudes);
  const scale = HEIGHT / (north - south);
  const shorter = scale * Math.cos((((south + north) / 2) * Math.PI) / 180);
  return {
    width: (east - west) * shorter,
    project: ([longitude, latitude]) => [(longitude - west) * shorter, (north - latitude) * scale],
  };
}

const ringsOf = ({ type, coordinates }) => (type === 'MultiPolygon' ? coordinates.flat() : coordinates);

function drawMap({ features }) {
  const rings = features.flatMap(({ geometry }) => ringsOf(geometry));
  const { width, project } = projection(rings);
  const margin = HEIGHT / 100;
  by('map').setAttribute('viewBox', [-margin, -margin, width + 2 * margin, HEIGHT + 2 * margin].map(Math.round).join(' '));
  for (const { geometry, properties } of features) {
    const points = ringsOf(geometry).map((ring) => ring.map(project));
    const d = points.map((ring) => `M${ring.map((point) => point.map((n) => n.toFixed(1)).join(' ')).join('L')}Z`).join('');
    const path = drawn('path', { d, role: 'button', tabindex: -1, 'aria-pressed': false, class: 'none' }, drawn('title', {}));
    const [x, y] = [0, 1].map((axis) => mean(points[0].map((point) => point[axis])));
    path.addEventListener('click', () => {
      choose(properties.name);
      focusShape(state.shapes.get(properties.name));
    });
    path.addEventListener('keydown', (event) => onKey(event, properties.name));
    state.shapes.set(properties.name, { path, x, y });
    by('map').append(path);
  }
  // Above the borders of its neighbours.
  by('map').append(drawn('path', { id: 'outline', 'aria-hidden': true }));
  nameShapes(new Map());
  state.shapes.values().next().value?.path.setAttribute('tabindex', 0);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event, name) {
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    choose(name);
  } else if (event.key in DIRECTIONS) {
    event.preventDefault();
    const next = neighbour(name, DIRECTIONS[event.key]);
    if (next) focusShape(next);
  }
}

/** The nearest that lies more in this direction than across it. */
function neighbour(name, [dx, dy]) {
  const from = state.shapes.get(name);
  let [best, least] = [null, Infinity];
  for (const shape of state.shapes.values()) {
    const [x, y] = [shape.x - from.x, shape.y - from.y];
    const along = x * dx + y * dy;
    const across = Math.abs(x * dy) + Math.abs(y * dx);
    const distance = along + 2 * across;
    if (along > 0 && along >= across && distance < least) [best, least] = [shape, distance];
  }
  return best;
}

/** One stop for the Tab key, wherever the arrow keys have gone. */
function focusShape(shape) {
  for (const { path } of state.shapes.values()) path.setAttribute('tabindex', path === shape.path ? 0 : -1);
  shape.path.focus();
}

function nameShapes(cells) {
  for (const [name, { path }] of state.shapes) {
    const cell = cells.get(name);
    const label = cell ? `${name}: ${money(cell.averageTip)}, ${trips(cell.trips)}` : `${name}: no trips`;
    path.setAttribute('class', className(cell));
    path.setAttribute('aria-label', label);
    path.firstChild.textContent = label;
  }
}

function drawLegend() {
  const bound = (index) => (index * CLASS_STEP).toFixed(2);
  const swatch = (kind, text) => element('li', {}, element('span', { class: `swatch ${kind}` }), text);
  const classes = Array.from({ length: CLASSES }, (_, index) => {
    if (index === 0) return swatch('class-0', `below ${bound(1)}`);
    if (index === CLASSES - 1) return swatch(`class-${index}`, `${bound(index)} and more`);
    return swatch(`class-${index}`, `${bound(index)} to ${bound(index + 1)}`);
  });
  by('legend').replaceChildren(...classes, swatch('none', 'no trips'));
}

// --- Figures ---

function drawFigures() {
  const { cells } = state.figures;
  nameShapes(new Map(cells.map((cell) => [cell.neighbourhood, cell])));
  const absent = [...state.shapes.keys()].filter((name) => !cells.some((cell) => cell.neighbourhood === name)).sort();
  const all = [...cells, ...absent.map((neighbourhood) => ({ neighbourhood, averageTip: null, trips: 0 }))];
  const focused = document.activeElement?.closest('#cells tr')?.dataset.name;
  by('cells').replaceChildren(...all.map(row));
  markChosen();
  if (focused) rowOf(focused)?.querySelector('button').focus();
}

function row(cell) {
  const { neighbourhood, averageTip, trips } = cell;
  const button = element('button', { type: 'button', 'aria-pressed': false }, element('span', { class: `swatch ${className(cell)}` }), neighbourhood);
  button.addEventListener('click', () => choose(neighbourhood));
  return element(
    'tr',
    { 'data-name': neighbourhood },
    element('th', { scope: 'row' }, button),
    element('td', {}, money(averageTip)),
    element('td', {}, trips.toLocaleString('en')),
  );
}

const rowOf = (name) => [...by('cells').rows].find((row) => row.dataset.name === name);

function choose(name) {
  state.neighbourhood = name;
  markChosen();
  refresh();
}

function markChosen() {
  const name = state.neighbourhood;
  for (const [other, { path }] of state.shapes) {
    path.setAttribute('aria-pressed', other === name);
  }
  by('outline').setAttribute('d', state.shapes.get(name)?.path.getAttribute('d') ?? '');
  for (const row of by('cells').rows) {
    const chosen = row.dataset.name === name;
    row.classList.toggle('chosen', chosen);
    row.querySelector('button').setAttribute('aria-pressed', chosen);
  }
}

// --- Line ---

const PLOT = { left: 40, right: 540, top: 10, bottom: 160 };

function drawLine() {
  const { neighbourhood, points } = line;
  const some = points.filter(({ trips }) => trips > 0);
  by('line-title').textContent = `${neighbourhood}, the last hours`;
  by('points').replaceChildren(...points.map(pointRow));
  const svg = by('line');
  if (some.length === 0) {
    svg.setAttribute('aria-label', `No trip ended in ${neighbourhood} in these hours`);
    svg.replaceChildren(drawn('text', { x: PLOT.left, y: PLOT.bottom / 2 }, 'No trips'));
    return;
  }
  const averages = some.map(({ averageTip }) => averageTip);
  const [first, last] = [points[0].start, points.at(-1).start];
  const [least, most] = [Math.min(...averages), Math.max(...averages)];
  svg.setAttribute('aria-label', `Average tip in ${neighbourhood}, windows from ${clock(first)} to ${clock(last)} UTC: between ${money(least)} and ${money(most)}`);
  const top = Math.max(Math.ceil(most / CLASS_STEP), 1) * CLASS_STEP;
  const bottom = Math.min(Math.floor(least / CLASS_STEP), 0) * CLASS_STEP;
  const [begin, end] = [Date.parse(first), Date.parse(last)];
  const x = (start) => PLOT.left + ((Date.parse(start) - begin) / (end - begin || 1)) * (PLOT.right - PLOT.left);
  const y = (average) => PLOT.bottom - ((average - bottom) / (top - bottom)) * (PLOT.bottom - PLOT.top);
  svg.replaceChildren(
    ...[bottom, (bottom + top) / 2, top].flatMap((amount) => gridLine(amount, y(amount))),
    ...hours(points).map((start) => drawn('text', { x: x(start), y: PLOT.bottom + 20, 'text-anchor': 'middle' }, clock(start))),
    drawn('path', { class: 'average', d: strokes(points, x, y) }),
    ...some.map((point) => drawn('circle', { cx: x(point.start), cy: y(point.averageTip), r: 3, class: pointClass(point) })),
  );
}

const pointClass = ({ start, final }) => [start === state.start ? 'chosen' : '', final ? '' : 'open'].join(' ').trim();

const gridLine = (amount, y) => [
  drawn('line', { class: 'grid', x1: PLOT.left, x2: PLOT.right, y1: y, y2: y }),
  drawn('text', { x: PLOT.left - 6, y: y + 4, 'text-anchor': 'end' }, money(amount)),
];

const hours = (points) => points.map(({ start }) => start).filter((start) => clock(start).endsWith(':00'));

/** A line that is broken where there is no trip. */
function strokes(points, x, y) {
  let pen = 'M';
  return points
    .map(({ start, averageTip, trips }) => {
      if (trips === 0) {
        pen = 'M';
        return '';
      }
      const stroke = `${pen}${x(start).toFixed(1)} ${y(averageTip).toFixed(1)}`;
      pen = 'L';
      return stroke;
    })
    .join('');
}

const pointRow = (point) =>
  element(
    'tr',
    {},
    element('th', { scope: 'row' }, windowName(point)),
    element('td', {}, money(point.averageTip)),
    element('td', {}, point.trips.toLocaleString('en')),
  );

// --- Start ---

async function begin() {
  drawLegend();
  try {
    drawMap(await ask('neighbourhoods'));
  } catch {
    say('The server does not answer; trying again.', true);
    setTimeout(begin, REFRESH_MS);
    return;
  }
  await refresh();
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
  document.addEventListener('visibilitychange', () => document.hidden || refresh());
}

begin();
