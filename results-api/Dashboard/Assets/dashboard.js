// What moves on the pages: parts that the server renders anew, and charts. Every page works without it; it only stands still then.
(() => {
  "use strict";

  const charts = new Map();
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const width = Math.floor(target.clientWidth);
      const chart = charts.get(target);
      if (chart && width > 0 && chart.width !== width) {
        chart.setSize({ width, height: 190 });
      }
    }
  });

  // The colour a name has in the style sheet, as the canvas takes it.
  function colour(element, name) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    element.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  const short = (value) =>
    value == null ? "–"
    : value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M`
    : value >= 1e4 ? `${+(value / 1e3).toFixed(1)}k`
    : value < 0.1 ? `${+value.toPrecision(2)}`
    : `${+value.toFixed(value < 10 ? 2 : 0)}`;

  function draw(element) {
    if (typeof uPlot === "undefined") return;
    const told = JSON.parse(element.dataset.chart);
    const data = [[...told.x], ...told.series.map((s) => [...s.y])];
    const known = charts.get(element);
    if (known) {
      known.setData(data);
      return;
    }
    const axis = () => ({ stroke: colour(element, "soft"), grid: { stroke: colour(element, "line"), width: 1 }, ticks: { show: false }, font: "11px Inter Variable, sans-serif" });
    const options = {
      width: Math.max(200, Math.floor(element.clientWidth)),
      height: 190,
      cursor: { y: false },
      scales: { x: { time: !told.x_unit, distr: told.x_unit ? 3 : 1 }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      axes: [{ ...axis(), values: (_, ticks) => ticks.map((t) => t == null ? "" : told.x_unit ? short(t) : new Date(t * 1000).toISOString().slice(...(told.days ? [5, 10] : [11, 16]))) }, { ...axis(), size: 46, values: (_, ticks) => ticks.map(short) }],
      series: [
        { label: told.x_unit ?? "UTC", value: told.x_unit ? (_, value) => (value == null ? "–" : short(value)) : told.days ? "{YYYY}-{MM}-{DD}" : "{HH}:{mm}" },
        ...told.series.map((s) => ({
          label: s.name,
          stroke: colour(element, s.colour),
          fill: told.bars ? colour(element, s.colour) : undefined,
          width: s.dots ? 0 : 2,
          spanGaps: Boolean(told.x_unit),
          points: { show: Boolean(s.points || s.dots) || told.x.length < 3, size: s.dots ? 8 : 5, fill: colour(element, s.colour) },
          paths: told.bars ? uPlot.paths.bars({ size: [0.6, 40] }) : undefined,
          value: (_, value) => (value == null ? "–" : `${short(value)} ${told.unit ?? ""}`),
        })),
      ],
    };
    charts.set(element, new uPlot(options, data, element));
    observer.observe(element);
  }

  // Takes over what differs; a part that has the focus is left alone until it is left.
  function takeOver(html, root) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = root.querySelector(`[data-part="${part.dataset.part}"]`);
      if (old && old.innerHTML !== part.innerHTML && !old.contains(document.activeElement)) {
        old.replaceChildren(...part.childNodes);
        if (part.dataset.refresh) old.dataset.refresh = part.dataset.refresh;
        else delete old.dataset.refresh;
      }
    }
    for (const chart of fresh.querySelectorAll("[data-chart][id]")) {
      const old = document.getElementById(chart.id);
      if (old && old.dataset.chart !== chart.dataset.chart) {
        old.dataset.chart = chart.dataset.chart;
        draw(old);
      }
    }
  }

  function follow(root) {
    const state = document.querySelector("[data-live-state]");
    const tell = (on) => {
      if (!state) return;
      state.className = `live ${on ? "on" : "off"}`;
      state.textContent = on ? "live" : "not connected";
    };
    let source;
    const open = () => {
      source = new EventSource(root.dataset.live);
      source.addEventListener("parts", (event) => {
        tell(true);
        takeOver(JSON.parse(event.data), root);
      });
      source.addEventListener("error", () => tell(false));
    };
    open();
    // A page that nobody looks at costs nothing.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) source.close();
      else if (source.readyState === EventSource.CLOSED) open();
    });
  }

  async function refresh() {
    const part = document.querySelector("[data-refresh]");
    if (!part) return;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (response.ok && !response.redirected) takeOver(await response.text(), document);
    } catch {
      // The next try may come through.
    }
    setTimeout(refresh, 1000 * Number(part.dataset.refresh || 1));
  }

  document.querySelectorAll("[data-chart]").forEach(draw);
  // A canvas keeps the colours that it was drawn with.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [element, chart] of [...charts]) {
      chart.destroy();
      charts.delete(element);
      draw(element);
    }
  });
  document.querySelectorAll("[data-live]").forEach(follow);
  refresh();

  // A number with bounds gets a slider, logarithmic; what follows from it is asked for anew, and the address says what was asked.
  function slide(field) {
    const [min, max] = field.dataset.slider.split(" ").map(Number);
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: 1000 });
    slider.setAttribute("aria-label", field.labels[0].textContent.trim());
    const show = () => {
      slider.value = 1000 * Math.log(Math.max(Number(field.value), min) / min) / Math.log(max / min);
      slider.setAttribute("aria-valuetext", field.value);
    };
    slider.addEventListener("input", () => {
      const value = min * (max / min) ** (slider.value / 1000);
      field.value = field.step === "any" ? +value.toPrecision(3) : Math.round(value);
      slider.setAttribute("aria-valuetext", field.value);
      reckon(field.form);
    });
    field.addEventListener("input", show);
    show();
    field.after(slider);
  }

  let asked = 0;
  async function reckon(form) {
    const mine = ++asked;
    const address = `${location.pathname}?${new URLSearchParams(new FormData(form))}`;
    try {
      const response = await fetch(address, { headers: { Accept: "text/html" } });
      if (!response.ok || response.redirected) return;
      const html = await response.text();
      if (mine === asked) {
        takeOver(html, document);
        history.replaceState(null, "", address);
      }
    } catch {
      // The button still asks.
    }
  }

  document.querySelectorAll("input[data-slider]").forEach(slide);

  // "/" goes to the search of a list.
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      const field = document.querySelector(".filters input:not([type=hidden])");
      if (field) {
        event.preventDefault();
        field.focus();
      }
    }
  });
})();
