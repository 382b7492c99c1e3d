// The report's own behavior: the menu of narrow screens, all code at once, the section one is reading, and what takes
// the place of the skeleton players on paper.
(function () {
  "use strict";
  const side = document.querySelector(".side");
  const menu = document.querySelector(".menu");
  menu.addEventListener("click", () => {
    menu.setAttribute("aria-expanded", String(side.classList.toggle("open")));
  });
  const links = new Map();
  for (const link of side.querySelectorAll("nav a")) {
    links.set(link.getAttribute("href").slice(1), link);
    link.addEventListener("click", () => { side.classList.remove("open"); menu.setAttribute("aria-expanded", "false"); });
  }
  const code = document.querySelector(".all-code");
  code.addEventListener("click", () => {
    const open = code.getAttribute("aria-pressed") !== "true";
    code.setAttribute("aria-pressed", String(open));
    code.textContent = open ? "Hide all code" : "Show all code";
    document.querySelectorAll("details.code").forEach((details) => { details.open = open; });
  });
  const targets = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  let waiting = false;
  function mark() {
    waiting = false;
    let current = targets[0];
    for (const target of targets) if (target.getBoundingClientRect().top < 120) current = target;
    links.forEach((link, id) => {
      const here = current && id === current.id;
      link.classList.toggle("here", here);
      if (here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    });
  }
  addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(mark); } }, { passive: true });
  mark();

  // ---- on paper: players give way to stills of their motion, tables that are too wide become smaller ----------------
  const page = document.documentElement;
  const players = [...document.querySelectorAll(".motionkit-player")].filter((root) => root.shadowRoot);
  const canvasOf = (root) => root.shadowRoot.querySelector("canvas");
  function addStill(root, box) {
    const still = new Image();
    still.src = canvasOf(root).toDataURL("image/png");
    still.alt = "a moment of the motion";
    box.append(still);
  }
  function stillsAfter(root) {
    const box = document.createElement("div");
    box.className = "stills";
    root.after(box);
    return box;
  }
  // plotly waits for the window to change its size, which paper does not
  const fitPlots = () => Promise.all([...document.querySelectorAll(".js-plotly-plot")].map((plot) => Plotly.Plots.resize(plot)));
  function fitTables() {
    const room = document.querySelector("main").clientWidth;
    for (const table of document.querySelectorAll(".scroll table")) {
      table.style.zoom = "";
      if (table.offsetWidth > room) table.style.zoom = String(room / table.offsetWidth);
    }
  }
  async function printFourMoments() {
    for (const root of players) {
      root.style.maxWidth = "360px";
      canvasOf(root).style.height = "240px";
    }
    const boxes = players.map(stillsAfter);
    for (const part of [0.125, 0.375, 0.625, 0.875]) {
      for (const root of players) {
        const slider = root.shadowRoot.querySelector("input[type=range]");
        slider.value = String(Math.round(part * Number(slider.max)));
        slider.dispatchEvent(new Event("input"));
      }
      await new Promise((resolve) => { setTimeout(resolve, 50); }); // drawn by then, see the head of the page
      players.forEach((root, k) => addStill(root, boxes[k]));
    }
    page.classList.add("printing");
    fitTables();
    await fitPlots();
  }
  if (location.hash === "#print") {
    printFourMoments();
  } else {
    let boxes = [];
    addEventListener("beforeprint", () => {
      boxes = players.map(stillsAfter);
      players.forEach((root, k) => addStill(root, boxes[k]));
      page.classList.add("printing");
      fitTables();
      fitPlots();
    });
    addEventListener("afterprint", () => {
      boxes.forEach((box) => box.remove());
      page.classList.remove("printing");
      document.querySelectorAll(".scroll table").forEach((table) => { table.style.zoom = ""; });
      fitPlots();
    });
  }
})();
