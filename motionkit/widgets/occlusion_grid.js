// Joints over time as cells that can be painted: by mouse, or with the arrow keys and space.
// Traits: joints and sides (a name and a side for each row), missing [joint][frame] (how many of `most` numbers), frame
// and joint (marked as shown), stroke {cells: [[joint, frame], ...], is_missing, number}. Only `stroke` is written here.
const LABEL_EVERY = 5; // columns

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "motionkit-occlusion";
  el.appendChild(root);
  let cells = [], names = [], heads = [], marker;
  let painting = null; // {wanted, last, touched: Map} while the button is down
  let cursor = [0, 0]; // the cell that the keyboard is at

  const numJoints = () => model.get("missing").length;
  const numFrames = () => model.get("missing")[0]?.length ?? 0;
  const isLost = ([joint, frame]) => model.get("missing")[joint][frame] === model.get("most");

  function element(kind, className, row, column, text = "") {
    const made = root.appendChild(document.createElement(kind));
    made.className = className;
    made.style.gridArea = `${row} / ${column}`;
    made.textContent = text;
    return made;
  }

  function build() {
    root.replaceChildren();
    root.style.gridTemplateColumns = `max-content repeat(${numFrames()}, minmax(7px, 14px))`;
    const row = (joint) => Array.from({ length: numFrames() }, (_, frame) => [joint, frame]);
    const column = (frame) => Array.from({ length: numJoints() }, (_, joint) => [joint, frame]);
    heads = column(0).length ? row(0).map(([, frame]) => {
      const head = element("button", "head", 1, frame + 2, frame % LABEL_EVERY ? "" : frame);
      head.title = `frame ${frame}: lose it, or give it back`;
      head.setAttribute("aria-label", head.title);
      head.tabIndex = -1;
      head.addEventListener("click", () => toggle(column(frame)));
      return head;
    }) : [];
    names = column(0).map(([joint]) => {
      const name = element("button", `name ${model.get("sides")[joint]}`, joint + 2, 1, model.get("joints")[joint]);
      name.title = `${name.textContent}: lose it throughout, or give it back`;
      name.addEventListener("click", () => toggle(row(joint)));
      return name;
    });
    cells = column(0).map(([joint]) => row(joint).map(([, frame]) => {
      const cell = element("button", `cell ${model.get("sides")[joint]}`, joint + 2, frame + 2);
      cell.addEventListener("pointerdown", (event) => begin(event, [joint, frame]));
      cell.addEventListener("keydown", (event) => press(event, [joint, frame]));
      return cell;
    }));
    marker = element("div", "marker", 1, 1);
    paint();
  }

  // The count that a cell has, or will have when the stroke that is being painted is done.
  function count([joint, frame]) {
    if (painting?.touched.has(`${joint},${frame}`)) return painting.wanted ? model.get("most") : 0;
    return model.get("missing")[joint][frame];
  }

  function paintCell([joint, frame]) {
    const [cell, lost, most] = [cells[joint][frame], count([joint, frame]), model.get("most")];
    const said = lost === 0 ? "seen" : lost === most ? "missing" : `${lost} of ${most} numbers missing`;
    cell.classList.toggle("lost", lost === most);
    cell.classList.toggle("partly", lost > 0 && lost < most);
    cell.title = `${model.get("joints")[joint]}, frame ${frame}: ${said}`;
    cell.setAttribute("aria-label", cell.title);
    cell.setAttribute("aria-pressed", lost > 0);
    cell.tabIndex = joint === cursor[0] && frame === cursor[1] ? 0 : -1;
  }

  function paint() {
    cells.forEach((row, joint) => row.forEach((_, frame) => paintCell([joint, frame])));
    mark();
  }

  function mark() {
    const [frame, shown] = [model.get("frame"), model.get("joint")];
    heads.forEach((head, index) => head.classList.toggle("now", index === frame));
    names.forEach((name, index) => name.classList.toggle("now", index === shown));
    marker.style.gridArea = `2 / ${frame + 2} / ${numJoints() + 2} / ${frame + 3}`;
  }

  function send(touched, wanted) {
    const number = (model.get("stroke").number ?? 0) + 1; // makes a repeated stroke a change too
    model.set("stroke", { cells: touched, is_missing: wanted, number });
    model.save_changes();
  }

  function toggle(touched) {
    send(touched, !touched.every(isLost));
  }

  // ---- strokes ------------------------------------------------------------------------------------------------------
  function begin(event, at) {
    if (event.button !== 0 || painting) return;
    painting = { wanted: !isLost(at), last: at, touched: new Map() };
    cursor = at;
    root.setPointerCapture(event.pointerId);
    touch(at);
  }

  function touch(at) {
    painting.touched.set(String(at), at);
    paintCell(at);
  }

  // The cell under the pointer, or the nearest one.
  function under(event) {
    const [first, last] = [cells[0][0], cells.at(-1).at(-1)].map((cell) => cell.getBoundingClientRect());
    const across = Math.floor(((event.clientX - first.left) / (last.right - first.left)) * numFrames());
    const down = Math.floor(((event.clientY - first.top) / (last.bottom - first.top)) * numJoints());
    return [Math.min(numJoints() - 1, Math.max(0, down)), Math.min(numFrames() - 1, Math.max(0, across))];
  }

  root.addEventListener("pointermove", (event) => {
    if (!painting) return;
    const [from, to] = [painting.last, under(event)];
    const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
    for (let step = 1; step <= steps; step++) { // a fast hand skips cells: paint those between too
      touch(from.map((value, axis) => Math.round(value + ((to[axis] - value) * step) / steps)));
    }
    painting.last = to;
  });
  root.addEventListener("pointerup", () => {
    if (!painting) return;
    const { touched, wanted, last } = painting;
    cursor = last;
    send([...touched.values()], wanted);
    painting = null; // what was touched stays painted until the kernel answers
    cells[last[0]][last[1]].focus({ preventScroll: true });
  });
  root.addEventListener("pointercancel", () => {
    painting = null;
    paint();
  });

  // ---- keyboard -----------------------------------------------------------------------------------------------------
  function press(event, [joint, frame]) {
    if (event.key === " " || event.key === "Enter") toggle([[joint, frame]]);
    else if (event.key === "ArrowLeft") frame -= 1;
    else if (event.key === "ArrowRight") frame += 1;
    else if (event.key === "ArrowUp") joint -= 1;
    else if (event.key === "ArrowDown") joint += 1;
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for these keys
    if (!cells[joint]?.[frame]) return;
    const before = cursor;
    cursor = [joint, frame];
    [before, cursor].forEach(paintCell);
    cells[joint][frame].focus();
  }

  const sameShape = () => cells.length === numJoints() && (cells[0]?.length ?? 0) === numFrames();
  model.on("change:missing", () => (sameShape() ? paint() : build()));
  for (const name of ["joints", "sides"]) model.on(`change:${name}`, build);
  for (const name of ["frame", "joint"]) model.on(`change:${name}`, () => sameShape() && marker && mark());
  build();
}
export default { render };
