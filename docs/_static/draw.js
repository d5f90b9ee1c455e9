// Draws value and derivative of a function from numbers that the library computed. A file of numbers is loaded when its function is
// chosen; it calls rectifierCurves, so that this works from files, too.
"use strict";
(() => {
  const NAMES = window.rectifierFunctions, loaded = {}, waiting = {};
  const byId = (id) => document.getElementById(`draw-${id}`);
  const choice = byId("function"), beside = byId("beside"), sliders = byId("parameters"), chart = byId("chart");
  const place = byId("x"), zoom = byId("zoom"), state = { at: [] };
  const LEFT = 44, RIGHT = 448, TOP = 12, BOTTOM = 236;

  window.rectifierCurves = (name, data) => {
    const bytes = Uint8Array.from(atob(data.numbers), (c) => c.charCodeAt(0));
    data.floats = new Float32Array(bytes.buffer);
    loaded[name] = data;
    (waiting[name] || []).splice(0).forEach((then) => then());
  };

  const load = (name, then) => {
    if (loaded[name]) return then();
    (waiting[name] ||= []).push(then);
    if (waiting[name].length > 1) return;
    const script = document.createElement("script");
    script.src = `_static/curves/${name}.js`;
    document.head.append(script);
  };

  // Curves lie one after another: along the grid of all parameters, or, of several parameters, each alone.
  const curveOf = (data, at) => {
    let index = 0;
    if (data.grid) data.parameters.forEach((parameter, k) => { index = index * parameter.values.length + at[k]; });
    else {
      const moved = data.parameters.findIndex((parameter, k) => at[k] !== parameter.start);
      for (let k = 0; k < Math.max(moved, 0); k++) index += data.parameters[k].values.length;
      if (data.parameters.length) index += at[Math.max(moved, 0)];
    }
    const from = index * 2 * data.points;
    return [data.floats.subarray(from, from + data.points), data.floats.subarray(from + data.points, from + 2 * data.points)];
  };
  const starts = (data) => data.parameters.map((parameter) => parameter.start);

  const element = (kind, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    chart.append(made);
  };
  const steps = (low, high) => {
    const rough = (high - low) / 6, unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).reduce((a, b) => Math.abs(b - rough) < Math.abs(a - rough) ? b : a);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  };
  const write = (number) => {
    if (Number.isNaN(number)) return "none";
    return Number(number.toPrecision(6)).toString().replace("-", "−").replace("Infinity", "∞");
  };

  const draw = () => {
    const data = loaded[state.name];
    if (!data) return;
    const width = Number(zoom.value), n = data.points, x = (k) => data.range * (2 * k / (n - 1) - 1);
    const lines = [[state.name, curveOf(data, state.at)[0], "line-0"], ["derivative", curveOf(data, state.at)[1], "line-1"]];
    const other = loaded[beside.value];
    if (other) {
      const [value, slope] = curveOf(other, starts(other));
      lines.push([beside.value, value, "line-2"], ["its derivative", slope, "line-3"]);
    }
    let low = Infinity, high = -Infinity;
    for (const [, numbers] of lines) numbers.forEach((y, k) => {
      if (Math.abs(x(k)) <= width + 1e-9 && Number.isFinite(y)) { low = Math.min(low, y); high = Math.max(high, y); }
    });
    if (low > high) [low, high] = [-1, 1];
    [low, high] = [Math.max(low, -data.range), Math.min(high, data.range)];
    const margin = 0.06 * (high - low || 1);
    low -= margin; high += margin;
    const across = (v) => LEFT + (v + width) / (2 * width) * (RIGHT - LEFT), up = (v) => BOTTOM - (v - low) / (high - low) * (BOTTOM - TOP);
    chart.replaceChildren();
    for (const v of steps(-width, width)) {
      element("path", { class: v === 0 ? "grid zero" : "grid", d: `M${across(v)} ${TOP}V${BOTTOM}` });
      element("text", { x: across(v), y: BOTTOM + 15, "text-anchor": "middle" }, write(v));
    }
    for (const v of steps(low, high)) {
      element("path", { class: v === 0 ? "grid zero" : "grid", d: `M${LEFT} ${up(v)}H${RIGHT}` });
      element("text", { x: LEFT - 5, y: up(v) + 4, "text-anchor": "end" }, write(v));
    }
    element("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 31, "text-anchor": "middle" }, data.argument);
    lines.forEach(([label, numbers, style], number) => {
      let path = "", pen = "M";
      numbers.forEach((y, k) => {
        const inside = Math.abs(x(k)) <= width + 1e-9 && y >= low && y <= high;
        path += inside ? `${pen}${across(x(k)).toFixed(1)} ${up(y).toFixed(1)}` : "";
        pen = inside ? "L" : "M";
      });
      element("path", { class: `line ${style}`, d: path });
      const left = LEFT + (number % 2) * 200, under = BOTTOM + 46 + 17 * Math.floor(number / 2);
      element("path", { class: `line ${style}`, d: `M${left} ${under}h22` });
      element("text", { x: left + 28, y: under + 4 }, label);
    });
    const k = Number(place.value), at = x(k);
    if (Math.abs(at) <= width) element("path", { class: "rule", d: `M${across(at)} ${TOP}V${BOTTOM}` });
    const [value, slope] = curveOf(data, state.at);
    byId("read").textContent = `${data.argument.split(" ")[0]} = ${write(at)}: value ${write(value[k])}, derivative ${write(slope[k])}`;
    byId("width").textContent = width;
  };

  const choose = (name) => load(name, () => {
    const data = loaded[name];
    Object.assign(state, { name, at: starts(data) });
    sliders.replaceChildren();
    data.parameters.forEach((parameter, k) => {
      const line = document.createElement("p"), label = document.createElement("label"), slider = document.createElement("input");
      const read = document.createElement("output");
      Object.assign(slider, { type: "range", min: 0, max: parameter.values.length - 1, value: parameter.start });
      read.textContent = write(parameter.values[parameter.start]);
      slider.addEventListener("input", () => {
        if (!data.grid) [...sliders.querySelectorAll("input")].forEach((one, j) => {
          if (j !== k) { one.value = state.at[j] = data.parameters[j].start; one.parentNode.nextSibling.textContent = write(data.parameters[j].values[state.at[j]]); }
        });
        state.at[k] = Number(slider.value);
        read.textContent = write(parameter.values[state.at[k]]);
        draw();
      });
      label.append(`${parameter.name} `, slider);
      line.append(label, read);
      read.className = "beside";
      sliders.append(line);
    });
    Object.assign(place, { min: 0, max: data.points - 1, value: Math.round(0.6 * (data.points - 1)) });
    byId("page").href = `reference/${name}.html`;
    byId("page").textContent = `The page of ${name}`;
    choice.value = name;
    draw();
  });

  for (const name of NAMES) choice.append(new Option(name));
  beside.append(new Option("nothing", ""), ...NAMES.map((name) => new Option(name)));
  choice.addEventListener("change", () => { location.hash = choice.value; });
  beside.addEventListener("change", () => (beside.value ? load(beside.value, draw) : draw()));
  for (const one of [place, zoom]) one.addEventListener("input", draw);
  const fromAddress = () => {
    const name = location.hash.slice(1);
    choose(NAMES.includes(name) ? name : "gelu");
  };
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
