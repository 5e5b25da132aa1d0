// What the pages of the console do beyond plain forms. Without it everything works, with more loads of pages.
(function () {
  "use strict";
  const $ = (selector, root) => (root || document).querySelector(selector);
  const $$ = (selector, root) => [...(root || document).querySelectorAll(selector)];
  const lang = document.documentElement.lang;

  // Toasts close after 5 s, but not under the pointer or the focus.
  const toastLife = 5000;
  function watchToast(toast) {
    let timer = 0;
    const go = () => { clearTimeout(timer); timer = setTimeout(() => toast.remove(), toastLife); };
    const hold = () => clearTimeout(timer);
    toast.addEventListener("mouseenter", hold);
    toast.addEventListener("focusin", hold);
    toast.addEventListener("mouseleave", go);
    toast.addEventListener("focusout", go);
    go();
  }
  function showToast(text, bad) {
    const toast = $("#toast-template").content.firstElementChild.cloneNode(true);
    $("span", toast).textContent = text;
    toast.classList.toggle("bad", !!bad);
    const toasts = $("#toasts");
    const over = $("dialog[open]") || document.body; // what is outside of an open dialog cannot be reached
    if (toasts.parentNode !== over) over.append(toasts);
    toasts.append(toast);
    watchToast(toast);
  }

  // Confirmation: a form with data-confirm asks in a dialog before it is sent.
  const confirmDialog = $("#confirm");
  let asking = null; // the form and its button
  function ask(form, button) {
    asking = { form, button };
    $("#confirm-text").textContent = form.dataset.confirm;
    $("[data-answer=yes]", confirmDialog).classList.toggle("danger", "danger" in form.dataset);
    confirmDialog.showModal();
    $("[data-answer=no]", confirmDialog).focus();
  }
  function answer(yes) {
    let { form, button } = asking || {};
    asking = null;
    confirmDialog.close();
    if (!yes || !form) return;
    if (!form.isConnected) { // the part that it stood in was replaced meanwhile
      const action = form.getAttribute("action");
      form = $$("form[data-confirm]").find((f) => f.getAttribute("action") === action);
      if (!form) return;
      button = null;
    }
    // A live update may have put the same form anew while the dialog was open.
    const action = form.getAttribute("action");
    const target = form.isConnected ? form : $$("form[data-confirm]").find((f) => f.getAttribute("action") === action);
    if (!target) {
      showToast(document.body.dataset.failed, true);
      return;
    }
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = "confirmed";
    field.value = "yes";
    target.append(field);
    target.requestSubmit(button && button.form === target ? button : undefined);
  }

  // The sheet shows a part of another page in a dialog: a link with data-sheet="#part".
  const sheet = $("#sheet");
  function openSheet(link) {
    htmx.ajax("GET", link.href, { source: "#sheet", target: "#sheet-body", select: link.dataset.sheet, swap: "innerHTML" }).then(() => {
      if ($("#sheet-body").childElementCount && !sheet.open) sheet.showModal();
    });
  }

  // Rows of a form: a fieldset with data-rows="most".
  function countRows(set) {
    const rows = $$("[data-row]", set);
    rows.forEach((row) => { $("[data-remove-row]", row).hidden = false; });
    $("[data-add-row]", set).disabled = rows.length >= Number(set.dataset.rows);
  }
  let rowNumber = 0;
  function addRow(set) {
    const row = $("[data-row-template]", set).content.firstElementChild.cloneNode(true);
    rowNumber++;
    $$("[id], [for]", row).forEach((e) => {
      if (e.id) e.id += "-" + rowNumber;
      if (e.htmlFor) e.htmlFor += "-" + rowNumber;
    });
    $("[data-row-list]", set).append(row);
    countRows(set);
    $("input", row).focus();
  }
  function removeRow(set, row) {
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    countRows(set);
    (next ? $("input", next) : $("[data-add-row]", set)).focus();
  }

  // A group's "select all" follows its boxes and leads them.
  function followAll(group) {
    const all = $("[data-select-all]", group);
    const boxes = $$("input[type=checkbox]:not([data-select-all])", group);
    const on = boxes.filter((b) => b.checked).length;
    all.checked = boxes.length > 0 && on === boxes.length;
    all.indeterminate = on > 0 && on < boxes.length;
  }

  // data-when="name=value" is there only while the form's field has that value.
  function followWhen(form) {
    $$("[data-when]", form).forEach((part) => {
      const [name, value] = part.dataset.when.split("=");
      const field = form.elements[name];
      part.hidden = !field || field.value !== value;
      part.disabled = part.hidden;
    });
  }

  function count(input) {
    const id = input.id + "-count";
    let mark = document.getElementById(id);
    if (!mark) {
      mark = document.createElement("span");
      mark.id = id;
      mark.className = "count";
      input.after(mark);
    }
    mark.textContent = [...input.value].length + "/" + input.dataset.count;
  }

  // Times are shown in the reader's zone.
  const locale = lang === "en" ? "en-GB" : lang; // day before month, 24 hours
  const format = new Intl.DateTimeFormat(locale, { dateStyle: lang === "en" ? "medium" : "short", timeStyle: "medium" });
  const exact = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });
  function localTime(e) {
    const at = new Date(e.dateTime);
    if (isNaN(at)) return;
    e.textContent = format.format(at);
    e.title = exact.format(at);
  }

  // prepare makes what the server sent alive; it is called for the page and for each part that is replaced.
  function prepare(root) {
    $$("time[datetime]", root).forEach(localTime);
    $$("[data-count]", root).forEach(count);
    $$("[data-rows]", root).forEach(countRows);
    $$("[data-select-group]", root).forEach(followAll);
    $$("form", root).forEach(followWhen);
    const focus = $("[data-focus]", root);
    if (focus) {
      focus.focus();
      if (focus.select) focus.select();
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.confirm && !form.elements.confirmed) {
      event.preventDefault();
      event.stopImmediatePropagation();
      ask(form, event.submitter);
      return;
    }
    if ("guard" in form.dataset) form.dataset.sent = "yes";
  }, true);
  document.addEventListener("input", (event) => {
    const e = event.target;
    if (e.dataset.count) count(e);
    const group = e.closest("[data-select-group]");
    if (group) {
      if ("selectAll" in e.dataset) {
        $$("input[type=checkbox]", group).forEach((b) => { b.checked = e.checked; });
      }
      followAll(group);
    }
    const form = e.form;
    if (!form) return;
    followWhen(form);
    if ("guard" in form.dataset) form.dataset.touched = "yes";
  });
  document.addEventListener("click", (event) => {
    const e = event.target.closest("a, button");
    if (!e) return;
    const d = e.dataset;
    if ("addRow" in d) {
      event.preventDefault();
      addRow(e.closest("[data-rows]"));
    } else if ("removeRow" in d) {
      removeRow(e.closest("[data-rows]"), e.closest("[data-row]"));
    } else if ("closeToast" in d) {
      e.closest(".toast").remove();
    } else if (d.answer) {
      answer(d.answer === "yes");
    } else if (d.copy) {
      navigator.clipboard.writeText(d.copy).then(() => showToast(document.body.dataset.copied), () => showToast(document.body.dataset.failed, true));
    } else if (d.sheet && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      openSheet(e);
    } else if ("closeSheet" in d && e.closest("dialog")) {
      event.preventDefault();
      sheet.close();
    }
  });
  // Enter, held for longer than what it opened takes to come, would send the form in there.
  document.addEventListener("keydown", (event) => {
    if (event.repeat && event.key === "Enter" && event.target.tagName !== "TEXTAREA") event.preventDefault();
  }, true);
  confirmDialog.addEventListener("cancel", () => { asking = null; });
  sheet.addEventListener("close", () => {
    $("#sheet-body").replaceChildren();
    document.body.append($("#toasts"));
  });
  window.addEventListener("beforeunload", (event) => {
    if ($("form[data-touched]:not([data-sent])")) event.preventDefault();
  });
  document.addEventListener("sidehook:refused", (event) => showToast(event.detail.value, true));
  document.addEventListener("htmx:sendError", () => showToast(document.body.dataset.failed, true));
  document.addEventListener("htmx:afterSwap", (event) => prepare(event.target)); // each new part

  // Live updates: news of what changed comes over one stream while the page is visible; the parts that depend on it are
  // fetched again. Parts hold no forms with input, so nothing typed is lost; what is open and focused stays so.
  const streamURL = document.body.dataset.liveUrl;
  const mark = $("#live");
  let source = null;
  let opened = false;
  function showLive(on) {
    if (!mark) return;
    mark.dataset.state = on ? "on" : "off";
    const text = on ? mark.dataset.liveText : mark.dataset.quietText;
    if (mark.textContent !== text) mark.textContent = text;
  }
  const fetching = new Map(); // ids of parts, and whether there was news since their request went out
  // Nothing is replaced between the press of a button and its release: the browser makes no click of the two then.
  let pressed = false;
  const held = new Set(); // ids of parts that there was news for meanwhile
  function release() {
    pressed = false;
    const ids = [...held];
    held.clear();
    ids.forEach((id) => { const part = document.getElementById(id); if (part) refresh(part); });
  }
  document.addEventListener("pointerdown", () => { pressed = true; }, true);
  ["pointerup", "pointercancel"].forEach((name) => {
    document.addEventListener(name, () => setTimeout(release), true); // after the click
  });
  function refresh(part) {
    if (pressed) {
      held.add(part.id);
      return;
    }
    if (fetching.has(part.id)) {
      fetching.set(part.id, true);
      return;
    }
    fetching.set(part.id, false);
    // What is open and focused counts at the moment of the swap: the reader goes on while the request is under way.
    let open = [];
    let focused = "";
    const keep = (event) => {
      const old = event.detail.target;
      if (!old || old.id !== part.id) return;
      if (pressed) {
        event.detail.shouldSwap = false;
        held.add(part.id);
        return;
      }
      open = $$("details[open][id]", old).map((d) => d.id);
      focused = old.contains(document.activeElement) ? keyOf(document.activeElement) : "";
    };
    const restore = (event) => {
      const fresh = document.getElementById(part.id);
      if (!fresh || !fresh.contains(event.target)) return;
      open.forEach((id) => { const d = document.getElementById(id); if (d) d.open = true; });
      const e = focused && $$("a, button, summary, input, select", fresh).find((x) => keyOf(x) === focused);
      if (e) e.focus({ preventScroll: true });
    };
    const done = () => {
      document.removeEventListener("htmx:beforeSwap", keep);
      document.removeEventListener("htmx:afterSwap", restore);
      const again = fetching.get(part.id);
      fetching.delete(part.id);
      const now = document.getElementById(part.id);
      if (again && now) refresh(now);
    };
    document.addEventListener("htmx:beforeSwap", keep);
    document.addEventListener("htmx:afterSwap", restore);
    // Requests of one source wait for each other, and all but the last are dropped: each part is its own.
    htmx.ajax("GET", location.pathname + location.search, { source: part, target: "#" + part.id, select: "#" + part.id, swap: "outerHTML" }).then(done, done);
  }
  // keyOf tells an element again after its part was replaced.
  function keyOf(e) {
    return [e.tagName, e.id, e.getAttribute("href"), e.form ? e.form.getAttribute("action") : "", e.dataset.copy, e.parentElement ? e.parentElement.id : ""].join(" ");
  }
  function refreshFor(name) {
    $$("[data-live~=" + name + "]").forEach((part) => { if (part.id) refresh(part); });
  }
  function connect() {
    if (!streamURL || source || document.hidden) return;
    source = new EventSource(streamURL);
    source.addEventListener("open", () => {
      showLive(true);
      // What was missed meanwhile: by a page that is new, what ends within moments of an action, such as a retry.
      $$(opened ? "[data-live][id]" : "[data-live~=deliveries][id]").forEach(refresh);
      opened = true;
    });
    source.addEventListener("error", () => showLive(false));
    ["webhooks", "deliveries", "sidecars"].forEach((name) => source.addEventListener(name, () => refreshFor(name)));
  }
  function disconnect() {
    if (source) source.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else connect(); });
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", connect);

  $$(".toast", $("#toasts")).forEach(watchToast);
  const current = $(".tabs [aria-current]"); // on a phone the tabs scroll
  if (current) current.parentElement.scrollLeft = current.offsetLeft + current.offsetWidth - current.parentElement.clientWidth;
  prepare(document);
  connect();
})();

