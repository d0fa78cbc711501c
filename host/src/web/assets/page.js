// What a page does by itself: it follows what it shows, and can be used from the keyboard. Everything that it
// shows was made on the server: it fetches the page again and takes over what changed.
"use strict";
(() => {
  const trusted = window.trustedTypes
    ? trustedTypes.createPolicy("handoff", { createHTML: (html) => html })
    : { createHTML: (html) => html };
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const parse = (html) => new DOMParser().parseFromString(trusted.createHTML(html), "text/html");

  // Takes over what the server shows now. What somebody works with at the moment stays.
  function take(fresh) {
    const [now, next] = [$("#content"), $("#content", fresh)];
    if (!next || !$("script[nonce], script", fresh)) return;
    const open = new Set($$("details[open]", now).map((it) => $("summary", it)?.textContent));
    const focused = document.activeElement?.closest("#content a[href], #content button, #content [id]");
    const sign = focused?.id ? `#${CSS.escape(focused.id)}` : focused?.getAttribute("href")
      ? `a[href="${CSS.escape(focused.getAttribute("href"))}"]` : null;
    const scrolled = $$(".scroll, .log", now).map((it) => [it.scrollLeft, it.scrollTop]);
    const places = $$("[data-keep]", next);
    $$("[data-keep]", now).forEach((kept, place) => places[place]?.replaceWith(kept));
    now.replaceChildren(...[...next.childNodes].map((it) => document.adoptNode(it)));
    for (const { name } of [...now.attributes]) if (name.startsWith("data-") && !next.hasAttribute(name)) now.removeAttribute(name);
    for (const { name, value } of [...next.attributes]) if (name.startsWith("data-")) now.setAttribute(name, value);
    document.title = fresh.title;
    const [icon, newIcon] = [$("link[rel=icon]"), $("link[rel=icon]", fresh)];
    if (icon && newIcon && icon.getAttribute("href") !== newIcon.getAttribute("href")) icon.replaceWith(document.adoptNode(newIcon));
    for (const it of $$("details", now)) it.open = open.has($("summary", it)?.textContent);
    $$(".scroll, .log", now).forEach((it, at) => { if (scrolled[at]) [it.scrollLeft, it.scrollTop] = scrolled[at]; });
    if (sign && document.activeElement === document.body) $(sign, now)?.focus({ preventScroll: true });
    dress();
  }

  async function refresh() {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    if (answer.ok) take(parse(await answer.text()));
    return answer.ok;
  }

  // A run is followed by its events. A connection that breaks is opened again where it was; after that the
  // page is fetched whole, so nothing is missed.
  function follow(main) {
    const run = main.dataset.run;
    const tell = (text) => { const it = $("[data-connection]"); if (it) it.textContent = text; };
    let last = main.dataset.seq, ended = false, timer = 0, busy = false, again = false, wait = 500;
    const update = async () => {
      if (busy) { again = true; return; }
      busy = true;
      try { await refresh(); tell(ended ? "" : "Live"); } catch { tell("The server does not answer"); again = true; }
      busy = false;
      if (again) { again = false; soon(); }
    };
    const soon = () => { if (!timer) timer = setTimeout(() => { timer = 0; update(); }, 400); };
    const open = () => {
      const events = new EventSource(`/api/v1/runs/${run}/events?after=${last}`);
      const kinds = ["run_queued", "run_started", "attempt_started", "attempt_finished", "test_finished", "cancel_requested", "retry_requested", "run_finished"];
      for (const kind of kinds) events.addEventListener(kind, (event) => {
        last = event.lastEventId || last;
        ended = kind === "run_finished";
        if (ended) events.close();
        soon();
      });
      events.onopen = () => { wait = 500; tell("Live"); soon(); };
      events.onerror = () => {
        events.close();
        if (ended) return;
        tell("The connection broke; trying again");
        setTimeout(open, wait = Math.min(wait * 2, 5000));
      };
    };
    open();
    lines(run, () => ended);
  }

  // Lines of the log as they come; the last ones are kept.
  async function lines(run, ended) {
    const most = 500;
    let wait = 500;
    while (!ended()) {
      const list = $("[data-log]");
      if (!list) return;
      try {
        const answer = await fetch(`/api/v1/runs/${run}/logs?follow=true&format=json`);
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        list.replaceChildren();
        let rest = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          const parts = (rest + value).split("\n");
          rest = parts.pop();
          const shown = document.createDocumentFragment();
          for (const part of parts.slice(-most)) shown.append(line(JSON.parse(part)));
          const stay = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
          list.append(shown);
          while (list.childElementCount > most) list.firstChild.remove();
          if (stay) list.scrollTop = list.scrollHeight;
        }
        wait = 500;
      } catch { /* The server went away: ask again. */ }
      await new Promise((done) => setTimeout(done, wait = Math.min(wait * 2, 5000)));
    }
  }

  const colours = /\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b./g;
  const odd = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  const visible = (text) => String(text).replace(colours, "").replace(odd, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
  function line(record) {
    const item = document.createElement("li");
    const source = /^[a-z]+$/.test(record.source) ? record.source : "";
    item.className = source;
    for (const [name, text] of [["at", String(record.at).slice(11, 23)], ["src", source], ["said", visible(record.text).slice(0, 2000)]]) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      item.append(part);
    }
    return item;
  }

  // What only makes sense with a script is shown by it.
  const favourites = () => { try { return new Set(JSON.parse(localStorage.getItem("favourites")) || []); } catch { return new Set(); } };
  function dress() {
    const known = favourites();
    for (const button of $$("[data-copy]")) {
      button.hidden = false;
      button.onclick = async () => {
        try { await navigator.clipboard.writeText($(`#${button.dataset.copy}`).textContent); button.textContent = "Copied"; }
        catch { getSelection().selectAllChildren($(`#${button.dataset.copy}`)); button.textContent = "Selected: press Ctrl+C"; }
      };
    }
    for (const button of $$("[data-favourite]")) {
      button.hidden = false;
      button.setAttribute("aria-pressed", known.has(button.dataset.favourite));
      button.onclick = () => {
        const all = favourites(), name = button.dataset.favourite;
        all.has(name) ? all.delete(name) : all.add(name);
        localStorage.setItem("favourites", JSON.stringify([...all]));
        dress();
      };
    }
    for (const table of $$("table[data-favourites] tbody")) {
      const rows = $$("tr", table).filter((row) => known.has(row.dataset.suite));
      rows.forEach((row) => row.classList.add("favourite"));
      table.prepend(...rows);
    }
    for (const label of $$(".hidden-label")) label.hidden = false;
    for (const field of $$("[data-filter-log]")) field.oninput = () => {
      const wanted = field.value.toLowerCase();
      for (const it of $$(".log li", field.closest("section"))) it.hidden = !it.textContent.toLowerCase().includes(wanted);
    };
    for (const form of $$("form[data-start]")) if (!form.dataset.dressed) match(form);
    ago();
  }

  // Which tests a filter takes, as it is written.
  function match(form) {
    form.dataset.dressed = "yes";
    let timer = 0, turn = 0;
    const ask = async () => {
      const mine = ++turn;
      const said = new URLSearchParams([...new FormData(form)].filter(([name, value]) => name !== "token" && value !== ""));
      try {
        const answer = await fetch(`${form.dataset.start}?${said}`);
        const text = await answer.text();
        if (mine === turn && answer.ok) $("[data-matches]", form).replaceChildren(...[...parse(text).body.childNodes].map((it) => document.adoptNode(it)));
      } catch { /* It is only a hint. */ }
    };
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 200); });
  }

  function ago() {
    for (const it of $$("time[datetime]")) {
      const seconds = Math.round((Date.now() - Date.parse(it.dateTime)) / 1000), far = Math.abs(seconds);
      const span = far < 60 ? `${far} s` : far < 3600 ? `${Math.floor(far / 60)} min` : far < 172800 ? `${Math.floor(far / 3600)} h` : `${Math.floor(far / 86400)} days`;
      const words = far < 5 ? "now" : seconds > 0 ? `${span} ago` : `in ${span}`;
      if (it.textContent !== words) it.textContent = words;
    }
  }

  let before = "", at = -1;
  const places = { h: "/", s: "/suites", r: "/runs", c: "/schedules", t: "/triggers", p: "/plugins" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, textarea, select, dialog")) return;
    const key = event.key, pair = before === "g" && places[key];
    before = key;
    const does = (what) => { event.preventDefault(); what(); };
    if (pair) does(() => location.assign(pair));
    else if (key === "/") does(() => $("#find").focus());
    else if (key === "?") does(() => $("#keys").showModal());
    else if (key === "j" || key === "k") does(() => {
      const all = $$("[data-failure]");
      at = Math.max(0, Math.min(all.length - 1, at + (key === "j" ? 1 : -1)));
      all[at]?.focus();
      all[at]?.scrollIntoView({ block: "nearest" });
    });
    else if (key === "n") { const it = $("[data-key=n]"); if (it) does(() => { it.click(); $("[data-start] input[name=filter]")?.focus(); }); }
    else if (key === "x") { const it = $("[data-key=x]"); if (it) does(() => it.focus()); }
  });

  dress();
  setInterval(ago, 15000);
  const main = $("#content");
  if (main.dataset.run) follow(main);
  else if (main.dataset.refresh) {
    const each = async () => {
      if (!document.hidden) try { await refresh(); } catch { /* The next time. */ }
      setTimeout(each, Number(main.dataset.refresh));
    };
    setTimeout(each, Number(main.dataset.refresh));
  }
})();
