/** One conversation: its turns as they are decided, what is written meanwhile, and what a user may do. */

import { h, say } from "../dom.js"
import { asJson, asMarkdown, save } from "./download.js"
import { Drafts } from "./drafts.js"
import { TurnElement } from "./turn.js"
import { visible } from "./visible.js"

const HIDE_NAMES = "hide-names"
const ABOUT_NODE = ["connected", "disconnected", "quorum_lost", "diverged", "closing"]

function closeWhenLeft(event) {
  if (!event.currentTarget.contains(event.relatedTarget)) event.currentTarget.open = false
}

export class Conversation {
  /** `announce` says something to screen readers. */
  constructor(context, home, announce) {
    this.context = context
    this.home = home
    this.announce = announce
    this.drafts = new Drafts()
    this.turns = null
    this.elements = []
    this.isClosed = false
    this.loading = null
    this.again = false
    this.drawing = 0
    this.#build()
  }

  close() {
    this.isClosed = true
    cancelAnimationFrame(this.drawing)
  }

  #build() {
    const { mayWrite } = this.home
    this.isHidden = localStorage.getItem(HIDE_NAMES) === "yes"
    const hide = h("input", { type: "checkbox", onchange: () => {
      this.isHidden = hide.checked
      localStorage.setItem(HIDE_NAMES, hide.checked ? "yes" : "no")
      this.draw()
    } })
    hide.checked = this.isHidden
    this.problem = h("p", { class: "problem", role: "alert" })
    this.stale = h("p", { class: "notice" })
    this.list = h("div", { class: "turns" })
    this.text = h("textarea", { rows: 1, "aria-label": "Question", placeholder: "Ask every node", onkeydown: (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault()
        this.#ask("query")
      }
    } })
    this.askAll = h("button", { class: "main", title: "Enter" }, "Ask all nodes")
    this.askLeader = h("button", { type: "button", onclick: () => this.#ask("ask") }, "Ask the leader")
    this.composer = h("form", { class: "composer", onsubmit: (event) => {
      event.preventDefault()
      this.#ask("query")
    } }, this.text, h("div", { class: "buttons" }, this.askAll, this.askLeader))
    this.element = h("div", { class: "one" },
      h("header", { class: "bar" },
        h("a", { href: "#/conversations", class: "back" }, "All"),
        h("h2", { dir: "auto" }, visible(this.context)),
        h("label", { class: "toggle" }, hide, "Hide names"),
        h("details", { class: "menu", onfocusout: closeWhenLeft }, h("summary", {}, "More"), h("div", { class: "card" },
          h("button", { type: "button", class: "quiet", onclick: () => this.#save("md", "text/markdown", asMarkdown) }, "Save as Markdown"),
          h("button", { type: "button", class: "quiet", onclick: () => this.#save("json", "application/json", asJson) }, "Save as JSON"),
          mayWrite ? h("button", { type: "button", class: "quiet danger", onclick: () => this.#delete() }, "Delete") : null))),
      this.stale, this.list, this.problem, mayWrite ? this.composer : null)
  }

  // ---- What happens

  onEvent(name, data) {
    if (data.context !== this.context) {
      if (ABOUT_NODE.includes(name)) this.#tellOfNode(name, data)
      return
    }
    if (name === "deleted") return this.#gone("This conversation was deleted.")
    if (name === "writing") this.drafts.take(data)
    else {
      if (name === "retried") this.drafts.clear()
      this.#announce(name, data)
      this.load()
    }
    this.draw()
  }

  #announce(name, { node, have, of, error, turn }) {
    const who = this.isHidden ? "A node" : `Node ${node}`
    const words = {
      candidate: () => `${who} ${error ? "has no answer" : "has answered"}: ${have} of ${of}.`,
      answer: () => `Node ${node} ${error ? "has no answer" : "has answered"}.`,
      chosen: () => `The answer of node ${node} was chosen.`,
      cancelled: () => `Question ${turn} was cancelled.`,
      poll: () => "The nodes rank the answers.",
    }[name]
    if (words) this.announce(words())
  }

  #tellOfNode(name, data) {
    if (name === "connected") this.load()
    else if (data.reason) say(this.stale, visible(data.reason))
  }

  /** Reads it anew: one read at a time, and one more if something happens meanwhile. */
  async load() {
    this.again = true
    if (this.loading) return this.loading
    this.loading = (async () => {
      while (this.again && !this.isClosed) {
        this.again = false
        await this.#read()
      }
    })().finally(() => { this.loading = null })
    return this.loading
  }

  async #read() {
    try {
      const known = this.turns?.length ?? 0
      const { turn, last, stale } = known ? await this.home.get("/api/last", { context: this.context }) : {}
      if (known && turn === known) this.turns[known - 1] = last
      else {
        const all = await this.home.get("/api/view", { context: this.context })
        this.turns = all.turns
        this.isStale = all.stale
      }
      if (known) this.isStale = stale
      if (this.composer.hidden) say(this.problem, "")
      this.composer.hidden = false
      say(this.stale, this.isStale ? "No majority of the nodes is reachable: there may be more than is shown." : "")
      this.draw()
    } catch (error) {
      if (this.isClosed) return
      if (error.status === 404) this.#gone(error.message)
      else say(this.problem, error.message)
    }
  }

  #gone(words) {
    this.turns = []
    this.again = false
    this.composer.hidden = true
    say(this.problem, words)
    this.draw()
  }

  // ---- What is shown

  /** Once for all that has changed since the last picture. */
  draw() {
    if (!this.drawing) this.drawing = requestAnimationFrame(() => this.#draw())
  }

  #draw() {
    this.drawing = 0
    if (this.turns === null || this.isClosed) return
    const focused = document.activeElement
    const isAtEnd = window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 80
    while (this.elements.length > this.turns.length) this.elements.pop().element.remove()
    this.turns.forEach((turn, index) => {
      const number = index + 1
      if (!this.elements[index]) {
        this.elements[index] = new TurnElement(this.context, number, this.#actions(number))
        this.list.append(this.elements[index].element)
      }
      this.elements[index].update(turn, this.home.nodes, this.drafts.of(number), this.isHidden, this.home.mayWrite)
    })
    if (!focused?.isConnected) this.elements.at(-1)?.element.focus({ preventScroll: true })  // its button is gone
    const isOpen = this.#open() !== null
    this.askAll.disabled = this.askLeader.disabled = isOpen
    this.text.placeholder = isOpen ? "First choose an answer, or cancel the question" : "Ask every node"
    if (isAtEnd) window.scrollTo(0, document.documentElement.scrollHeight)
  }

  #open() {
    const last = this.turns?.at(-1)
    return last && last.chosen === null && !last.cancelled ? this.turns.length : null
  }

  // ---- What a user does

  #actions(turn) {
    const { context } = this
    return {
      choose: (node, cut) => this.#do("/api/choose", { context, node, turn, cut }),
      auto: () => this.#do("/api/choose", { context, node: "auto", turn }),
      retry: (node) => this.#do("/api/retry", { context, node }),
      cancel: () => this.#do("/api/cancel", { context, turn }),
    }
  }

  async #do(path, body) {
    say(this.problem, "")
    try {
      await this.home.post(path, body)
    } catch (error) {
      say(this.problem, error.message)
      return false
    } finally {
      this.load()
    }
    return true
  }

  /** The key makes sure that a question which is sent again, perhaps to another node, is asked once. */
  async #ask(kind) {
    const text = this.text.value
    if (!text.trim() || this.askAll.disabled) return
    this.askAll.disabled = this.askLeader.disabled = true
    if (this.key?.text !== text) this.key = { text, value: [...crypto.getRandomValues(new Uint8Array(16))].join("-").slice(0, 64) }
    if (await this.#do(`/api/${kind}`, { context: this.context, text, key: this.key.value })) {
      this.text.value = ""
      this.key = null
    }
    this.draw()
  }

  #save(suffix, type, format) {
    save(`${this.context}.${suffix}`, type, format(this.context, this.turns ?? []))
  }

  #delete() {
    const dialog = h("dialog", { "aria-labelledby": "delete-title" },
      h("h2", { id: "delete-title" }, "Delete this conversation?"),
      h("p", {}, "It is deleted at every node, for everybody."),
      h("form", { method: "dialog", class: "buttons" },
        h("button", { value: "no" }, "Keep it"), h("button", { value: "yes", class: "danger" }, "Delete it")))
    dialog.addEventListener("close", async () => {
      dialog.remove()
      if (dialog.returnValue !== "yes") return
      try {
        await this.home.delete(`/v1/conversations/${encodeURIComponent(this.context)}`)
        location.hash = "#/conversations"
      } catch (error) {
        say(this.problem, error.message)
      }
    })
    document.body.append(dialog)
    dialog.showModal()
  }
}
