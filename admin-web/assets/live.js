// Values that change while a page is open. Without this script a page shows them as
// they were when it was loaded.
"use strict";
(() => {
  const badge = document.querySelector("[data-stream]");
  if (!badge || !("EventSource" in window)) return;

  const places = new Map();
  for (const place of document.querySelectorAll("[data-live]")) {
    const known = places.get(place.dataset.live) ?? [];
    places.set(place.dataset.live, [...known, place]);
  }

  const say = (word, tone) => {
    badge.hidden = false;
    badge.textContent = word;
    badge.className = `pill ${tone}`;
  };

  const put = (key, value) => {
    for (const place of places.get(key) ?? []) {
      const [text, tone] = Array.isArray(value) ? value : [value];
      if (tone) place.className = `pill ${tone}`;
      if (place.textContent === text) continue;
      place.textContent = text;
      place.classList.remove("fresh");
      void place.offsetWidth;
      place.classList.add("fresh");
    }
  };

  let source;
  const open = () => {
    source = new EventSource(badge.dataset.stream);
    source.onopen = () => say("Updates live", "plain");
    source.onmessage = (event) => {
      for (const [key, value] of Object.entries(JSON.parse(event.data))) put(key, value);
    };
    // The browser tries again by itself, unless it was told that there is nothing.
    source.onerror = () =>
      source.readyState === EventSource.CLOSED ? say("No longer live: reload", "warn") : say("Reconnecting…", "warn");
  };

  // A page that nobody looks at keeps no connection.
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (!document.hidden) open();
  });
  if (!document.hidden) open();
})();
