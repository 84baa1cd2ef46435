/** What is written so far, by conversation and node, from the events `writing`. */

export class Drafts {
  constructor() {
    this.turn = 0
    this.texts = new Map()
  }

  /** From the character `offset` on, counted in code points, the answer reads `text`. */
  take({ turn, node, offset, text }) {
    if (turn !== this.turn) this.clear(turn)
    const known = this.texts.get(node) ?? { text: "", size: 0 }
    const kept = offset === known.size ? known.text : [...known.text].slice(0, offset).join("")
    this.texts.set(node, { text: kept + text, size: Math.min(offset, known.size) + [...text].length })
  }

  clear(turn = 0) {
    this.turn = turn
    this.texts = new Map()
  }

  /** What was written of it is not wanted any more. */
  drop(node) {
    this.texts.delete(node)
  }

  /** By node, of this turn. */
  of(turn) {
    return new Map(turn === this.turn ? [...this.texts].map(([node, { text }]) => [node, text]) : [])
  }
}
