"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const items = all(".item");
  let current = null;

  // The element that is drawn with the sound: an item, or a card.
  const scene = (audio) => audio.closest("[data-seconds]");

  function follow(audio) {
    const element = scene(audio);
    if (!element) return;
    const seconds = Number(element.dataset.seconds) || audio.duration;
    element.style.setProperty("--at", `${Math.min(100, (100 * audio.currentTime) / seconds)}%`);
    element.classList.add("playing");
    if (!audio.paused) requestAnimationFrame(() => follow(audio));
  }

  for (const audio of all("audio")) {
    audio.addEventListener("play", () => {
      for (const other of all("audio")) if (other !== audio) other.pause();
      const item = audio.closest(".item");
      if (item) { choose(item, false); pick(item, audio); }
      follow(audio);
    });
    audio.addEventListener("seeked", () => follow(audio));
  }

  function pick(item, audio) {
    for (const lane of all(".lane", item)) lane.classList.toggle("chosen", lane.contains(audio));
  }

  // The sound of an item that the keys play: the one that was chosen, else the mix, which is the last.
  function picked(item) {
    const chosen = item.querySelector(".lane.chosen audio");
    return chosen || all(".lane audio", item).pop() || null;
  }

  function choose(item, scroll = true) {
    if (current && current !== item) current.classList.remove("current");
    current = item;
    item.classList.add("current");
    if (scroll) { item.focus({ preventScroll: true }); item.scrollIntoView({ block: "nearest" }); }
  }

  const visible = () => items.filter((item) => !item.hidden);

  function move(step) {
    const there = visible();
    if (!there.length) return;
    const at = there.indexOf(current);
    const next = at < 0 ? there[0] : there[Math.min(there.length - 1, Math.max(0, at + step))];
    choose(next);
  }

  function turn(step) {
    if (!current) return move(0);
    const sounds = all(".lane audio", current);
    if (!sounds.length) return;
    const before = picked(current);
    const next = sounds[Math.min(sounds.length - 1, Math.max(0, sounds.indexOf(before) + step))];
    const playing = !before.paused, at = before.currentTime;
    pick(current, next);
    if (playing && next !== before) { next.currentTime = at; next.play(); }
  }

  function toggle() {
    if (!current) move(0);
    const audio = current && picked(current);
    if (!audio) return;
    if (audio.paused) { pick(current, audio); audio.play(); } else audio.pause();
  }

  document.addEventListener("keydown", (event) => {
    if (!items.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, button, audio, a")) return;
    const actions = {
      " ": toggle, ArrowDown: () => move(1), ArrowUp: () => move(-1), ArrowRight: () => turn(1), ArrowLeft: () => turn(-1),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  for (const plot of all(".plot")) {
    plot.addEventListener("click", (event) => {
      const place = plot.getBoundingClientRect();
      const holder = plot.closest(".lane, .card");
      const audio = holder && holder.querySelector("audio");
      if (!audio) return;
      const at = ((event.clientX - place.left) / place.width) * Number(scene(audio).dataset.seconds);
      const start = () => { audio.currentTime = at; audio.play(); };
      if (audio.readyState >= 1) start();
      else { audio.addEventListener("loadedmetadata", start, { once: true }); audio.load(); }
    });
  }

  const form = document.querySelector(".filters");
  function filter() {
    const wanted = {};
    for (const field of all("[data-filter]", form)) wanted[field.dataset.filter] = field.value;
    for (const item of items) {
      const bpm = item.dataset.bpm === undefined ? NaN : Number(item.dataset.bpm);
      const low = wanted["bpm-from"], high = wanted["bpm-to"];
      item.hidden = Boolean(
        (wanted.mixer && item.dataset.mixer !== wanted.mixer) ||
        (wanted.label && !JSON.parse(item.dataset.labels).includes(wanted.label)) ||
        (low && !(bpm >= Number(low))) || (high && !(bpm <= Number(high)))
      );
      if (item.hidden) for (const audio of all("audio", item)) audio.pause();
    }
    if (current && current.hidden) { current.classList.remove("current"); current = null; }
    form.querySelector(".count").textContent = `${visible().length} of ${items.length}`;
  }
  if (form) {
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();  // a browser may have kept what was chosen
  }

  // In a notebook the frame is as high as the page, up to a screen.
  if (window.frameElement) {
    const fit = () => { window.frameElement.style.height = `${Math.min(900, document.documentElement.scrollHeight)}px`; };
    fit();
    window.addEventListener("load", fit);
    document.documentElement.classList.add("framed");
  }

  for (const cell of all("button.cell")) {
    cell.addEventListener("click", () => {
      const sounds = all("audio", document.getElementById(cell.dataset.clips));
      for (const panel of all(".misheard")) panel.hidden = panel.id !== cell.dataset.clips;
      if (sounds.length) sounds[0].play();
    });
  }
})();
