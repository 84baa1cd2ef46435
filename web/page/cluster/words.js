/** The words and classes of what the status tells. */

const PHASES = {
  Prepare: "prepare", Promise: "prepare", Accept: "accept", Accepted: "accepted", Decide: "decide", Confirm: "read",
  Confirmed: "read", Forward: "forward", Learn: "learn", Fetch: "learn", SnapshotPiece: "learn", Outranked: "reject",
  Behind: "reject",
}

export const LEGEND = [
  ["prepare", "Prepare, Promise"], ["accept", "Accept"], ["accepted", "Accepted"], ["decide", "Decide"], ["forward", "Forward"],
  ["read", "reads"], ["learn", "catching up"], ["reject", "refusals"],
]

/** The phase of a message, by its label: the class that colours it. */
export function phase(label) {
  return PHASES[label.split(" ", 1)[0]] ?? "forward"
}

export function ballot(parts) {
  return parts?.[0] ? `<${parts.join(",")}>` : "–"
}

/** up, down or paused */
export function state(node) {
  return !node.up ? "down" : node.paused ? "paused" : "up"
}

export function role(node) {
  return state(node) !== "up" ? state(node) : node.role ?? "connecting"
}

const QUALITIES = [
  ["delay_ms", (value, all) => (all.jitter_ms ? `${value}–${value + all.jitter_ms} ms` : `${value} ms`)],
  ["loss_percent", (value) => `${value} % lost`], ["duplicate_percent", (value) => `${value} % twice`],
  ["reorder_percent", (value) => `${value} % late`], ["bandwidth_kbps", (value) => `${value} kbit/s`],
]

/** What is wrong with links that carry messages, in a few words; empty if nothing is. */
export function quality(values) {
  const all = { ...values, ...values.others }
  return QUALITIES.filter(([key]) => all[key]).map(([key, words]) => words(all[key], all)).join(", ")
}

export class LinkState {
  /** Of the link between a and b, a < b, by the status. */
  constructor(status, a, b) {
    const cut = (from, to) => status.links.some(([src, dst]) => src === from && dst === to)
    const own = (from, to) => status.own.find((link) => link.from === from && link.to === to)
    this.a = a
    this.b = b
    this.cut = { there: cut(a, b), back: cut(b, a) }
    this.there = quality(own(a, b) ?? status)
    this.back = quality(own(b, a) ?? status)
    this.single = Boolean(own(a, b) || own(b, a))
    const node = (number) => status.nodes.find((one) => one.node === number)
    this.away = !node(a)?.up || !node(b)?.up
  }

  get kind() {
    if (this.cut.there && this.cut.back) return "cut"
    if (this.cut.there || this.cut.back) return "half"
    return this.there || this.back ? "disturbed" : "works"
  }

  /** For people. */
  get words() {
    const { a, b } = this
    if (this.kind === "cut") return "cut"
    const parts = []
    if (this.cut.there) parts.push(`cut from ${a} to ${b}`)
    if (this.cut.back) parts.push(`cut from ${b} to ${a}`)
    if (this.there === this.back && this.there) parts.push(this.there)
    else {
      if (this.there) parts.push(`${a} to ${b}: ${this.there}`)
      if (this.back) parts.push(`${b} to ${a}: ${this.back}`)
    }
    return parts.join("; ") || "works"
  }
}

export function pairs(numbers) {
  return numbers.flatMap((a, index) => numbers.slice(index + 1).map((b) => [a, b]))
}

export function clock(seconds) {
  const time = new Date(1000 * seconds)
  return `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0").slice(0, 1)}`
}

export function short(count) {
  return count >= 10000 ? `${(count / 1000).toFixed(count >= 100000 ? 0 : 1)}k` : String(Math.round(count))
}
