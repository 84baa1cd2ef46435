/** The conversations of the cluster, read at a node. */

import { h } from "../dom.js"

/** Returns what ends the view. `connection` is that of the page, at a node or at the orchestrator. */
export function open(element, connection) {
  const node = connection.facts.node === 0 ? connection.at(connection.nodes[0]) : connection
  const list = h("ul")
  element.append(h("h2", {}, "Conversations"), list)
  const problem = h("p", { role: "alert" })
  element.append(problem)
  node.get("/api/viewall").then(
    (result) => list.replaceChildren(...result.conversations.map((each) => h("li", {}, each.context))),
    (error) => { problem.textContent = error.message },
  )
  return () => {}
}
