/** Where everything is in the picture: nodes in a ring, the network in its middle, links curved by way of it. */

const FAR = 0.1
const NEAR = 0.5
/** How close to the middle a link passes, as parts of the ring's radius; the second for each part that its chord is away. */

export class Geometry {
  constructor(numbers, width, height) {
    this.width = width
    this.height = height
    this.small = width < 560
    this.node = this.small ? 25 : 40
    this.hub = this.small ? 21 : 34
    const label = this.small ? 30 : 40
    const side = this.small ? 40 : 76
    this.centre = { x: width / 2, y: height / 2 }
    this.radius = { x: width / 2 - side, y: height / 2 - this.node - label }
    const most = Math.max(this.radius.y * 1.45, 60)
    this.radius.x = Math.min(this.radius.x, most)
    this.margin = this.node / (1.9 * this.radius.y)
    /** The part of a way that is inside a node. */
    this.places = new Map(numbers.map((number, index) => {
      const angle = (2 * Math.PI * index) / numbers.length - Math.PI / 2
      return [number, {
        x: this.centre.x + this.radius.x * Math.cos(angle), y: this.centre.y + this.radius.y * Math.sin(angle),
      }]
    }))
  }

  /** Whether a node's words stand above it: where links leave downwards. */
  isTop(number) {
    const { x, y } = this.places.get(number)
    return y < this.centre.y && Math.abs(x - this.centre.x) < this.node
  }

  /** The control point of the curve between two nodes. */
  control(a, b) {
    const from = this.places.get(a), to = this.places.get(b), centre = this.centre
    const x = (from.x + to.x) / 2 - centre.x, y = (from.y + to.y) / 2 - centre.y
    const away = Math.hypot(x / this.radius.x, y / this.radius.y)
    const across = { x: (to.y - from.y) / Math.hypot(to.x - from.x, to.y - from.y), y: (from.x - to.x) / Math.hypot(to.x - from.x, to.y - from.y) }
    const towards = away > 0.02 ? { x: x / away, y: y / away } : { x: across.x * this.radius.x, y: across.y * this.radius.y }
    const passes = FAR + NEAR * away
    return { x: centre.x + 2 * passes * towards.x - x, y: centre.y + 2 * passes * towards.y - y }
  }

  /** A point of the way from a to b, from the rim of one (`part` 0) to that of the other (1); the network is at one half. */
  onWay(a, b, part) {
    return this.point(a, b, this.margin + part * (1 - 2 * this.margin))
  }

  point(a, b, t) {
    const from = this.places.get(a), to = this.places.get(b), way = this.control(Math.min(a, b), Math.max(a, b))
    const u = 1 - t
    return { x: u * u * from.x + 2 * u * t * way.x + t * t * to.x, y: u * u * from.y + 2 * u * t * way.y + t * t * to.y }
  }

  path(a, b) {
    const from = this.places.get(a), to = this.places.get(b), way = this.control(a, b)
    return `M${round(from)}Q${round(way)} ${round(to)}`
  }

  /** The part of the way from a to b behind the network. */
  secondHalf(a, b) {
    const points = Array.from({ length: 9 }, (_, index) => round(this.point(a, b, 0.5 + index / 16)))
    return `M${points.join("L")}`
  }
}

function round({ x, y }) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`
}