// Fields of times: the server takes and gives UTC (data-utc); the reader sees and types the time of their own zone.
(function () {
  "use strict";
  const pad = (n) => String(n).padStart(2, "0");
  const local = (d) => d.getFullYear() + "-" + pad(d.getMonth() + 1) + "-" + pad(d.getDate()) + "T" + pad(d.getHours()) + ":" + pad(d.getMinutes()) + (d.getSeconds() ? ":" + pad(d.getSeconds()) : "");
  function zone() {
    document.querySelectorAll("input[data-utc]:not([data-zoned])").forEach((e) => {
      const text = e.getAttribute("value") || "";
      const at = new Date(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : text + "Z");
      if (text && !isNaN(at)) {
        if (at.getSeconds()) e.step = 1;
        e.value = local(at);
      }
      e.dataset.zoned = "yes";
    });
    const name = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
    document.querySelectorAll("[data-zone]").forEach((e) => { e.textContent = "(" + name + ")"; });
  }
  document.addEventListener("formdata", (event) => {
    event.target.querySelectorAll("input[data-zoned]").forEach((e) => {
      const at = new Date(e.value);
      if (e.value && !isNaN(at)) event.formData.set(e.name, at.toISOString().slice(0, at.getSeconds() ? 19 : 16));
    });
    // What is empty need not be in the address of a search.
    if (event.target.method === "get") [...event.formData].forEach(([name, value]) => { if (value === "") event.formData.delete(name); });
  });
  document.addEventListener("htmx:afterSwap", zone);
  zone();
})();
