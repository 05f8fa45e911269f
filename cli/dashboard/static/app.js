// Keeps an open page up to date. Without it the page is whole, and stands still.
"use strict";

(() => {
  const root = document.documentElement;
  const silentAfter = 2200; // ms without a word of the dashboard, which speaks every 700 ms: what is shown may be old
  const reopenAfter = 10000; // ms
  const hashes = new Map();
  let heard = Date.now();
  let source;

  for (const part of (document.body.dataset.have || "").split(",")) {
    const [id, hash] = part.split(":");
    if (hash) hashes.set(id, hash);
  }

  // morph makes one element like another, and touches only nodes that differ: focus and scrolling stay.
  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
      from.replaceWith(to.cloneNode(true));
      return;
    }
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    for (const a of [...from.attributes]) {
      if (!to.hasAttribute(a.name) && !kept(a.name)) from.removeAttribute(a.name);
    }
    for (const a of to.attributes) {
      if (from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
    }
    const byId = new Map();
    for (const c of from.children) if (c.id) byId.set(c.id, c);
    let at = from.firstChild;
    for (const want of to.childNodes) {
      let match = null;
      if (want.id) match = byId.get(want.id) || null;
      else if (at && !at.id && at.nodeName === want.nodeName) match = at;
      if (!match) {
        from.insertBefore(want.cloneNode(true), at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else from.insertBefore(match, at);
      morph(match, want);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // kept names what a person or this script has set.
  function kept(attribute) { return attribute === "open" || attribute === "data-age"; }

  function put(fragment) {
    const el = document.getElementById(fragment.id);
    if (!el) return;
    const box = document.createElement("template");
    box.innerHTML = fragment.html;
    morph(el, box.content.firstElementChild);
    hashes.set(fragment.id, fragment.hash);
  }

  function cells(list) {
    for (const [name, shown] of list) {
      const el = document.getElementById("d-" + name);
      if (el) el.className = shown;
    }
    hashes.delete("grid");
  }

  function ages() {
    const now = Date.now();
    for (const el of document.querySelectorAll("time[data-live]")) {
      const s = Math.max(0, Math.round((now - Date.parse(el.dateTime)) / 1000));
      const text = s < 120 ? s + " s ago" : s < 7200 ? Math.round(s / 60) + " min ago" : Math.round(s / 3600) + " h ago";
      if (el.dataset.age !== text) el.dataset.age = text;
    }
  }

  function live(on) {
    const is = on ? "on" : "lost";
    if (root.dataset.live === is) return;
    root.dataset.live = is;
    const notice = document.getElementById("lost");
    if (notice) notice.hidden = on;
  }

  function open() {
    if (source) source.close();
    heard = Date.now();
    const have = [...hashes].map(([id, hash]) => id + ":" + hash).join(",");
    source = new EventSource("/events?page=" + encodeURIComponent(location.pathname + location.search) + "&have=" + encodeURIComponent(have));
    const on = (name, f) => source.addEventListener(name, (e) => {
      heard = Date.now();
      f(JSON.parse(e.data));
    });
    on("fragment", put);
    on("when", ([id, html]) => {
      const el = document.getElementById(id);
      if (!el) return;
      const box = document.createElement("template");
      box.innerHTML = html;
      morph(el, box.content.firstElementChild);
    });
    on("cells", cells);
    on("notice", (why) => {
      const el = document.getElementById("notice");
      if (el) { el.textContent = why ? why + ": what is shown below is from before" : ""; el.hidden = !why; }
      root.toggleAttribute("data-missing", Boolean(why));
    });
    on("tick", () => live(true));
    const opened = source;
    source.onerror = () => {
      // The browser would ask again for what the page had when it was loaded.
      opened.close();
      live(false);
      setTimeout(() => { if (source === opened) open(); }, 1000);
    };
  }

  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.nodeName)) return;
    const to = { "1": "/", "2": "/deployments", "3": "/devices", "4": "/operator" }[e.key];
    if (to) location.assign(to);
    if (e.key === "/") {
      const search = document.getElementById("q");
      if (search) { e.preventDefault(); search.focus(); } else location.assign("/devices#q");
    }
  });

  const grid = document.getElementById("grid");
  if (grid) {
    const nameOf = (e) => (e.target.nodeName === "I" && e.target.id.startsWith("d-") ? e.target.id.slice(2) : "");
    grid.addEventListener("click", (e) => { if (nameOf(e)) location.assign("/devices/" + nameOf(e)); });
    grid.addEventListener("mouseover", (e) => { if (nameOf(e)) e.target.title = nameOf(e) + ": " + e.target.className; });
  }

  if (location.hash === "#q") document.getElementById("q")?.focus();

  if (document.body.dataset.live !== "no") {
    root.dataset.live = "on";
    open();
    setInterval(() => {
      if (document.hidden) return;
      if (Date.now() - heard > silentAfter) live(false);
      if (Date.now() - heard > reopenAfter) open(); // a connection that hangs says nothing of it
    }, 250);
    // A browser has six connections to a server: pages that nobody sees give theirs back.
    document.addEventListener("visibilitychange", () => { if (document.hidden) source.close(); else open(); });
    window.addEventListener("pageshow", (e) => { if (e.persisted) open(); });
    window.addEventListener("pagehide", () => source.close());
  }
  ages();
  setInterval(ages, 1000);
})();
