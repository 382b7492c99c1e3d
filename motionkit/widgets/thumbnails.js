// A row of small pictures with a line of text each; a click says which one was picked.
// Traits: tiles [{png (base64), label, title}], picked [index, number of picks]. Only `picked` is written here.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "motionkit-thumbnails";
  el.appendChild(root);
  function build() {
    root.replaceChildren();
    model.get("tiles").forEach((tile, index) => {
      const button = root.appendChild(document.createElement("button"));
      button.title = tile.title;
      const image = button.appendChild(document.createElement("img"));
      image.src = `data:image/png;base64,${tile.png}`;
      image.alt = tile.title;
      button.appendChild(document.createElement("span")).textContent = tile.label;
      button.addEventListener("click", () => {
        model.set("picked", [index, model.get("picked")[1] + 1]); // the count makes a repeated pick a change too
        model.save_changes();
      });
    });
  }
  model.on("change:tiles", build);
  build();
}
export default { render };
