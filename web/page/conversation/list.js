/** The conversations: names, how many turns they have, and a search in names and texts. */

import { h, say } from "../dom.js"
import { visible } from "./visible.js"

const PAGE = 100
const MOST_PAGES = 20
const FRESH_MS = 5000
const EXCERPT = 70

export class List {
  /** `onCreate(name)` makes a conversation; resolves when it is there. */
  constructor(home, onCreate) {
    this.home = home
    this.turns = new Map()
    this.open = new Set()
    this.texts = null
    this.textsAt = 0
    this.current = ""
    this.loading = 0
    this.items = h("ul", { class: "names" })
    this.note = h("p", { class: "note", role: "status" })
    this.search = h("input", { type: "search", placeholder: "Search names and texts", "aria-label": "Search conversations",
      oninput: () => this.#find() })
    this.name = h("input", { placeholder: "Name", "aria-label": "Name of a new conversation", required: true, maxlength: 64,
      autocomplete: "off", spellcheck: "false" })
    const create = async (event) => {
      event.preventDefault()
      if (await onCreate(this.name.value.trim())) this.name.value = ""
    }
    this.element = h("aside", { class: "card list", "aria-label": "Conversations" },
      h("h2", {}, "Conversations"),
      home.mayWrite ? h("form", { class: "create", onsubmit: create }, this.name, h("button", {}, "Create")) : null,
      this.search, this.items, this.note)
  }

  /** All conversations that last, newest first. */
  async load() {
    const found = new Map()
    let after = null
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const said = await this.home.get("/v1/conversations", { limit: PAGE, ...(after && { after }) })
      for (const { metadata, turns } of said.data) found.set(metadata.context, turns)
      if (!said.has_more) break
      after = said.last_id
    }
    this.turns = found
    this.#show()
  }

  /** What an event changes here. */
  take(name, { context, turn }) {
    if (name === "created" || name === "restored") this.turns = new Map([[context, turn ?? 0], ...this.turns])
    else if (name === "deleted") this.turns.delete(context)
    else if (name === "query" || name === "ask") {
      if (!this.turns.has(context)) return this.#loadSoon()  // begun by its question, or of a call that does not last
      this.turns.set(context, turn)
      this.open.add(context)
    } else if (["chosen", "cancelled", "answer"].includes(name)) this.open.delete(context)
    else return
    this.#show()
  }

  #loadSoon() {
    if (this.loading) return
    this.loading = setTimeout(() => {
      this.loading = 0
      this.load().catch((error) => say(this.note, error.message))
    }, FRESH_MS)
  }

  close() { clearTimeout(this.loading) }

  select(context) {
    this.current = context
    this.#show()
  }

  async #find() {
    const wanted = this.search.value.trim().toLowerCase()
    if (wanted.length > 1 && Date.now() - this.textsAt > FRESH_MS) {
      this.textsAt = Date.now()
      try {
        this.texts = new Map((await this.home.get("/api/viewall")).conversations.map(({ context, turns }) => [context, turns]))
      } catch (error) {
        say(this.note, error.message)
      }
    }
    this.#show()
  }

  #show() {
    const wanted = this.search.value.trim().toLowerCase()
    const found = []
    for (const [context, turns] of this.turns) {
      const excerpt = wanted.length > 1 ? this.#excerpt(context, wanted) : ""
      if (!wanted || context.toLowerCase().includes(wanted) || excerpt) found.push([context, turns, excerpt])
    }
    const focused = this.items.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null
    this.items.replaceChildren(...found.map(([context, turns, excerpt]) => h("li", {},
      h("a", { href: `#/conversations/${encodeURIComponent(context)}`, "aria-current": context === this.current ? "page" : null },
        h("span", { class: "name", dir: "auto" }, visible(context)),
        h("span", { class: "count" }, this.open.has(context) ? "open" : `${turns}`),
        excerpt ? h("span", { class: "excerpt", dir: "auto" }, excerpt) : null))))
    if (focused) [...this.items.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus()
    say(this.note, found.length ? "" : wanted ? "Nothing is found." : "There are no conversations yet.")
  }

  /** Where the texts of a conversation have these words; empty if nowhere. */
  #excerpt(context, wanted) {
    for (const turn of this.texts?.get(context) ?? []) {
      for (const text of [turn.query, ...Object.values(turn.candidates).map((said) => said.text ?? "")]) {
        const at = text.toLowerCase().indexOf(wanted)
        if (at >= 0) return visible(`${at > EXCERPT / 2 ? "…" : ""}${text.slice(Math.max(0, at - EXCERPT / 2), at + EXCERPT)}`)
      }
    }
    return ""
  }
}
