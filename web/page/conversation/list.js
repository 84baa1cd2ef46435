/** The conversations: names, how many turns they have, and a search in names and texts. */

import { h, say } from "../dom.js"
import { visible } from "./visible.js"

const PAGE = 100
const MOST_PAGES = 20
const FRESH_MS = 5000
const PAUSE_MS = 200
const MOST_FOUND = 100

export class List {
  /** `onCreate(name)` makes a conversation; resolves when it is there. */
  constructor(home, onCreate) {
    this.home = home
    this.turns = new Map()
    this.titles = new Map()
    this.open = new Set()
    this.excerpts = new Map()
    this.finding = 0
    this.current = ""
    this.loading = 0
    this.loads = new Set()
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
    const titles = new Map()
    const meanwhile = []  // events that what is read may not know of
    this.loads.add(meanwhile)
    try {
      let after = null
      for (let page = 0; page < MOST_PAGES; page += 1) {
        const said = await this.home.get("/v1/conversations", { limit: PAGE, ...(after && { after }) })
        for (const { metadata, turns } of said.data) {
          found.set(metadata.context, turns)
          if (metadata.title) titles.set(metadata.context, metadata.title)
        }
        if (!said.has_more) break
        after = said.last_id
      }
    } finally {
      this.loads.delete(meanwhile)
    }
    this.turns = found
    this.titles = titles
    for (const event of meanwhile) this.#apply(...event)
    this.#show()
  }

  /** What an event changes here. */
  take(name, data) {
    for (const meanwhile of this.loads) meanwhile.push([name, data])
    this.#apply(name, data)
  }

  #apply(name, { context, turn, name: other, title }) {
    if (["created", "restored", "forked"].includes(name)) this.turns = new Map([[context, turn ?? 0], ...this.turns])
    else if (name === "undeleted") return this.#loadSoon(0)
    else if (name === "titled") this.titles.set(context, title)
    else if (name === "renamed") this.#rename(context, other)
    else if (name === "deleted") this.turns.delete(context)
    else if (name === "query" || name === "ask") {
      if (!this.turns.has(context)) return this.#loadSoon()  // begun by its question, or of a call that does not last
      this.turns.set(context, turn)
      this.open.add(context)
    } else if (["chosen", "cancelled", "answer"].includes(name)) this.open.delete(context)
    else return
    this.#show()
  }

  #rename(context, name) {
    if (!this.turns.has(context)) return
    this.turns = new Map([...this.turns].map(([one, count]) => [one === context ? name : one, count]))
    this.titles.set(name, this.titles.get(context))
    this.titles.delete(context)
  }

  #loadSoon(ms = FRESH_MS) {
    if (this.loading) return
    this.loading = setTimeout(() => {
      this.loading = 0
      this.load().catch((error) => say(this.note, error.message))
    }, ms)
  }

  close() {
    clearTimeout(this.loading)
    clearTimeout(this.finding)
  }

  select(context) {
    this.current = context
    this.#show()
  }

  /** Names at once; texts when the user pauses. */
  #find() {
    const wanted = this.search.value.trim()
    clearTimeout(this.finding)
    this.excerpts = new Map()
    if (wanted.length > 1 && /[\p{L}\p{N}]/u.test(wanted)) this.finding = setTimeout(() => this.#findTexts(wanted), PAUSE_MS)
    this.#show()
  }

  async #findTexts(wanted) {
    let found
    try {
      ({ found } = await this.home.get("/api/search", { words: wanted, limit: MOST_FOUND }))
    } catch (error) {
      return say(this.note, error.message)
    }
    if (wanted !== this.search.value.trim()) return
    this.excerpts = new Map()
    for (const { context, excerpt } of found) if (!this.excerpts.has(context)) this.excerpts.set(context, excerpt)
    this.#show()
  }

  #show() {
    const wanted = this.search.value.trim().toLowerCase()
    const found = []
    for (const [context, turns] of this.turns) {
      const excerpt = this.excerpts.get(context)
      if (!wanted || context.toLowerCase().includes(wanted) || excerpt) found.push([context, turns, excerpt])
    }
    const focused = this.items.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null
    this.items.replaceChildren(...found.map(([context, turns, excerpt]) => h("li", {},
      h("a", { href: `#/conversations/${encodeURIComponent(context)}`, "aria-current": context === this.current ? "page" : null },
        h("span", { class: "name", dir: "auto" }, visible(context)),
        h("span", { class: "count" }, this.open.has(context) ? "open" : `${turns}`),
        this.titles.get(context) ? h("span", { class: "excerpt", dir: "auto" }, visible(this.titles.get(context))) : null,
        excerpt ? h("span", { class: "excerpt", dir: "auto" },
          excerpt.map((piece, index) => (index % 2 ? h("mark", {}, visible(piece)) : visible(piece)))) : null))))
    if (focused) [...this.items.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus()
    say(this.note, found.length ? "" : wanted ? "Nothing is found." : "There are no conversations yet.")
  }
}
