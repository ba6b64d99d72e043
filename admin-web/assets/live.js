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
    if (badge.textContent !== word) badge.textContent = word;
    badge.className = `pill ${tone}`;
  };

  // Whether the page has a place for it, or there is nothing to show.
  const put = (key, value) => {
    const [text, tone] = Array.isArray(value) ? value : [value];
    for (const place of places.get(key) ?? []) {
      if (tone) place.className = `pill ${tone}`;
      if (place.textContent === text) continue;
      place.textContent = text;
      place.classList.remove("fresh");
      void place.offsetWidth;
      place.classList.add("fresh");
    }
    return places.has(key) || text === "" || text === "–";
  };

  let source, later, isWhole;
  const close = () => {
    clearTimeout(later);
    source?.close();
  };
  const open = () => {
    close();
    isWhole = true;
    source = new EventSource(badge.dataset.stream);
    source.onmessage = (event) => {
      for (const [key, value] of Object.entries(JSON.parse(event.data))) isWhole = put(key, value) && isWhole;
      if (isWhole) say("Updates live", "plain");
      else say("New values: reload the page", "good");
    };
    source.onerror = () => {
      say("Reconnecting…", "warn");
      // Whatever is no stream ends the browser's own attempts: an upgrade, a full house.
      if (source.readyState === EventSource.CLOSED) later = setTimeout(open, 30000 + Math.random() * 30000);
    };
  };

  // A page that nobody looks at keeps no connection.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  if (!document.hidden) open();
})();
