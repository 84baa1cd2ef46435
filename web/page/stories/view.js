/** Stories: scenarios that play on the cluster, with their text beside the picture. */

import { h } from "../dom.js"

export function open(element) {
  element.append(h("p", {}, "Type script tour at the network's prompt."))
  return () => {}
}
