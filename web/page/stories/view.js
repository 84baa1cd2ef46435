/** Stories: scenarios that play on the cluster itself, with their text beside the picture. */

import { Actions } from "../actions.js"
import { legend } from "../cluster/view.js"
import { Picture } from "../cluster/picture.js"
import { Traffic } from "../cluster/traffic.js"
import { h, say, set } from "../dom.js"
import { explain, load } from "../glossary.js"

const BRIEFLY_S = 0.05
/** A request to play is answered by then; the stream tells the rest. */

const QUIET = { quiet: true }

/** Returns what ends the view. */
export function open(element, connection) {
  const stage = h("div", { class: "stage" }), side = h("div", { class: "side" })
  element.classList.add("cluster")
  element.append(h("div", { class: "picture-side" }, h("div", { class: "card scene" }, stage, legend())), side)
  const picture = new Picture(stage, (selection) => picture.mark(selection)), traffic = new Traffic(picture)
  const actions = new Actions(side, connection)
  const book = new Book(side, connection, actions)
  const handlers = {
    status: (event) => picture.show(event),
    messages: (event) => traffic.add(event),
    holding: (event) => picture.showHolding(event),
    playing: (event) => book.playing(event),
    step: (event) => book.began(event),
    step_result: (event) => book.ended(event),
  }
  let close = () => {}
  let closed = false
  load(connection).catch(() => {}).then(() => book.load()).then(() => {
    if (!closed) close = connection.events("/api/events", (name, data) => handlers[name]?.(data), (on) => stage.classList.toggle("stale", !on))
  })
  return () => { closed = true; close(); picture.close(); traffic.close() }
}

class Book {
  constructor(element, connection, actions) {
    this.connection = connection
    this.actions = actions
    this.may = connection.mayOperate
    this.stories = []
    this.story = null
    this.now = { file: null, line: 0, paused: false }
    this.waiting = []
    /** Who waits until no story plays. */
    this.lines = new Map()
    this.choice = h("select", { "aria-label": "Story", onchange: () => this.#show(this.choice.value) })
    this.text = h("ol", { class: "story" })
    this.state = h("p", { class: "dim", role: "status" })
    const button = (title, act, kind = "") => h("button", { type: "button", onclick: act, class: kind }, title)
    this.buttons = {
      play: button("Play", () => this.#play(false), "primary"), pause: button("Pause", () => this.actions.run("pause", {}, QUIET)),
      resume: button("Continue", () => this.actions.run("continue", {}, QUIET), "primary"),
      step: button("Step", () => this.#step()), restart: button("Restart", () => this.#restart()), stop: button("Stop", () => this.actions.run("stop")),
    }
    element.append(h("section", { class: "card book", "aria-label": "The story" }, this.choice,
      h("div", { class: "row" }, ...(this.may ? Object.values(this.buttons) : [])), this.state, this.text))
  }

  async load() {
    this.stories = (await this.connection.get("/api/stories")).stories
    this.choice.replaceChildren(...this.stories.map((story) => h("option", { value: story.name }, story.title)))
    this.#show(this.stories.some((story) => story.name === "failover") ? "failover" : this.stories[0].name)
  }

  playing(now) {
    this.now = now
    const name = now.file?.split("/").pop().replace(/\.txt$/, "")
    if (name && name !== this.story?.name && this.stories.some((story) => story.name === name)) this.#show(name)
    if (!now.file) this.waiting.splice(0).forEach((go) => go())
    this.#update()
  }

  began(event) {
    if (event.line === this.story?.lines[0].number) this.#clear()
    set(this.lines.get(event.line)?.element ?? document.createElement("li"), { class: "running" })
  }

  ended(event) {
    const line = this.lines.get(event.line)
    if (!line) return
    const failed = event.ok === false
    set(line.element, { class: failed ? "failed" : "done" })
    if (event.name !== "say" && event.name !== "sleep") say(line.result, failed ? event.error : event.text ?? "")
  }

  #show(name) {
    this.story = this.stories.find((story) => story.name === name)
    this.choice.value = name
    this.lines.clear()
    this.text.replaceChildren(...this.story.lines.map((line) => {
      const result = h("span", { class: "result" })
      const element = h("li", {}, line.says ? h("p", {}, explain(line.text)) : h("code", {}, line.text), result)
      this.lines.set(line.number, { element, result })
      return element
    }))
    this.#update()
  }

  #clear() {
    for (const { element, result } of this.lines.values()) { set(element, { class: null }); say(result, "") }
  }

  #update() {
    const { file, line, paused } = this.now
    const { play, pause, resume, step, restart, stop } = this.buttons
    play.hidden = Boolean(file)
    pause.hidden = !file || paused
    resume.hidden = !paused
    step.hidden = Boolean(file) && !paused
    restart.hidden = stop.hidden = !file
    this.choice.disabled = Boolean(file)
    say(this.state, file ? paused ? "Paused: step runs the next line." : "It plays on the cluster itself." : this.may ? "" : "Whoever may operate starts stories; you see them here as they play.")
    for (const [number, one] of this.lines) one.element.toggleAttribute("aria-current", Boolean(file) && number === line)
    const current = file && this.lines.get(line)?.element
    if (current && current !== this.current) current.scrollIntoView({ block: "nearest" })
    this.current = current
  }

  async #play(paused) {
    this.#clear()
    await this.actions.run("script", { file: this.story.name, reading: true, paused }, { wait: BRIEFLY_S, quiet: true })
  }

  async #step() {
    if (!this.now.file) await this.#play(true)
    await this.actions.run("next", {}, QUIET)
  }

  async #restart() {
    const over = new Promise((go) => this.waiting.push(go))
    await this.actions.run("stop")
    await over
    await this.#play(false)
  }
}
