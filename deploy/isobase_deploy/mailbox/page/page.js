// The mailbox's page: a list that keeps itself up to date, and one open message. Text is only ever set as text; the HTML of
// a mail is shown in a sandboxed frame that runs nothing and loads nothing.
"use strict";

const REFRESH_MS = 2000;
const LIST_LIMIT = 200;
const byId = (id) => document.getElementById(id);

let openId = null;
let openMessage = null;
let tab = "html";
let shown = "";

const person = (one) => (one.Name ? `${one.Name} <${one.Address}>` : one.Address);
const people = (list) => list.map(person).join(", ");

async function refresh() {
  const query = byId("query").value.trim();
  const path = query ? `search?query=${encodeURIComponent(query)}&` : "messages?";
  try {
    const answer = await fetch(`/api/v1/${path}limit=${LIST_LIMIT}`);
    if (answer.ok) showList((await answer.json()).messages);
  } catch {
    byId("empty").textContent = "The mailbox does not answer.";
    byId("empty").hidden = false;
  }
}

function showList(messages) {
  const state = JSON.stringify([openId, messages.map((one) => [one.ID, one.Read])]);
  if (state === shown) return;
  shown = state;
  byId("empty").textContent = "No mail.";
  byId("empty").hidden = messages.length > 0;
  byId("list").replaceChildren(...messages.map(listItem));
}

function listItem(one) {
  const item = document.createElement("li");
  item.classList.toggle("unread", !one.Read);
  item.classList.toggle("open", one.ID === openId);
  const button = document.createElement("button");
  button.type = "button";
  const subject = document.createElement("strong");
  subject.textContent = one.Subject || "(no subject)";
  const to = document.createElement("span");
  to.textContent = `${people(one.To)} · ${new Date(one.Created).toLocaleTimeString()}`;
  const snippet = document.createElement("span");
  snippet.textContent = one.Snippet;
  button.append(subject, to, snippet);
  button.addEventListener("click", () => open(one.ID));
  item.append(button);
  return item;
}

async function open(id) {
  const answer = await fetch(`/api/v1/message/${encodeURIComponent(id)}`);
  openId = answer.ok ? id : null;
  openMessage = answer.ok ? await answer.json() : null;
  byId("message").hidden = !answer.ok;
  history.replaceState(null, "", answer.ok ? `/view/${encodeURIComponent(id)}` : "/");
  if (openMessage) {
    byId("subject").textContent = openMessage.Subject || "(no subject)";
    byId("from").textContent = person(openMessage.From);
    byId("to").textContent = people([...openMessage.To, ...openMessage.Cc, ...openMessage.Bcc]);
    byId("date").textContent = new Date(openMessage.Date).toLocaleString();
    await showTab(openMessage.HTML ? tab : "text");
  }
  await refresh();
}

async function showTab(name) {
  for (const button of document.querySelectorAll("[data-tab]")) button.classList.toggle("open", button.dataset.tab === name);
  const isHtml = name === "html";
  byId("html").hidden = !isHtml;
  byId("text").hidden = isHtml;
  const id = encodeURIComponent(openId);
  if (isHtml) byId("html").src = `/view/${id}.html`;
  else if (name === "text") byId("text").textContent = openMessage.Text;
  else byId("text").textContent = await (await fetch(`/api/v1/message/${id}/raw`)).text();
}

async function remove(ids) {
  await fetch("/api/v1/messages", {
    method: "DELETE",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ IDs: ids }),
  });
  openId = openMessage = null;
  byId("message").hidden = true;
  history.replaceState(null, "", "/");
  await refresh();
}

for (const button of document.querySelectorAll("[data-tab]")) {
  button.addEventListener("click", () => {
    tab = button.dataset.tab;
    void showTab(tab);
  });
}
byId("delete").addEventListener("click", () => void remove([openId]));
byId("clear").addEventListener("click", () => void remove([]));
byId("query").addEventListener("input", () => void refresh());
setInterval(() => void refresh(), REFRESH_MS);

const named = /^\/view\/([^/.]+)$/.exec(location.pathname);
void (named ? open(decodeURIComponent(named[1])) : refresh());
