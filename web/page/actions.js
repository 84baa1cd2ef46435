/** Commands of buttons: their results are said where everybody sees, or hears, them. */

import { h, say } from "./dom.js"

export class Actions {
  /** `element` gets the line that tells results. */
  constructor(element, connection) {
    this.connection = connection
    this.said = h("p", { class: "said", role: "status" })
    element.append(this.said)
  }

  /** Gives a command; returns its result, or null if it failed. `wait` is how many seconds it may take, and what is
   * `quiet` is not told if all went well. */
  async run(name, fields = {}, { wait = null, quiet = false } = {}) {
    say(this.said, quiet ? "" : "…")
    this.said.classList.remove("failed")
    try {
      const result = await this.connection.post(`/api/${name}${wait === null ? "" : `?wait=${wait}`}`, fields)
      if (!quiet) say(this.said, result.text ?? "done")
      return result
    } catch (error) {
      this.said.classList.add("failed")
      say(this.said, error.message)
      return null
    }
  }

  button(title, name, fields = {}, attributes = {}) {
    const clicked = () => this.run(name, typeof fields === "function" ? fields() : fields)
    return h("button", { type: "button", onclick: clicked, ...attributes }, title)
  }
}
