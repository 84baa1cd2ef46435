/** One question and its answers. */

import { classes, h, say, set } from "../dom.js"
import { Candidate } from "./candidate.js"
import { labelled, SYNTHESIS } from "./names.js"
import { pollElement } from "./poll.js"
import { visible } from "./visible.js"
import { Writer } from "./writer.js"

export class TurnElement {
  /** `actions`: what a user may do with the turn, each a function: `choose`, `auto`, `synth`, `retry`,
   * `regenerate`, `cancel`. */
  constructor(context, number, actions) {
    this.context = context
    this.number = number
    this.actions = actions
    this.candidates = new Map()
    this.writer = new Writer()
    this.question = h("div", { class: "question", dir: "auto", id: `turn-${number}` })
    this.state = h("p", { class: "turn-state" })
    this.buttons = h("div", { class: "buttons" })
    this.grid = h("div", { class: "candidates" })
    this.others = h("details", { class: "others", hidden: true, ontoggle: () => this.#draw() },
      h("summary"), h("div", { class: "candidates" }))
    this.poll = h("div")
    this.answer = h("div", { class: "answers" })
    this.element = h("article", { class: "turn", tabindex: -1, "aria-labelledby": `turn-${number}` },
      this.question, this.answer, this.grid, this.others, this.poll, h("footer", {}, this.state, this.buttons))
    this.shown = ""
    this.given = null
  }

  /** `members` are the nodes that are expected to answer, `drafts` what they have written, by node. */
  update(turn, members, drafts, wantsHidden, mayWrite, isLast) {
    const isSame = this.given?.turn === turn && this.given.isLast === isLast && (turn.chosen !== null || turn.cancelled)
    this.given = { turn, members, drafts, wantsHidden, mayWrite, isLast }
    if (!isSame) this.#draw()
  }

  #draw() {
    const { turn, members, drafts, wantsHidden, mayWrite, isLast } = this.given
    const isOpen = turn.chosen === null && !turn.cancelled
    const isHidden = wantsHidden && isOpen
    const responded = Object.keys(turn.candidates).map(Number)
    const expected = isOpen && turn.kind === "query" ? members : []
    const isAwaited = isOpen && turn.synthesis !== undefined
    const written = isOpen ? [...drafts.keys()].filter((node) => node !== SYNTHESIS || isAwaited) : []
    const nodes = [...new Set([...responded, ...written, ...expected, ...(isAwaited ? [SYNTHESIS] : [])])]
    const order = labelled(nodes, isHidden, this.context, this.number)
    const labels = new Map(order.map(({ node, label }) => [node, label]))
    say(this.question, visible(turn.query))
    set(this.element, { class: classes("turn", isOpen ? "open" : "closed", turn.kind) })
    for (const { node, label } of order) {
      if (!isOpen && node !== turn.chosen && !this.others.open) continue  // most of them nobody ever opens
      this.#candidate(node).update({
        said: turn.candidates[node], draft: isOpen ? drafts.get(node) : undefined, label, isHidden, isOpen,
        isChosen: turn.chosen === node, mayChoose: isOpen && mayWrite && turn.kind === "query", members,
      })
    }
    this.#place(order.map(({ node }) => node), turn, isOpen)
    this.#showPoll(turn, labels, isHidden)
    this.#offer(turn, isOpen, responded, mayWrite, isLast, isHidden)
  }

  #candidate(node) {
    if (!this.candidates.has(node)) this.candidates.set(node, new Candidate(node, this.actions))
    return this.candidates.get(node)
  }

  /** The chosen answer comes first, the others behind it; as long as none is chosen, all stand side by side. */
  #place(nodes, turn, isOpen) {
    const isShown = isOpen || this.others.open
    const order = `${isOpen} ${isShown} ${turn.chosen} ${nodes}`
    if (order === this.shown) return
    const focused = document.activeElement
    this.shown = order
    const elements = (some) => some.map((node) => this.candidates.get(node).element)
    const rest = nodes.filter((node) => node !== turn.chosen)
    this.answer.replaceChildren(...elements(turn.chosen === null ? [] : [turn.chosen]))
    this.grid.replaceChildren(...elements(isOpen ? rest : []))
    this.others.hidden = isOpen || rest.length === 0
    this.others.firstChild.textContent = turn.chosen === null ? `The answers (${rest.length})` : `The other answers (${rest.length})`
    this.others.lastChild.replaceChildren(...elements(isOpen || !isShown ? [] : rest))
    if (this.element.contains(focused)) focused.focus({ preventScroll: true })
  }

  #showPoll(turn, labels, isHidden) {
    const state = JSON.stringify([turn.poll, [...labels], isHidden])
    if (state === this.pollShown) return
    this.pollShown = state
    const wasOpen = this.poll.querySelector("details")?.open
    this.poll.replaceChildren(...(turn.poll ? [pollElement(turn.poll, labels, isHidden)] : []))
    if (wasOpen && this.poll.querySelector("details")) this.poll.querySelector("details").open = true
  }

  #offer(turn, isOpen, responded, mayWrite, isLast, isHidden) {
    const answers = responded.filter((node) => turn.candidates[node].text !== undefined)
    say(this.state, stateOf(turn, isOpen, isHidden))
    this.writer.update(this.given.members)
    const buttons = []
    if (isOpen && mayWrite) {
      if (answers.length > 1 && !turn.poll?.open) buttons.push(["Let the nodes choose", () => this.actions.auto()])
      if (answers.length > 1 && !turn.candidates[SYNTHESIS] && !turn.poll?.open && !turn.synthesis) {
        buttons.push(["Make one out of them", () => this.actions.synth(this.writer.node), this.writer.element])
      }
      if (responded.length) buttons.push(["Ask all again", () => this.actions.retry(null)])
      buttons.push(["Cancel", () => this.actions.cancel()])
    }
    if (isLast && mayWrite && turn.kind === "ask" && turn.chosen !== null && !turn.regenerating) {
      buttons.push(["Another answer", () => this.actions.regenerate()])
    }
    const names = buttons.map(([title]) => title).join("\n")
    if (this.buttons.dataset.names === names) return
    this.buttons.dataset.names = names
    this.buttons.replaceChildren(...buttons.flatMap(([title, onclick, ...beside]) =>
      [h("button", { type: "button", class: title === "Let the nodes choose" ? "main" : "quiet", onclick }, title), ...beside]))
  }
}

function stateOf(turn, isOpen, isHidden) {
  if (turn.cancelled) return "This question was cancelled."
  if (isOpen && turn.kind === "ask") return "The leader answers."
  if (turn.regenerating) return "The leader is asked for another answer."
  if (!isOpen || !turn.synthesis) return ""
  const { by, out_of: from } = turn.synthesis
  return `${by === null ? "The leader" : `Node ${by}`} makes one answer out of ${isHidden ? "the others" : from.join(", ")}.`
}
