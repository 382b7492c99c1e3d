// Tokens as cells that can be clicked or reached with the arrow keys; one small grid for each latent step.
// Traits: tokens [step][row][column], shades (a color for each code), step (the current one), cell [step, row, column]
// or [], edited (a list of cells). Only `cell` is written here.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "motionkit-tokens";
  el.appendChild(root);
  let buttons = [];

  function isDark(color) {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
    return 0.299 * r + 0.587 * g + 0.114 * b < 140;
  }

  function build() {
    const tokens = model.get("tokens");
    const hadFocus = root.contains(document.activeElement);
    root.replaceChildren();
    buttons = tokens.map((grid, step) => {
      const figure = root.appendChild(document.createElement("figure"));
      const cells = figure.appendChild(document.createElement("div"));
      cells.className = "cells";
      cells.setAttribute("role", "grid");
      cells.style.gridTemplateColumns = `repeat(${grid[0].length}, 1fr)`;
      figure.appendChild(document.createElement("figcaption")).textContent = `step ${step + 1}`;
      return grid.map((line, row) =>
        line.map((_, column) => {
          const button = cells.appendChild(document.createElement("button"));
          button.style.height = `${Math.max(15, Math.min(48, Math.floor(136 / grid.length)))}px`;
          button.style.width = button.style.height;
          button.addEventListener("click", () => choose([step, row, column]));
          button.addEventListener("keydown", (event) => move(event, step, row, column));
          return button;
        })
      );
    });
    paint();
    if (hadFocus) focusChosen();
  }

  function paint() {
    const [tokens, shades, cell] = [model.get("tokens"), model.get("shades"), model.get("cell")];
    const edited = new Set(model.get("edited").map(String));
    buttons.forEach((grid, step) => {
      grid[0][0].closest("figure").classList.toggle("now", step === model.get("step"));
      grid.forEach((line, row) =>
        line.forEach((button, column) => {
          const code = tokens[step][row][column];
          const place = `step ${step + 1}, row ${row + 1}, column ${column + 1}`;
          const isChosen = String(cell) === String([step, row, column]);
          const isEdited = edited.has(String([step, row, column]));
          button.style.background = shades[code];
          button.style.color = isDark(shades[code]) ? "#fff" : "#000";
          button.textContent = grid.length <= 4 ? code : "";
          button.title = `code ${code}: ${place}${isEdited ? ", replaced" : ""}`;
          button.setAttribute("aria-label", button.title);
          button.setAttribute("aria-pressed", isChosen);
          button.classList.toggle("chosen", isChosen);
          button.classList.toggle("edited", isEdited);
          button.tabIndex = isChosen || (cell.length === 0 && step + row + column === 0) ? 0 : -1;
        })
      );
    });
  }

  function choose(cell) {
    model.set("cell", cell);
    model.save_changes();
  }

  function focusChosen() {
    const [step, row, column] = model.get("cell");
    buttons[step]?.[row]?.[column]?.focus();
  }

  // Left and right run through the rows of neighboring steps too: the grids stand side by side.
  function move(event, step, row, column) {
    const [height, width] = [buttons[step].length, buttons[step][row].length];
    let along = step * width + column;
    if (event.key === "ArrowLeft") along -= 1;
    else if (event.key === "ArrowRight") along += 1;
    else if (event.key === "ArrowUp") row -= 1;
    else if (event.key === "ArrowDown") row += 1;
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for arrow keys
    if (row < 0 || row >= height || along < 0 || along >= buttons.length * width) return;
    choose([Math.floor(along / width), row, along % width]);
    focusChosen();
  }

  function sameShape() {
    const tokens = model.get("tokens");
    return tokens.length === buttons.length && tokens[0].length === buttons[0]?.length;
  }

  model.on("change:tokens", () => (sameShape() ? paint() : build()));
  for (const name of ["shades", "step", "cell", "edited"]) model.on(`change:${name}`, () => sameShape() && paint());
  build();
}
export default { render };
