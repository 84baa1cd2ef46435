/** One conversation: its turns as they are decided, what is written meanwhile, and what a user may do. */

import { h, say } from "../dom.js"
import { askForSystem, askForTitle, askToDelete, askToFork, askToRename } from "./dialogs.js"
import { asJson, asMarkdown, save } from "./download.js"
import { Drafts } from "./drafts.js"
import { SYNTHESIS } from "./names.js"
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
    this.timesGone = 0
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
    this.undo = h("button", { type: "button", class: "main", hidden: true,
      onclick: () => this.#do("/api/undelete", { context: this.context }) }, "Bring it back")
    this.stale = h("p", { class: "notice" })
    this.title = h("span", { class: "title dim", dir: "auto" })
    this.system = h("p", { class: "system dim", dir: "auto" })
    this.chooser = h("p", { class: "system dim" })
    this.auto = h("input", { type: "checkbox", title: "By themselves, when all answers are in",
      onchange: () => this.#do("/api/auto", { context: this.context, on: this.auto.checked }) })
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
        h("h2", { dir: "auto" }, visible(this.context)), this.title,
        h("label", { class: "toggle" }, hide, "Hide names"),
        h("details", { class: "menu", onfocusout: closeWhenLeft }, h("summary", {}, "More"), h("div", { class: "card" },
          h("button", { type: "button", class: "quiet", onclick: () => this.#save("md", "text/markdown", asMarkdown) }, "Save as Markdown"),
          h("button", { type: "button", class: "quiet", onclick: () => this.#save("json", "application/json", asJson) }, "Save as JSON"),
          ...(mayWrite ? this.#changes() : [])))),
      this.stale, this.system, this.chooser, this.list, this.problem, this.undo, mayWrite ? this.composer : null)
  }

  #changes() {
    return [
      h("button", { type: "button", class: "quiet", onclick: () => askToRename(this.context, (name) => this.#move("/api/rename", { name })) }, "Rename"),
      h("button", { type: "button", class: "quiet", onclick: () => askToFork(this.context, this.turns?.length ?? 0,
        (name, turn) => this.#move("/api/fork", { name, ...(turn && { turn }) })) }, "Fork"),
      h("button", { type: "button", class: "quiet", onclick: () => askForTitle(this.about?.title ?? "",
        (text) => this.#do("/api/title", { context: this.context, text })) }, "Title"),
      h("button", { type: "button", class: "quiet", onclick: () => askForSystem(this.about?.system ?? "",
        (text) => this.#do("/api/system", { context: this.context, text })) }, "System prompt"),
      h("label", { class: "toggle" }, this.auto, "Nodes choose"),
      h("button", { type: "button", class: "quiet danger", onclick: () => this.#delete() }, "Delete"),
    ]
  }

  /** The one that is shown when it is asked: by the answer, another one may have its name. */
  #delete() {
    const created = this.about?.created
    askToDelete(() => this.#post("/api/delete", { context: this.context, created }))
  }

  // ---- What happens

  onEvent(name, data) {
    if (data.context !== this.context) {
      if (ABOUT_NODE.includes(name)) this.#tellOfNode(name, data)
      return
    }
    if (["system", "titled", "auto"].includes(name)) this.isChanged = true
    if (name === "renamed") return this.#goTo(data.name)
    if (name === "deleted") return this.#gone("This conversation was deleted.", true)
    if (name === "writing") this.drafts.take(data)
    else {
      if (name === "retried") this.drafts.clear()
      if (["synth", "synthesis"].includes(name)) this.drafts.drop(SYNTHESIS)
      if (name === "synthesis" && data.error) say(this.problem, `There is no answer out of the others: ${visible(data.error)}`)
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
      chosen: () => node === SYNTHESIS ? "The synthesis was chosen." : `The answer of node ${node} was chosen.`,
      synthesis: () => error ? "" : "The synthesis is in.",
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
    const timesGone = this.timesGone // what was read before it was deleted comes too late
    try {
      const known = this.isChanged ? 0 : this.turns?.length ?? 0
      this.isChanged = false
      const { turn, last, stale, created } = known ? await this.home.get("/api/last", { context: this.context }) : {}
      if (timesGone !== this.timesGone) return
      if (known && turn === known && created === this.about?.created) this.turns[known - 1] = last
      else {
        const all = await this.home.get("/api/view", { context: this.context })
        if (timesGone !== this.timesGone) return
        this.turns = all.turns
        this.about = all
        this.isStale = all.stale
      }
      if (known) this.isStale = stale
      if (this.composer.hidden) say(this.problem, "")
      this.composer.hidden = false
      this.undo.hidden = true
      say(this.stale, this.isStale ? "No majority of the nodes is reachable: there may be more than is shown." : "")
      this.draw()
    } catch (error) {
      if (this.isClosed) return
      if (error.status === 404) this.#gone(error.message)
      else say(this.problem, error.message)
    }
  }

  #gone(words, mayUndo = false) {
    this.timesGone += 1
    this.turns = []
    this.again = false
    this.composer.hidden = true
    say(this.problem, words)
    this.undo.hidden = !(mayUndo && this.home.mayWrite)
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
    say(this.title, visible(this.about?.title ?? ""))
    say(this.system, this.about?.system ? `The LLMs are told: ${visible(this.about.system)}` : "")
    this.auto.checked = this.about?.auto ?? false
    say(this.chooser, this.about?.auto ? "The nodes choose by themselves." : "")
    while (this.elements.length > this.turns.length) this.elements.pop().element.remove()
    this.turns.forEach((turn, index) => {
      const number = index + 1
      if (!this.elements[index]) {
        this.elements[index] = new TurnElement(this.context, number, this.#actions(number))
        this.list.append(this.elements[index].element)
      }
      this.elements[index].update(turn, this.home.nodes, this.drafts.of(number), this.isHidden, this.home.mayWrite, number === this.turns.length)
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
    const act = (path, body) => this.#do(path, { context: this.context, created: this.about?.created, ...body })
    return {
      choose: (node, cut) => act("/api/choose", { node, turn, cut }),
      auto: () => act("/api/choose", { node: "auto", turn }),
      synth: (by) => act("/api/choose", { node: "synth", turn, by }),
      regenerate: () => act("/api/regenerate", { turn }),
      retry: (node) => act("/api/retry", { node }),
      cancel: () => act("/api/cancel", { turn }),
    }
  }

  async #do(path, body) {
    const isDone = await this.#post(path, body)
    this.load()
    return isDone
  }

  async #post(path, body) {
    say(this.problem, "")
    try {
      await this.home.post(path, body)
    } catch (error) {
      say(this.problem, error.message)
      return false
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
      if (this.text.value === text) this.text.value = "" // else the next question is being typed
      this.key = null
    }
    this.draw()
  }

  #save(suffix, type, format) {
    save(`${this.context}.${suffix}`, type, format({ ...this.about, context: this.context, turns: this.turns ?? [] }))
  }

  #goTo(name) {
    location.hash = `#/conversations/${encodeURIComponent(name)}`
  }

  /** What gives the user another conversation to look at. */
  async #move(path, { name, ...rest }) {
    if (await this.#post(path, { context: this.context, name, ...rest })) this.#goTo(name)
  }
}
