/** The API of one process of the cluster: calls with the key, and its stream of events, which is resumed when it breaks. */

const FIRST_RETRY_MS = 300
const LONGEST_RETRY_MS = 5000
const QUIET_MS = 40000
/** A stream says something every 15 seconds. */

export class ApiError extends Error {
  /** `status` is 0 if there was no answer at all. */
  constructor(status, message, code) {
    super(message)
    this.status = status
    this.code = code
  }
}

export class Connection {
  /** `base` is the address of the process, without a slash at its end. */
  constructor(base, key) {
    this.base = base
    this.key = key
    this.facts = null
  }

  /** Learns what the process is and what the key allows: see web/page_facts.py. */
  async meet() {
    this.facts = await this.get("/api/page")
    return this.facts
  }

  get mayWrite() { return this.facts.role !== "read" }

  get mayOperate() { return this.facts.role === "operate" }

  /** The numbers of the nodes. */
  get nodes() { return Object.keys(this.facts.ports).map(Number).filter(Boolean) }

  /** The API of another process of the cluster: node `number`, or the orchestrator, if 0. */
  at(number) {
    if (number === this.facts.node) return this
    const address = new URL(this.base)
    address.port = this.facts.ports[number]
    const other = new Connection(address.origin, this.key)
    other.facts = { ...this.facts, node: number }
    return other
  }

  get(path, fields = {}, signal = undefined) {
    const query = new URLSearchParams(fields).toString()
    return this.#call("GET", query ? `${path}?${query}` : path, undefined, signal)
  }

  post(path, body = {}, signal = undefined) {
    return this.#call("POST", path, JSON.stringify(body), signal)
  }


  async #call(method, path, body, signal) {
    const headers = { Authorization: `Bearer ${this.key}` }
    if (body !== undefined) headers["Content-Type"] = "application/json"
    let response
    try {
      response = await fetch(this.base + path, { method, headers, body, signal, cache: "no-store" })
    } catch (error) {
      if (error.name === "AbortError") throw error
      throw new ApiError(0, `${this.name} does not answer`)
    }
    const said = await response.json().catch(() => ({}))
    if (response.ok) return said
    const error = said.error ?? {}
    throw new ApiError(response.status, typeof error === "string" ? error : error.message ?? response.statusText, error.code)
  }

  get name() { return this.facts?.node ? `node ${this.facts.node}` : this.facts ? "the network orchestrator" : this.base }

  /** Calls `onEvent(name, data, id)` for each event, and `onState(connected, words)` when the stream begins and breaks.
   * Goes on until the returned function is called. */
  events(path, onEvent, onState = () => {}) {
    const ending = new AbortController()
    this.#follow(path, onEvent, onState, ending.signal)
    return () => ending.abort()
  }

  async #follow(path, onEvent, onState, signal) {
    let last = ""
    let pause = FIRST_RETRY_MS
    while (!signal.aborted) {
      try {
        const headers = { Authorization: `Bearer ${this.key}`, ...(last && { "Last-Event-ID": last }) }
        const broken = AbortSignal.any ? new AbortController() : null
        const response = await fetch(this.base + path, {
          headers, cache: "no-store", signal: broken ? AbortSignal.any([signal, broken.signal]) : signal,
        })
        if (!response.ok) throw new ApiError(response.status, (await response.json()).error?.message ?? "refused")
        onState(true, "")
        for await (const event of parsed(response.body, () => broken?.abort())) {
          pause = FIRST_RETRY_MS
          if (event.id) last = event.id
          if (event.name) onEvent(event.name, event.data, event.id)
        }
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof ApiError && error.status === 401) return onState(false, error.message)
      }
      if (signal.aborted) return
      onState(false, `${this.name} does not answer; trying again`)
      await new Promise((resolve) => setTimeout(resolve, pause))
      pause = Math.min(2 * pause, LONGEST_RETRY_MS)
    }
  }
}

/** The server-sent events in a body; `onQuiet` is called when nothing has come for long. */
async function* parsed(body, onQuiet) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ""
  for (;;) {
    const timer = setTimeout(onQuiet, QUIET_MS)
    const { value, done } = await reader.read().finally(() => clearTimeout(timer))
    if (done) return
    const blocks = (rest + value).split("\n\n")
    rest = blocks.pop()
    for (const block of blocks) {
      const event = { name: "", data: null, id: "" }
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) event.name = line.slice(7)
        else if (line.startsWith("id: ")) event.id = line.slice(4)
        else if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6))
      }
      yield event
    }
  }
}
