/** Who wrote an answer: by number, or, as long as that is to be hidden, by a letter. */

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/** The number of the candidate that an LLM has made out of the others. */
export const SYNTHESIS = 0

/** The nodes in the order in which their answers are shown, with their labels, and the synthesis after them. The letters of
 * hidden names follow from the turn alone, so that they stay when the page is loaded again, and say nothing about numbers. */
export function labelled(numbers, isHidden, context, turn) {
  const synthesis = numbers.includes(SYNTHESIS) ? [{ node: SYNTHESIS, label: "Synthesis" }] : []
  return [...named(numbers.filter((number) => number !== SYNTHESIS), isHidden, context, turn), ...synthesis]
}

function named(nodes, isHidden, context, turn) {
  if (!isHidden) return nodes.toSorted((one, other) => one - other).map((node) => ({ node, label: `Node ${node}` }))
  const mixed = new Map(nodes.map((node) => [node, hash(`${context}\n${turn}\n${node}`)]))
  return nodes.toSorted((one, other) => mixed.get(one) - mixed.get(other))
    .map((node, index) => ({ node, label: `Answer ${LETTERS[index % 26]}` }))
}

function hash(text) {
  let value = 0x811c9dc5
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 0x01000193) >>> 0
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d) >>> 0
  return (value ^ (value >>> 12)) >>> 0
}
