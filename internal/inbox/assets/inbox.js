"use strict";
// What arrived is only ever put on the page as HTML that the server made and escaped; see the template "card".

const body = document.body, bin = body.dataset.bin, $ = (id) => document.getElementById(id);
const texts = JSON.parse($("texts").textContent);

function localTimes(root) {
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });
  for (const t of root.querySelectorAll("time")) {
    const at = new Date(t.dateTime);
    if (isNaN(at)) continue;
    t.textContent = clock.format(at);
    t.title = at.toLocaleString(document.documentElement.lang);
  }
}

function origins(root) {
  for (const o of root.querySelectorAll(".origin")) o.textContent = location.origin;
}

function trouble(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text || "";
}

let quiet;
function say(text) {
  $("said").textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { $("said").textContent = ""; }, 4000);
}

// ask returns the response, or null after it has told what is wrong, beside the field where there is one.
async function ask(method, path, data, form) {
  for (const e of form ? form.querySelectorAll("[data-error]") : []) mark(form, e, "");
  trouble("");
  let resp;
  try {
    resp = await fetch(path, { method, body: data && JSON.stringify(data) });
  } catch {
    trouble(texts["js.away"]);
    return null;
  }
  if (resp.ok) return resp;
  const problem = await resp.json().catch(() => ({ detail: resp.statusText }));
  let first = null;
  for (const { field, detail } of problem.errors || []) {
    const place = form && form.querySelector(`[data-error="${CSS.escape(field)}"]`);
    const text = texts[resp.status === 409 ? "error.taken" : "error." + field];
    if (place) first = first || mark(form, place, text || detail);
  }
  if (first) first.focus(); else trouble(problem.detail);
  return null;
}

function mark(form, place, detail) {
  const input = form.elements[place.dataset.error];
  place.hidden = !detail;
  place.textContent = detail;
  if (detail) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
  return input;
}

function binPage() {
  const cards = $("cards"), live = $("live"), filter = $("filter"), address = $("address");
  address.textContent = location.origin + address.dataset.path;
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(address.textContent);
      say(texts["js.copied"]);
    } catch {
      getSelection().selectAllChildren(address);
      say(texts["js.copyfailed"]);
    }
  });
  settings();

  const showFilter = () => {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const c of cards.children) {
      c.hidden = wanted !== "" && !c.querySelector("summary").textContent.toLowerCase().includes(wanted);
      if (!c.hidden) shown++;
    }
    $("nomatch").hidden = shown > 0 || cards.children.length === 0;
  };
  filter.addEventListener("input", showFilter);
  cards.addEventListener("click", (e) => {
    const only = e.target.closest("[data-show]");
    if (!only) return;
    filter.value = only.dataset.show;
    showFilter();
    filter.focus();
  });
  for (const button of document.querySelectorAll("[data-confirm]")) {
    const what = button.dataset.confirm, dialog = $("confirm-" + what);
    button.addEventListener("click", () => { dialog.returnValue = ""; dialog.showModal(); });
    dialog.addEventListener("close", async () => {
      if (dialog.returnValue !== "yes") return;
      if (what === "clear") await ask("DELETE", `/bins/${bin}/arrivals`);
      else if (await ask("DELETE", `/bins/${bin}`)) location.assign("/");
    });
  }

  const state = (on, text) => {
    live.classList.toggle("on", on);
    live.lastElementChild.textContent = text;
  };
  const most = 100;
  let line = Promise.resolve(); // cards go in one after the other
  const source = new EventSource(`/bins/${bin}/stream?after=${body.dataset.last}`);
  source.onopen = () => state(true, texts["js.live"]);
  source.onerror = () => state(false, texts["js.reconnecting"]);
  source.addEventListener("arrival", (e) => { line = line.then(() => add(e.lastEventId)).catch(() => {}); });
  source.addEventListener("changed", facts);
  source.addEventListener("cleared", () => {
    line = line.then(() => {
      cards.replaceChildren();
      $("empty").hidden = false;
      filter.hidden = true;
      filter.value = "";
      showFilter();
      facts();
    });
  });
  source.addEventListener("gone", () => {
    source.close();
    state(false, texts["js.gone"]);
    trouble(texts["js.gone"]);
  });
  async function add(id) {
    if (cards.querySelector(`[data-id="${CSS.escape(id)}"]`)) return;
    const resp = await fetch(`/bins/${bin}/cards/${id}`);
    if (!resp.ok) return;
    cards.insertAdjacentHTML("afterbegin", await resp.text());
    const card = cards.firstElementChild;
    card.classList.add("fresh");
    localTimes(card);
    $("empty").hidden = true;
    filter.hidden = false;
    showFilter();
    say(texts["js.arrived"]);
    while (cards.children.length > most) cards.lastElementChild.remove();
    facts();
  }
}

