/** The conversations of the cluster, read and led at one of its nodes, whichever answers. */

import { h, say } from "../dom.js"
import { Conversation } from "./conversation.js"
import { Home } from "./home.js"
import { List } from "./list.js"

const HASH = "#/conversations/"
const STYLE = "/page/conversation/style.css"

/** Returns what ends the view. `connection` is that of the page, at a node or at the orchestrator. */
export function open(element, connection) {
  if (!document.querySelector(`link[href="${STYLE}"]`)) document.head.append(h("link", { rel: "stylesheet", href: STYLE }))
  const view = new View(element, connection)
  return () => view.close()
}

class View {
  constructor(element, connection) {
    this.home = new Home(connection, (node, words) => this.#onMove(node, words))
    this.notice = h("p", { class: "notice", role: "status" })
    this.live = h("p", { class: "hidden-but-read", "aria-live": "polite" })
    this.nodes = h("select", { onchange: () => this.home.speakTo(Number(this.nodes.value), "") },
      ...this.home.nodes.map((node) => h("option", { value: node }, `node ${node}`)))
    this.nodes.value = this.home.node
    this.list = new List(this.home, (name) => this.#create(name))
    this.list.element.append(h("label", { class: "at-node" }, "This page speaks to ", this.nodes))
    this.main = h("section", { class: "conversation", "aria-label": "Conversation" })
    this.conversation = null
    this.element = element
    element.append(this.notice, this.live, h("div", { class: "talk" }, this.list.element, this.main))
    this.onHash = () => this.#route()
    window.addEventListener("hashchange", this.onHash)
    this.#route()
  }

  close() {
    window.removeEventListener("hashchange", this.onHash)
    this.conversation?.close()
    this.list.close()
    this.home.close()
  }

  #route() {
    if (!location.hash.startsWith("#/conversations") || location.hash === this.routed) return
    this.routed = location.hash
    let context = ""
    try {
      context = decodeURIComponent(location.hash.startsWith(HASH) ? location.hash.slice(HASH.length) : "")
    } catch {
      location.hash = HASH
      return
    }
    this.conversation?.close()
    this.conversation = context ? new Conversation(context, this.home, (words) => say(this.live, words)) : null
    this.element.classList.toggle("one-open", Boolean(context))
    this.main.replaceChildren(this.conversation?.element ?? h("div", { class: "empty" },
      h("p", {}, "Every node answers with its own LLM, and you or the nodes choose which answer stands."),
      h("p", { class: "dim" }, this.home.mayWrite ? "Open a conversation, or create one." : "Open a conversation.")))
    this.list.select(context)
    const query = context ? `?writing=${encodeURIComponent(context)}` : ""
    this.home.follow(`/api/events${query}`, (name, data) => this.#onEvent(name, data), () => this.#onOpen())
  }

  /** A stream begins: what came before it is read. */
  #onOpen() {
    this.list.load().catch((error) => this.#say(error.message))
    this.conversation?.load()
    if (this.nodes.value === String(this.home.node) && this.moved) {
      this.#say(`${this.moved}: this page speaks to node ${this.home.node} now.`)
      this.moved = ""
    }
  }

  #onEvent(name, data) {
    if (name === "gap") return this.#onOpen()
    if (name !== "writing") this.list.take(name, data)
    this.conversation?.onEvent(name, data)
  }

  #onMove(node, words) {
    this.nodes.value = node
    this.moved = words
    this.#say(words && `${words}: trying node ${node}.`)
  }

  #say(words) { say(this.notice, words) }

  async #create(name) {
    if (!name) return false
    const asked = this.home.node
    try {
      await this.home.post("/api/create", { context: name })
    } catch (error) {
      const isRepeated = error.status === 409 && this.home.node !== asked  // the node that died had created it
      if (!isRepeated) {
        this.#say(error.message)
        return false
      }
    }
    this.#say("")
    location.hash = HASH + encodeURIComponent(name)
    this.#route()
    this.conversation.text.focus()
    return true
  }
}

