/** How the nodes' LLMs ranked the answers. */

import { h } from "../dom.js"
import { visible } from "./visible.js"

/** `labels` maps nodes to what their answers are called; while names are hidden, who voted how is not told. */
export function pollElement(poll, labels, isHidden) {
  const votes = Object.entries(poll.votes)
  if (poll.open) {
    return h("p", { class: "poll" }, `The nodes are ranking the answers: ${votes.length} ${votes.length === 1 ? "vote" : "votes"} so far.`)
  }
  const most = Math.max(1, ...Object.values(poll.points))
  const points = Object.entries(poll.points).toSorted((one, other) => other[1] - one[1])
  return h("details", { class: "poll" },
    h("summary", {}, `The nodes' votes (${votes.filter(([, vote]) => vote.order).length})`),
    h("ol", { class: "points" }, ...points.map(([node, count]) => h("li", {},
      h("span", { class: "who" }, labels.get(Number(node)) ?? `Node ${node}`),
      h("meter", { min: 0, max: most, value: count, "aria-label": "points" }),
      ` ${count} ${count === 1 ? "point" : "points"}`))),
    poll.agreement ? h("p", { class: "agreement" }, "Most in agreement with the others, which counts as much as all votes: ",
      poll.agreement.map((one) => labels.get(one) ?? `Node ${one}`).join(" > ")) : null,
    isHidden ? null : h("ul", { class: "votes" }, ...votes.map(([node, vote]) => h("li", {},
      `Node ${node}: `,
      vote.order ? vote.order.map((one) => labels.get(one) ?? `Node ${one}`).join(" > ") : `abstains: ${visible(vote.error)}`))))
}
