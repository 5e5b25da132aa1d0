"use strict";
// What arrived is only ever put on the page as HTML that the server made and escaped; see the template "card".

const body = document.body;

function localTimes(root) {
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });
  for (const t of root.querySelectorAll("time")) {
    const at = new Date(t.dateTime);
    if (isNaN(at)) continue;
    t.textContent = clock.format(at);
    t.title = at.toLocaleString();
  }
}

function origins(root) {
  for (const o of root.querySelectorAll(".origin")) o.textContent = location.origin;
}

function binPage() {
  const bin = body.dataset.bin, cards = document.getElementById("cards"), live = document.getElementById("live");
  const empty = document.getElementById("empty"), total = document.getElementById("total");
  const address = document.getElementById("address"), copy = document.getElementById("copy");
  address.textContent = location.origin + address.dataset.path;
  if (navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(address.textContent);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Copy failed";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
  }
  const say = (on, text) => {
    live.classList.toggle("on", on);
    live.lastElementChild.textContent = text;
  };
  const most = 100;
  let line = Promise.resolve(); // cards go in one after the other
  const source = new EventSource(`/bins/${bin}/stream?after=${body.dataset.last}`);
  source.onopen = () => say(true, "live");
  source.onerror = () => say(false, "reconnecting");
  source.addEventListener("arrival", (e) => {
    line = line.then(() => add(e.lastEventId)).catch(() => {});
  });
  async function add(id) {
    if (cards.querySelector(`[data-id="${CSS.escape(id)}"]`)) return;
    const resp = await fetch(`/bins/${bin}/cards/${id}`);
    if (!resp.ok) return;
    cards.insertAdjacentHTML("afterbegin", await resp.text());
    const card = cards.firstElementChild;
    card.classList.add("fresh");
    localTimes(card);
    empty.hidden = true;
    total.textContent = resp.headers.get("Inbox-Total");
    while (cards.children.length > most) cards.lastElementChild.remove();
  }
}

function binsPage() {
  let seen = "";
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const list = await (await fetch("/bins")).text();
      if (list === seen) return;
      const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
      document.getElementById("main").replaceWith(page.getElementById("main"));
      seen = list;
      localTimes(document);
      origins(document);
    } catch {
      // The inbox is away for now; the next turn tries again.
    }
  }, 2000);
}

localTimes(document);
origins(document);
if (body.dataset.page === "bin") binPage(); else binsPage();
