// Steering what is generated: words, slots and their blend, and the generator's settings.
//
// Holds: words go out when they are sent, and each says what became of it: sent, being made, on
// air after so long.

import { button, make, setText } from './dom.js'

const BRIEF = 'as in the brief'
const SLOTS = ['a', 'b', 'c', 'd']

export class Prompts {
  #tracked = new Set()
  #generating = null

  constructor(connection, controls, model) {
    this.connection = connection
    this.controls = controls
    this.model = model
    connection.on('state', state => {
      this.#generating = state.generating
      for (const one of this.#tracked) this.#tell(one)
    })
  }

  panel() {
    const track = (receipt, status) => this.#track(receipt, status)
    const control = (address, options) => this.controls.make(address, { track, ...options })
    const grid = (...parts) => make('div.grid', {}, ...parts)
    const part = (title, ...parts) => make('section', { 'aria-label': title }, make('h3', {}, title), ...parts)
    this.styles = make('div.pads')
    return [
      make('section', { 'aria-label': 'Prompt' },
        control('/prompt/text', { rows: 3, placeholder: BRIEF }),
        make('div.grid.pair', {}, control('/gen/now'), control('/prompt/brief')),
        grid(control('/prompt/append'), control('/prompt/nudge'), control('/prompt/nudge_weight'))),
      part('Style and motion', this.styles,
        grid(control('/prompt/style', { placeholder: BRIEF }), control('/prompt/motion', { placeholder: BRIEF }), control('/prompt/negative', { placeholder: BRIEF }))),
      part('Slots', grid(control('/prompt/slots'), control('/prompt/travel')),
        this.#blend(), grid(...SLOTS.map(slot => control('/prompt/slot_' + slot)))),
      part('Generation', grid(...this.#generation())),
    ]
  }

  focus() {
    const field = document.getElementById('text-prompt-text')
    field?.focus()
    field?.select()
  }

  // Puts words into the prompt's field; they are sent by hand.
  use(text) {
    const field = document.getElementById('text-prompt-text')
    if (!field) return
    field.value = text
    field.dispatchEvent(new Event('input'))
    field.focus()
  }

  // Those of the registry; the ones with a place of their own stand first.
  #generation() {
    const first = ['/gen/denoise', '/gen/motion', '/gen/guidance', '/gen/steps', '/gen/seed', '/gen/seed_step', '/gen/seed_lock', '/gen/seed_dice']
    const all = this.model.params.map(p => p.address)
    const rest = all.filter(a => a.startsWith('/gen/') && a !== '/gen/now' && !first.includes(a))
    const placed = /^\/prompt\/(text|append|nudge|nudge_weight|slots|slot_.|blend|travel|negative|style|motion|brief)$/
    const others = all.filter(a => a.startsWith('/prompt/') && !placed.test(a))
    return [...first, ...rest, ...others].map(address => this.controls.make(address))
  }

  // A fader with a mark at each slot; a tap on a mark goes there.
  #blend() {
    const param = this.model.param('/prompt/blend')
    if (!param) return null
    const fader = this.controls.make('/prompt/blend')
    const marks = make('div.marks', {}, ...SLOTS.map((slot, index) => {
      const name = slot.toUpperCase()
      const mark = button('.mark', name, () => this.model.set('/prompt/blend', index), { 'aria-label': 'Blend to slot ' + name })
      this.model.watch('/prompt/blend', value => mark.style.setProperty('--near', Math.max(0, 1 - Math.abs(value - index))))
      return mark
    }))
    return make('div.blend', {}, fader, marks)
  }

  #track(receipt, status) {
    for (const one of this.#tracked) if (one.status === status) this.#tracked.delete(one)
    const one = { status, receipt, since: performance.now(), accepted: false }
    this.#tracked.add(one)
    setText(status, 'sending')
    receipt.accepted.then(() => { one.accepted = true; this.#tell(one) }, () => this.#tracked.delete(one))
    receipt.applied.then(applied => {
      if (!this.#tracked.delete(one)) return
      const took = applied.took_ms ?? performance.now() - one.since
      const cycle = applied.cycle === undefined ? '' : `, cycle ${applied.cycle}`
      setText(status, `on air after ${(took / 1000).toFixed(1)} s${cycle}`)
    })
  }

  #tell(one) {
    if (!one.accepted) return
    if (one.receipt.lost) {
      this.#tracked.delete(one)
      setText(one.status, 'sent; the line was lost since')
      return
    }
    const seconds = ((performance.now() - one.since) / 1000).toFixed(0)
    setText(one.status, this.#generating ? `being made · ${seconds} s` : `sent · ${seconds} s`)
  }

  // The preset pads for styles are laid in here too.
  showStyles(pads) {
    this.styles?.replaceChildren(...pads)
  }
}
