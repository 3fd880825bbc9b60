"use strict";

// The values under the pointer, in a chart's legend.
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg");
  const pointer = chart.querySelector(".pointer");
  const curves = JSON.parse(svg.dataset.curves);
  const [left, right, first, last] = JSON.parse(svg.dataset.frame);
  const numbers = [...chart.querySelectorAll(".legend b")];
  const latest = numbers.map((number) => number.textContent);
  const title = chart.querySelector("h3");
  const name = title.textContent;

  const told = (value) =>
    Math.abs(value) >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
  const nearest = (curve, step) =>
    curve.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const across = Math.min(Math.max(x, left), right);
    const step = first + ((across - left) / (right - left)) * (last - first);
    pointer.setAttribute("x1", across);
    pointer.setAttribute("x2", across);
    pointer.style.visibility = "visible";
    const found = curves.map((curve) => nearest(curve, step));
    found.forEach((point, i) => (numbers[i].textContent = told(point[1])));
    const near = found.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
    title.textContent = `${name} · step ${near[0].toLocaleString("en")}`;
  };
  const hide = () => {
    pointer.style.visibility = "hidden";
    numbers.forEach((number, i) => (number.textContent = latest[i]));
    title.textContent = name;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}

// One sheet of samples at a time, chosen by a slider.
for (const viewer of document.querySelectorAll(".viewer")) {
  const sheets = [...viewer.querySelectorAll(".sheet")];
  const slider = viewer.querySelector("input");
  const label = viewer.querySelector("output");
  const show = () => {
    const chosen = Number(slider.value);
    sheets.forEach((sheet, i) => (sheet.hidden = i !== chosen));
    label.textContent = sheets[chosen].dataset.label;
  };
  viewer.classList.add("live");
  slider.addEventListener("input", show);
  show();
}
