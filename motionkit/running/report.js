// The report's own behavior: the menu of narrow screens, all code at once, and the section one is reading.
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
})();
