// A skeleton player on a 2D canvas. No dependency, no network, no global: it lives in the shadow tree of `root`.
// payload: {clips: [...], options: {...}, themes: {light, dark}}, written by motion.py. Positions are metres, Y up.
// Returns {seek(seconds), time(), play(), pause(), onTime}: `onTime(seconds)` is called whenever the shown time changes.
function motionkitPlayer(root, payload) {
  "use strict";
  const { options, themes } = payload;
  const FIELD_OF_VIEW = (34 * Math.PI) / 180;
  const NEAR_M = 0.05;
  const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
  const HOME = { azimuth: options.azimuth, elevation: options.elevation, zoom: 1 };

  // ---- data -------------------------------------------------------------------------------------------------------
  function bytes(base64) {
    const text = atob(base64);
    const out = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
    return out;
  }

  function readClip(source) {
    const raw = new DataView(bytes(source.positions).buffer);
    const positions = new Float32Array(raw.byteLength / 2);
    for (let i = 0; i < positions.length; i++) {
      positions[i] = raw.getInt16(2 * i, true) * source.unit + source.origin[i % 3];
    }
    const clip = { ...source, positions, confidence: source.confidence ? bytes(source.confidence) : null };
    clip.joints = positions.length / 3 / clip.frames;
    clip.duration = clip.frames / clip.fps;
    clip.path = pathOf(clip);
    clip.smooth = smoothed(clip.path, Math.round(clip.fps * 0.4));
    return clip;
  }

  // Ground position of the root (or of all joints together, where a layout has no root) in every frame.
  function pathOf({ positions, frames, joints, root }) {
    const path = new Float32Array(frames * 2);
    for (let f = 0; f < frames; f++) {
      const from = root < 0 ? 0 : root;
      const to = root < 0 ? joints : root + 1;
      for (let j = from; j < to; j++) {
        path[2 * f] += positions[3 * (f * joints + j)] / (to - from);
        path[2 * f + 1] += positions[3 * (f * joints + j) + 2] / (to - from);
      }
    }
    return path;
  }

  function smoothed(path, reach) {
    const frames = path.length / 2;
    const out = new Float32Array(path.length);
    for (let axis = 0; axis < 2; axis++) {
      const sums = new Float64Array(frames + 1);
      for (let f = 0; f < frames; f++) sums[f + 1] = sums[f] + path[2 * f + axis];
      for (let f = 0; f < frames; f++) {
        const half = Math.min(reach, f, frames - 1 - f); // shrinks at the ends, so the mean stays centred
        out[2 * f + axis] = (sums[f + half + 1] - sums[f - half]) / (2 * half + 1);
      }
    }
    return out;
  }

  const clips = payload.clips.map(readClip);
  const duration = Math.max(...clips.map((clip) => clip.duration));
  const fastest = Math.max(...clips.map((clip) => clip.fps));

  // ---- page -------------------------------------------------------------------------------------------------------
  const shadow = root.shadowRoot || root.attachShadow({ mode: "open" });
  shadow.innerHTML = `<style>
    :host { display: block; max-width: ${options.width}px; margin: 4px 0; }
    .box { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; background: var(--surface);
           color: var(--ink); font: 13px/1.3 system-ui, "Segoe UI", Roboto, sans-serif; outline: none; }
    .box:focus-visible, button:focus-visible, select:focus-visible, input:focus-visible {
           outline: 2px solid #56B4E9; outline-offset: -2px; }
    canvas { display: block; width: 100%; height: ${options.height}px; cursor: grab; touch-action: pan-y; }
    canvas.held { cursor: grabbing; }
    .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 8px; padding: 6px 10px;
           border-top: 1px solid var(--line); }
    button, select { font: inherit; color: inherit; background: transparent; border: 1px solid transparent;
           border-radius: 6px; height: 28px; padding: 0 7px; cursor: pointer; }
    button:hover, select:hover { background: var(--hover); }
    button[aria-pressed="true"] { background: var(--hover); border-color: var(--line); }
    button svg { display: block; width: 16px; height: 16px; fill: currentColor; }
    select option { color: #23272e; background: #fff; }
    input { flex: 1 1 120px; min-width: 80px; margin: 0; accent-color: #0072B2; height: 20px; cursor: pointer; }
    .clock { font-variant-numeric: tabular-nums; color: var(--muted); white-space: nowrap; min-width: 13.5em;
           text-align: right; }
    @media (max-width: 620px) { .clock { min-width: 0; order: 9; flex: 1 0 auto; } input { flex-basis: 190px; } }
  </style>
  <div class="box" part="box" tabindex="0" role="group" data-lm-suppress-shortcuts="true">
    <canvas role="img"></canvas>
    <div class="bar">
      <button class="play" title="Play or pause (space)"></button>
      <input type="range" min="0" value="0" step="1" aria-label="Time">
      <span class="clock"></span>
      <select aria-label="Speed" title="Speed">${SPEEDS.map((s) => `<option value="${s}">${s}×</option>`).join("")}</select>
      <button class="follow" title="Follow the figure (f)">follow</button>
      <button class="trail" title="Show the path of the root (t)">trail</button>
      <button class="home" title="Reset the view (r)">reset</button>
    </div>
  </div>`;
  const find = (selector) => shadow.querySelector(selector);
  const box = find(".box");
  const canvas = find("canvas");
  const pen = canvas.getContext("2d");
  const slider = find("input");
  const clock = find(".clock");
  const names = clips.map((clip) => clip.name || "motion").join(", ");
  box.setAttribute("aria-label", `Skeleton player: ${names}. Space plays, arrow keys step, plus and minus zoom.`);
  canvas.setAttribute("aria-label", `Moving skeleton: ${names}`);
  slider.max = String(Math.max(0, Math.ceil(duration * fastest - 1e-6) - 1));

  // ---- state ------------------------------------------------------------------------------------------------------
  const view = { ...HOME };
  const player = { onTime: null };
  let time = 0;
  let playing = false;
  let visible = true;
  let speed = options.speed;
  let follow = options.follow;
  let trail = options.trail;
  let theme = themes.light;
  let lastTick = null;
  let pending = false;

  // "auto": look at what the player stands on, so that it suits a dark notebook as well as a white page.
  function chooseTheme() {
    let name = options.theme;
    if (name === "auto") {
      name = "light";
      for (let node = root; node; node = node.parentElement || (node.getRootNode() || {}).host) {
        const parts = getComputedStyle(node).backgroundColor.match(/[\d.]+/g);
        if (parts && parts.length >= 3 && (parts.length < 4 || Number(parts[3]) > 0.5)) {
          name = 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 110 ? "dark" : "light";
          break;
        }
      }
    }
    theme = themes[name];
    const dark = theme === themes.dark;
    box.style.setProperty("--surface", theme.surface[0]);
    box.style.setProperty("--ink", theme.ink);
    box.style.setProperty("--muted", theme.muted);
    box.style.setProperty("--line", dark ? "#343A42" : "#D9DCE1");
    box.style.setProperty("--hover", dark ? "#2A3038" : "#E9EBEE");
    box.style.colorScheme = dark ? "dark" : "light";
  }

  const frameAt = (clip, seconds) => Math.min(clip.frames - 1, Math.floor(seconds * clip.fps + 1e-6));

  // ---- geometry ---------------------------------------------------------------------------------------------------
  // The camera that looks at `target` and fills a `width` x `height` cell whose corner is at (left, top).
  function camera(target, radius, left, top, width, height) {
    const { azimuth: a, elevation: e, zoom } = view;
    const back = [Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e)];
    const right = [Math.cos(a), 0, -Math.sin(a)];
    const up = [back[1] * right[2] - back[2] * right[1], back[2] * right[0] - back[0] * right[2],
      back[0] * right[1] - back[1] * right[0]];
    const focal = (0.5 * height) / Math.tan(FIELD_OF_VIEW / 2);
    const narrow = Math.max(1, (0.75 * height) / width); // figures are taller than wide
    const distance = ((radius * narrow) / Math.sin(FIELD_OF_VIEW / 2)) / zoom;
    const eye = target.map((value, axis) => value + back[axis] * distance);
    const project = (x, y, z) => {
      const dx = x - eye[0], dy = y - eye[1], dz = z - eye[2];
      const depth = -(dx * back[0] + dy * back[1] + dz * back[2]);
      const scale = focal / Math.max(depth, NEAR_M);
      return {
        x: left + width / 2 + scale * (dx * right[0] + dy * right[1] + dz * right[2]),
        y: top + height / 2 - scale * (dx * up[0] + dy * up[1] + dz * up[2]),
        depth, scale,
      };
    };
    return { project, distance };
  }

  function line(from, to, color, width, alpha) {
    if (from.depth <= NEAR_M || to.depth <= NEAR_M) return;
    pen.globalAlpha = alpha;
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x, to.y);
    pen.stroke();
  }

  // ---- drawing ----------------------------------------------------------------------------------------------------
  function drawFloor(project, target, floor, radius) {
    const reach = Math.min(12, Math.max(2, Math.ceil(radius * 1.6)));
    const side = reach > 4 ? 1 : 0.5; // metres a square
    const x0 = Math.round(target[0]), z0 = Math.round(target[2]);
    pen.lineCap = "butt";
    for (let i = -reach; i <= reach; i += side) {
      for (let k = -reach; k < reach; k += side) {
        for (const along of [true, false]) {
          const a = along ? [x0 + k, z0 + i] : [x0 + i, z0 + k];
          const b = along ? [a[0] + side, a[1]] : [a[0], a[1] + side];
          const away = Math.hypot((a[0] + b[0]) / 2 - target[0], (a[1] + b[1]) / 2 - target[2]) / reach;
          if (away >= 1) continue;
          line(project(a[0], floor, a[1]), project(b[0], floor, b[1]), theme.grid, 1, (i % 1 ? 0.22 : 0.55) * (1 - away * away));
        }
      }
    }
  }

  function drawTrail(project, clip, frame, floor, color) {
    pen.lineCap = "round";
    const step = Math.max(1, Math.round(clip.fps / 20));
    for (let f = 0; f + step < clip.frames; f += step) {
      const a = project(clip.path[2 * f], floor, clip.path[2 * f + 1]);
      const b = project(clip.path[2 * (f + step)], floor, clip.path[2 * (f + step) + 1]);
      line(a, b, color, 2, f < frame ? 0.8 : 0.22);
    }
  }

  // Each joint darkens the floor below it, the more the closer it is: feet on the ground read as contact.
  function drawShadow(project, clip, frame, floor) {
    const start = 3 * frame * clip.joints;
    pen.fillStyle = theme.shadow;
    for (let j = 0; j < clip.joints; j++) {
      const [x, y, z] = clip.positions.subarray(start + 3 * j, start + 3 * j + 3);
      const height = Math.max(0, y - floor);
      const spread = clip.thickness * (1.3 + height);
      const at = project(x, floor, z);
      if (at.depth <= NEAR_M) continue;
      const tilt = Math.max(0.08, Math.abs(Math.sin(view.elevation)));
      for (const [grow, alpha] of [[1, 0.10], [1.7, 0.06]]) {
        pen.globalAlpha = alpha * (0.25 + 1.5 * Math.exp(-height / 0.12));
        pen.beginPath();
        pen.ellipse(at.x, at.y, spread * grow * at.scale, spread * grow * at.scale * tilt, 0, 0, 2 * Math.PI);
        pen.fill();
      }
    }
  }

  function drawFigure(project, clip, frame, colors, distance, rank) {
    const start = 3 * frame * clip.joints;
    const points = [];
    for (let j = 0; j < clip.joints; j++) {
      points.push(project(...clip.positions.subarray(start + 3 * j, start + 3 * j + 3)));
    }
    const seen = (j) => (clip.confidence ? clip.confidence[frame * clip.joints + j] / 255 : 1);
    const order = clip.limbs.map(([a, b], i) => ({ a: points[a], b: points[b], side: clip.sides[i],
      seen: Math.min(seen(a), seen(b)), depth: (points[a].depth + points[b].depth) / 2 }));
    order.sort((p, q) => q.depth - p.depth);
    pen.lineCap = "round";
    for (const limb of order) {
      if (limb.seen < 0.02) continue;
      const scale = (limb.a.scale + limb.b.scale) / 2;
      const width = Math.max(1.6, clip.thickness * scale * (rank === 0 ? 1 : 0.5));
      const far = Math.min(0.35, Math.max(0, (limb.depth - distance) / (4 * clip.radius)));
      const alpha = (1 - far) * (0.12 + 0.88 * limb.seen);
      // a rim in the color of the ground parts a nearer limb from the ones behind it
      if (limb.seen > 0.5) line(limb.a, limb.b, theme.surface[0], width + 2.4, 0.85);
      line(limb.a, limb.b, colors[limb.side], width, alpha);
    }
  }

  function label(text, x, y, color, align) {
    pen.globalAlpha = 1;
    pen.fillStyle = color;
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }

  function shorten(text, room) {
    if (pen.measureText(text).width <= room) return text;
    while (text.length > 1 && pen.measureText(text + "…").width > room) text = text.slice(0, -1);
    return text + "…";
  }

  function drawLegend(width, height) {
    const colors = theme.clips[0];
    let x = width - 12;
    pen.textBaseline = "alphabetic";
    if (!clips.some((clip) => clip.sides.some((side) => side < 2))) return;
    for (const [text, side] of [["right", 1], ["left", 0]]) {
      label(text, x, height - 12, theme.muted, "right");
      x -= pen.measureText(text).width + 6;
      pen.lineCap = "round";
      line({ x: x - 14, y: height - 16, depth: 1 }, { x, y: height - 16, depth: 1 }, colors[side], 4, 1);
      x -= 26;
    }
  }

  function draw() {
    pending = false;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const ground = pen.createLinearGradient(0, 0, 0, height);
    ground.addColorStop(0, theme.surface[0]);
    ground.addColorStop(1, theme.surface[1]);
    pen.globalAlpha = 1;
    pen.fillStyle = ground;
    pen.fillRect(0, 0, width, height);
    pen.font = '12px system-ui, "Segoe UI", Roboto, sans-serif';

    const cells = options.overlay ? [clips] : clips.map((clip) => [clip]);
    const columns = Math.min(cells.length, Math.max(1, Math.floor(width / 170)), 4);
    const rows = Math.ceil(cells.length / columns);
    const cellWidth = width / columns, cellHeight = height / rows;
    const radius = Math.max(...clips.map((clip) => (follow ? clip.radius : clip.reach)));
    cells.forEach((group, index) => {
      const left = (index % columns) * cellWidth, top = Math.floor(index / columns) * cellHeight;
      drawCell(group, radius, left, top, cellWidth, cellHeight);
    });
    pen.textBaseline = "top";
    drawLegend(width, height);
    pen.globalAlpha = 1;

    clock.textContent = `${time.toFixed(2)} / ${duration.toFixed(2)} s · frame ${frameAt(clips[0], time) * clips[0].stride}`;
    slider.value = String(Math.round(time * fastest));
    slider.setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
  }

  function drawCell(group, radius, left, top, width, height) {
    const lead = group[0];
    const frame = frameAt(lead, time);
    const target = follow ? [lead.smooth[2 * frame], lead.center[1], lead.smooth[2 * frame + 1]] : lead.center;
    const { project, distance } = camera(target, radius, left, top, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    drawFloor(project, target, lead.floor, radius);
    group.forEach((clip) => drawShadow(project, clip, frameAt(clip, time), lead.floor));
    if (trail) group.forEach((clip, k) => drawTrail(project, clip, frameAt(clip, time), lead.floor, look(k)[2]));
    group.forEach((clip, k) => drawFigure(project, clip, frameAt(clip, time), look(k), distance, k));
    pen.restore();
    pen.textBaseline = "top";
    group.forEach((clip, k) => {
      if (!clip.name) return;
      const y = top + 12 + 18 * k;
      if (group.length > 1) {
        line({ x: left + 14, y: y + 6, depth: 1 }, { x: left + 24, y: y + 6, depth: 1 }, look(k)[0], k ? 2.5 : 6, 1);
        line({ x: left + 30, y: y + 6, depth: 1 }, { x: left + 40, y: y + 6, depth: 1 }, look(k)[1], k ? 2.5 : 6, 1);
      }
      const indent = group.length > 1 ? 50 : 12;
      label(shorten(clip.name, width - indent - 8), left + indent, y, theme.ink, "left");
    });
  }

  // Laid over each other, the first clip is broad and pale and the others run thin and strong on top of it.
  function look(rank) {
    const swapped = options.overlay && clips.length > 1 && rank < 2 ? 1 - rank : rank;
    return theme.clips[options.overlay ? Math.min(swapped, theme.clips.length - 1) : 0];
  }

  function redraw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(draw);
  }

  // ---- time -------------------------------------------------------------------------------------------------------
  function setTime(seconds) {
    time = Math.min(Math.max(0, seconds), duration);
    redraw();
    if (player.onTime) player.onTime(time);
  }

  function tick(now) {
    if (!playing || !visible || !root.isConnected) {
      lastTick = null;
      return;
    }
    if (lastTick !== null) setTime((time + (speed * (now - lastTick)) / 1000) % duration);
    lastTick = now;
    requestAnimationFrame(tick);
  }

  function setPlaying(value) {
    playing = value;
    const shape = playing ? "M3 2h4v12H3zM9 2h4v12H9z" : "M4 2l10 6-10 6z";
    find(".play").innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${shape}"/></svg>`;
    find(".play").setAttribute("aria-label", playing ? "Pause" : "Play");
    root.dataset.playing = String(playing);
    if (playing && lastTick === null) requestAnimationFrame(tick);
  }

  // Steps are exact: to the neighboring frame of the fastest clip, whatever the time was between two frames.
  function step(frames) {
    setPlaying(false);
    const last = Number(slider.max);
    setTime(Math.min(last, Math.max(0, Math.floor(time * fastest + 1e-6) + frames)) / fastest);
  }

  function toggles() {
    find(".follow").setAttribute("aria-pressed", String(follow));
    find(".trail").setAttribute("aria-pressed", String(trail));
    redraw();
  }

  function zoomBy(factor) {
    view.zoom = Math.min(8, Math.max(0.2, view.zoom * factor));
    redraw();
  }

  const keys = {
    " ": () => setPlaying(!playing),
    ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
    ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
    ArrowUp: () => zoomBy(1.1),
    ArrowDown: () => zoomBy(1 / 1.1),
    "+": () => zoomBy(1.1),
    "-": () => zoomBy(1 / 1.1),
    Home: () => step(-Infinity),
    End: () => step(Infinity),
    f: () => { follow = !follow; toggles(); },
    t: () => { trail = !trail; toggles(); },
    r: () => { Object.assign(view, HOME); redraw(); },
  };

  // ---- wiring -----------------------------------------------------------------------------------------------------
  box.addEventListener("keydown", (event) => {
    const inSelect = event.target.tagName === "SELECT";
    const onButton = event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter");
    if (inSelect || onButton || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key](event);
  });
  canvas.addEventListener("pointerdown", (event) => {
    box.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("held");
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    view.azimuth -= event.movementX * 0.008;
    view.elevation = Math.min(1.5, Math.max(-0.2, view.elevation + event.movementY * 0.006));
    redraw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => canvas.classList.remove("held"));
  }
  // The wheel zooms once the player was clicked (or with Ctrl or a pinch); before that the page scrolls past it.
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !shadow.activeElement) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * 0.0015));
  }, { passive: false });
  canvas.addEventListener("dblclick", () => keys.r());
  slider.addEventListener("input", () => { setPlaying(false); setTime(Number(slider.value) / fastest); });
  find(".play").addEventListener("click", () => setPlaying(!playing));
  find(".follow").addEventListener("click", () => keys.f());
  find(".trail").addEventListener("click", () => keys.t());
  find(".home").addEventListener("click", () => keys.r());
  const menu = find("select");
  if (!SPEEDS.includes(speed)) menu.add(new Option(`${speed}×`, String(speed)));
  menu.value = String(speed);
  menu.addEventListener("change", () => { speed = Number(menu.value); });
  box.addEventListener("pointerenter", () => { chooseTheme(); redraw(); });
  new ResizeObserver(() => { chooseTheme(); redraw(); }).observe(canvas);
  new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    if (visible && playing && lastTick === null) requestAnimationFrame(tick);
  }).observe(root);

  chooseTheme();
  toggles();
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  setPlaying(options.autoplay && !calm && duration * fastest > 1.5);
  redraw();
  return Object.assign(player, { seek: setTime, time: () => time, play: () => setPlaying(true), pause: () => setPlaying(false) });
}
