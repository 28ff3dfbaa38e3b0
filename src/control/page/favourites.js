// The controls that a performer wants at hand, on this machine.

import { at, button, kept, make } from './dom.js'

// Until somebody chooses.
const FIRST = ['/playback/speed', '/fx/zoom', '/fx/hue', '/fx/trails', '/fx/glitch', '/fx/flash']

export class Favourites {
  #addresses = kept.get('favourites', FIRST)

  constructor(controls, changed) {
    this.controls = controls
    this.changed = changed
  }

  has(address) { return this.#addresses.includes(address) }

  toggle(address) {
    this.#addresses = this.has(address) ? this.#addresses.filter(a => a !== address) : [...this.#addresses, address]
    kept.set('favourites', this.#addresses)
    this.show()
  }

  show() {
    const controls = this.#addresses.map(address => {
      const control = this.controls.make(address)
      if (!control) return null
      const move = button('.move', '‹', () => this.#forward(address), { 'aria-label': `Move ${this.controls.model.param(address).label} forward` })
      return make('li', {}, control, move)
    }).filter(Boolean)
    at('favourite-list').replaceChildren(...controls)
    this.changed()
  }

  #forward(address) {
    const index = this.#addresses.indexOf(address)
    if (index < 1) return
    const list = [...this.#addresses]
    ;[list[index - 1], list[index]] = [list[index], list[index - 1]]
    this.#addresses = list
    kept.set('favourites', list)
    this.show()
  }
}
