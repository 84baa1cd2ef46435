/** The frame: the key, the tabs, and which view is open. */

import { Connection } from "./connection.js"
import { h, say } from "./dom.js"

const KEY = "key"
const VIEWS = [
  { name: "cluster", title: "Cluster", load: () => import("./cluster/view.js"), at: "orchestrator" },
  { name: "conversations", title: "Conversations", load: () => import("./conversation/view.js"), at: "any" },
  { name: "stories", title: "Stories", load: () => import("./stories/view.js"), at: "orchestrator" },
]
/** A view is loaded when it is opened first. */

const main = document.getElementById("main")
const tabs = document.getElementById("tabs")
const status = document.getElementById("connection")
let connection = null
let opened = null
/** What was opened last: its name, and what ends it. */

/** The key travels in the address's fragment, which browsers send to nobody; it is then kept for this tab only. */
function takeKey() {
  const fields = new URLSearchParams(location.hash.slice(1))
  const given = fields.get(KEY)
  if (given !== null) {
    sessionStorage.setItem(KEY, given)
    history.replaceState(null, "", `${location.pathname}#/${fields.get("view") ?? ""}`)
  }
  return sessionStorage.getItem(KEY)
}

async function begin() {
  const key = takeKey()
  opened?.close?.()  // what is shown was read with the key before
  opened = null
  if (!key) return askForKey("")
  const mine = connection = new Connection(location.origin, key)
  try {
    await mine.meet()
  } catch (error) {
    if (connection !== mine) return
    if (error.status === 401) return askForKey("This key is wrong.")
    say(status, `${error.message}; trying again`)
    setTimeout(() => connection === mine && begin(), 1000)
    return
  }
  if (connection !== mine) return  // another key was given meanwhile
  say(status, "")
  say(document.getElementById("cluster-name"), connection.facts.cluster)
  showTabs()
  open()
}

function offered() {
  return VIEWS.filter((view) => view.at === "any" || connection.facts.node === 0)
}

function showTabs() {
  tabs.hidden = false
  tabs.replaceChildren(...offered().map((view) => h("a", { href: `#/${view.name}` }, view.title)))
  if (connection.facts.node !== 0 && connection.facts.ports[0]) {
    const address = new URL(location.origin)
    address.port = connection.facts.ports[0]
    tabs.append(h("a", { href: `${address.origin}/#key=${encodeURIComponent(connection.key)}` }, "Cluster (at the network)"))
  }
  if (connection.facts.read_key) {
    tabs.append(h("button", { type: "button", class: "quiet", onclick: share }, "Share"))
  }
}

/** An address for those who are to watch only. */
function share() {
  const address = `${location.origin}/#key=${encodeURIComponent(connection.facts.read_key)}`
  const dialog = h("dialog", { "aria-labelledby": "share-title" },
    h("h2", { id: "share-title" }, "Let others watch"),
    h("p", {}, "Whoever opens this address sees everything and can change nothing:"),
    h("input", { readonly: true, value: address, "aria-label": "Address", onfocus: (event) => event.target.select() }),
    h("p", {}, h("button", { type: "button", onclick: () => dialog.close() }, "Close")))
  dialog.addEventListener("close", () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}

async function open() {
  const views = offered()
  const named = views.find((one) => location.hash.startsWith(`#/${one.name}`))
  const view = named ?? views[0]
  if (!named) history.replaceState(null, "", `#/${view.name}`)  // a view goes by the address
  for (const tab of tabs.querySelectorAll("a")) {
    if (tab.getAttribute("href") === `#/${view.name}`) tab.setAttribute("aria-current", "page")
    else tab.removeAttribute("aria-current")
  }
  if (opened?.name === view.name) return
  opened?.close?.()
  const element = h("div", { class: `view ${view.name}` })
  const mine = opened = { name: view.name, close: null }
  main.replaceChildren(element)
  document.title = `${view.title} – ${connection.facts.cluster} – ConsensusLLM`
  let loaded
  try {
    loaded = await view.load()
  } catch {
    if (opened === mine) opened = null
    main.replaceChildren(h("p", { role: "alert" }, "This view could not be loaded: is the process that serves the page still there? Reload to try again."))
    return
  }
  if (opened === mine) mine.close = loaded.open(element, connection)
}

function askForKey(problem) {
  const field = h("input", { type: "password", autocomplete: "off", required: true, id: "key-field" })
  const entered = (event) => {
    event.preventDefault()
    sessionStorage.setItem(KEY, field.value.trim())
    begin()
  }
  main.replaceChildren(h("form", { class: "ask-key card", onsubmit: entered },
    h("h2", {}, "A key is needed"),
    h("p", {}, problem && h("strong", {}, `${problem} `), h("code", {}, "./run.sh page"),
      " prints this page's address with a key in it; or enter the key that ", h("code", {}, "./run.sh key"), " prints:"),
    h("label", { for: "key-field" }, "Key"), field, h("button", {}, "Open")))
  field.focus()
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault()  // the address names the view
  main.focus()
})
window.addEventListener("hashchange", () => {
  if (new URLSearchParams(location.hash.slice(1)).has(KEY)) begin()
  else if (connection?.facts) open()
})
begin()
