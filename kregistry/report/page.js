"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const rows = [...document.querySelectorAll(".row[data-e]")];
  let on = null;

  const element = (name, text) => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };
  const list = (pairs) => {
    const made = document.createElement("dl");
    for (const [name, value] of pairs) made.append(element("dt", name), element("dd", value));
    return made;
  };
  const segment = (entry, number) => {
    const [start, stop, kernels] = entry.segments[number];
    const parts = [element("b", `${entry.name}, ${entry.m} ${start === stop ? start : start + ".." + stop}`)];
    if (!kernels.length) parts.push(element("p", "no kernel: nothing to compile"));
    for (const index of kernels) {
      const kernel = data.kernels[index];
      parts.push(element("code", kernel.id));
      const names = data.parameters[kernel.family], own = data.varying[kernel.family];
      const pairs = (at) => [names[at], kernel.arguments[at]];
      const rest = names.map((_, at) => at).filter((at) => !own.includes(at));
      parts.push(element("div", `${kernel.state}; ${kernel.size}; compiler ${kernel.seconds}`), list(own.map(pairs)));
      if (rest.length) parts.push(element("small", rest.map((at) => pairs(at).join("=")).join("  ")));
    }
    return parts;
  };
  const show = (target, parts) => {
    if (on) on.classList.remove("on");
    on = target;
    on.classList.add("on");
    tip.replaceChildren(...parts);
    tip.hidden = false;
    const box = target.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), innerWidth - own.width - 8);
    const below = box.bottom + 8 + own.height < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - own.height - 8)}px`;
  };
  const hide = () => {
    if (on) on.classList.remove("on");
    on = null;
    tip.hidden = true;
  };
  const describe = (rect) => {
    if (rect.dataset.t !== undefined) {
      return [element("b", rect.dataset.t), ...rect.dataset.d.split("; ").filter(Boolean).map((text) => element("div", text))];
    }
    return segment(data.entries[rect.closest(".row").dataset.e], rect.dataset.s);
  };

  document.addEventListener("pointerover", (event) => {
    const rect = event.target.closest && event.target.closest("rect.s, rect.t");
    if (rect) show(rect, describe(rect));
    else hide();
  });
  for (const svg of document.querySelectorAll("svg.map, svg.timeline")) {
    const rects = [...svg.querySelectorAll("rect.s, rect.t")];
    svg.addEventListener("focus", () => rects.length && show(rects[0], describe(rects[0])));
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !rects.length) return;
      event.preventDefault();
      const next = rects[Math.min(Math.max(rects.indexOf(on) + step, 0), rects.length - 1)];
      show(next, describe(next));
    });
  }
  addEventListener("scroll", hide, { passive: true });

  const words = document.getElementById("filter"), model = document.getElementById("model");
  const count = document.getElementById("count");
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const entry = data.entries[row.dataset.e];
      const fits = wanted.every((word) => entry.search.includes(word)) && (!model.value || entry.model === model.value);
      row.hidden = !fits;
      row.style.display = fits ? "" : "none";
      shown += fits;
    }
    for (const part of document.querySelectorAll("[data-model]")) {
      part.style.display = [...part.querySelectorAll(".row[data-e]")].some((row) => !row.hidden) ? "" : "none";
    }
    count.textContent = `${shown} of ${rows.length} entries`;
  };
  words.addEventListener("input", filter);
  model.addEventListener("change", filter);
  document.querySelector(".tools").hidden = false;
  filter();
})();
