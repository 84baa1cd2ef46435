/** One node's answer to a question, or the synthesis: as it is written, and when it is decided. */

import { classes, h, say, set } from "../dom.js"
import { show } from "./markdown.js"
import { SYNTHESIS } from "./names.js"
import { visible } from "./visible.js"
import { Writer } from "./writer.js"

export class Candidate {
  /** `actions` has what a user may do with it: `choose(node, isCut)`, and `retry(node)` or `synth(by)`. */
  constructor(node, actions) {
    this.node = node
    this.actions = actions
    this.name = h("h4")
    this.facts = h("span", { class: "facts" })
    this.state = h("span", { class: "state" })
    this.body = h("div", { class: "answer", tabindex: 0 })
    this.buttons = h("div", { class: "buttons" })
    this.element = h("section", { class: "candidate" },
      h("header", {}, this.name, this.facts, this.state), this.body, this.buttons)
    this.writer = node === SYNTHESIS ? new Writer() : null
    this.text = null
  }

  /** `said` is what is decided, `draft` what is written so far; `label` is who it is from, as far as that is told. */
  update({ said, draft, label, isHidden, isChosen, isOpen, mayChoose, isPreferred, members }) {
    const isWriting = !said && draft !== undefined
    say(this.name, label)
    set(this.element, { class: classes("candidate", isHidden ? "hidden-name" : `of-node n${this.node % 8}`, isChosen && "chosen",
      said?.error && "failed", isWriting && "writing", isPreferred && "preferred"), "aria-label": `${label}` })
    const made = said?.by ? ` · by node ${said.by}, out of ${said.out_of.join(", ")}` : ""
    say(this.facts, said && !isHidden ? visible(`${said.model} · ${said.seconds.toFixed(1)} s${made}`) : "")
    say(this.state, words(said, draft, isOpen, isChosen))
    set(this.body, { "aria-label": `What ${label} says`, role: "region", "aria-busy": isWriting ? "true" : null })
    this.#show(said ? said.text ?? visible(said.error) : draft ?? "", Boolean(said?.error))
    this.writer?.update(members)
    const buttons = []
    if (mayChoose && said?.text !== undefined) buttons.push(["Choose", `Choose ${label}`, () => this.actions.choose(this.node, Boolean(said.cut))])
    if (mayChoose && said && this.node === SYNTHESIS) {
      buttons.push(["Another one", "Have another synthesis written", () => this.actions.synth(this.writer.node), this.writer.element])
    } else if (mayChoose && said) buttons.push(["Ask again", `Ask ${label} again`, () => this.actions.retry(this.node)])
    this.#offer(buttons)
  }

  #show(text, isError) {
    if (text === this.text) return
    const follows = this.body.scrollTop > 0 && this.body.scrollTop + this.body.clientHeight > this.body.scrollHeight - 30
    this.text = text
    if (isError) {
      this.body.blocks = []
      this.body.replaceChildren(h("p", { class: "reason", dir: "auto" }, text))
    } else show(this.body, text)
    if (follows) this.body.scrollTop = this.body.scrollHeight
  }

  /** Buttons that are there stay, so that the keyboard's focus does. */
  #offer(buttons) {
    const names = buttons.map(([, name]) => name).join("\n")
    if (this.buttons.dataset.names === names) return
    this.buttons.dataset.names = names
    this.buttons.replaceChildren(...buttons.flatMap(([title, name, onclick, ...beside], index) =>
      [h("button", { type: "button", class: index || title !== "Choose" ? "quiet" : "main", "aria-label": name, onclick }, title), ...beside]))
  }
}

function words(said, draft, isOpen, isChosen) {
  const cut = said?.cut ? ` (cut${said.cut_at ? ` at ${said.cut_at} ${said.cut === "time" ? "s" : "tokens"}` : ""})` : ""
  const seen = said?.before ? `, saw the last ${said.seen} of ${said.before} turns` : ""
  if (said?.error) return "failed"
  if (isChosen) return `chosen${cut}${seen}`
  if (said) return `${cut}${seen}`.replace(/^[ ,]+/, "")
  if (!isOpen) return "no answer"
  if (draft === undefined) return "waiting"
  return draft ? "writing…" : "thinking…"
}
