/** The cluster: its nodes, its network, and what travels between them. */

import { h } from "../dom.js"

export function open(element, connection) {
  const body = h("tbody")
  element.append(h("table", {}, h("thead", {}, h("tr", {}, ...["node", "role", "applied"].map((name) => h("th", {}, name)))), body))
  let timer = 0
  const refresh = async () => {
    const status = await connection.get("/api/status").catch(() => ({ nodes: [] }))
    body.replaceChildren(...status.nodes.map((node) => h("tr", {},
      ...[node.node, node.up ? node.role ?? "up" : "down", node.applied ?? ""].map((value) => h("td", {}, String(value))))))
    timer = setTimeout(refresh, 1000)
  }
  refresh()
  return () => clearTimeout(timer)
}