// facts fetches what a bin's settings and arrivals change; calls while one is under way make one more.
let fetching = false, again = false;
async function facts() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    do {
      again = false;
      const resp = await fetch(`/bins/${bin}/facts`);
      if (!resp.ok) break;
      $("facts").innerHTML = await resp.text();
      const now = $("facts").firstElementChild.dataset;
      $("title").textContent = now.title;
      $("keys-set").textContent = now.keysSet;
      $("remove-keys").hidden = now.keys === "0";
      const left = $("f-fail-first");
      if ($("settings").hidden) left.value = now.failsLeft;
    } while (again);
  } catch {
    // The stream shows that the inbox is away.
  } finally {
    fetching = false;
  }
}

function settings() {
  const form = $("settings"), open = $("open-settings"), fields = form.elements;
  const show = (on) => {
    form.hidden = !on;
    open.setAttribute("aria-expanded", String(on));
    if (on) fields.title.focus(); else open.focus();
  };
  const failsBefore = () => $("facts").firstElementChild.dataset.failsLeft;
  let fails = failsBefore();
  open.addEventListener("click", () => { fails = failsBefore(); show(form.hidden); });
  $("close-settings").addEventListener("click", () => show(false));
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") show(false); });
  fields["signing.scheme"].addEventListener("change", () => { $("hmac").hidden = fields["signing.scheme"].value !== "hmac"; });
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const data = {
      title: fields.title.value, signing: { scheme: fields["signing.scheme"].value }, delay: fields.delay.value ? fields.delay.value + "s" : "",
      status: Number(fields.status.value), fail_status: Number(fields.fail_status.value),
      retry_after: fields.retry_after.value.trim(), body: fields.body.value, content_type: fields.content_type.value.trim(),
    };
    if (fields.fail_first.value !== fails) data.fail_first = Number(fields.fail_first.value);
    const keys = fields.secrets.value.split("\n").map((k) => k.trim()).filter(Boolean);
    if (keys.length || fields.remove_secrets.checked) data.secrets = keys;
    if (data.signing.scheme === "hmac") {
      for (const name of ["algorithm", "encoding", "header", "prefix", "template", "timestamp_header"]) data.signing[name] = fields["signing." + name].value;
    }
    say(texts["js.saving"]);
    // A bin whose page was opened before anything arrived is made by watching it.
    if (!await ask("PATCH", `/bins/${bin}`, data, form)) { say(""); return; }
    fields.secrets.value = "";
    fields.remove_secrets.checked = false;
    await facts();
    say(texts["js.saved"]);
    show(false);
  });
}

function binsPage() {
  const form = $("create");
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const name = form.elements.name.value.trim();
    const resp = await ask("POST", "/bins", name ? { name } : {}, form);
    if (resp) location.assign(`/bins/${(await resp.json()).name}/view`);
  });
  let seen = "";
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const list = await (await fetch("/bins")).text();
      if ($("trouble").textContent === texts["js.away"]) trouble("");
      if (list === seen) return;
      const first = seen === "";
      seen = list;
      if (first || $("list").contains(document.activeElement)) return; // a focused link must not be replaced
      const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
      $("list").replaceWith(page.getElementById("list"));
      localTimes(document);
      origins(document);
    } catch {
      trouble(texts["js.away"]);
    }
  }, 2000);
}

localTimes(document);
origins(document);
if (body.dataset.page === "bin") binPage(); else binsPage();
