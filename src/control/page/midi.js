// The sheet of a control: its exact value, favourite or not, and what it is bound to; and learning
// a MIDI control by moving it.
//
// Holds: a show without MIDI says so, once, and is not asked over and over.

import { at, button, make, notify, setAttribute, setText } from './dom.js'
import { readout } from './model.js'

const LEARN_EVERY_MS = 300
const BINDINGS_EVERY_MS = 10000

export class Sheet {
  #address = null
  #bindings = []
  #off = null
  #learning = 0

  constructor(connection, model, favourites) {
    this.connection = connection
    this.model = model
    this.favourites = favourites
    this.dialog = at('sheet')
    at('sheet-close').onclick = () => this.dialog.close()
    this.dialog.addEventListener('close', () => this.#cancel())
    at('sheet-reset').onclick = () => this.model.reset(this.#address)
    at('sheet-favourite').onclick = () => { this.favourites.toggle(this.#address); this.#favourite() }
    at('sheet-learn').onclick = () => (this.#learning ? this.#cancel() : this.#learn())
    at('sheet-keep').onclick = () => this.#keep()
    at('sheet-value').addEventListener('change', () => this.#typed())
    connection.on('online', online => { if (online) { this.#off = null; this.#refresh() } })
    setInterval(() => { if (!document.hidden && connection.online && this.#off === null) this.#refresh() }, BINDINGS_EVERY_MS)
  }

  open(address) {
    const param = this.model.param(address)
    if (!param || this.dialog.open) return
    this.#address = address
    setText(at('sheet-title'), param.label)
    setText(at('sheet-help'), param.help)
    setText(at('sheet-address'), address)
    const number = param.kind === 'float' || param.kind === 'int'
    at('sheet-number').hidden = !number
    if (number) {
      const field = at('sheet-value')
      field.min = param.min
      field.max = param.max
      field.step = param.kind === 'int' ? 1 : 'any'
      field.value = Number(this.model.value(address).toPrecision(5))
      setText(at('sheet-range'), `${readout(param, param.min)} to ${readout(param, param.max)}`)
    }
    at('sheet-reset').hidden = param.kind === 'trigger'
    this.#favourite()
    this.#show()
    at('sheet-note').textContent = ''
    at('sheet-keep').hidden = true
    this.dialog.showModal()
    this.#off = null
    this.#refresh()
  }

  // Badges on controls that somebody has bound.
  badges() {
    const bound = new Set(this.#bindings.map(b => b.address))
    for (const control of document.querySelectorAll('.control[data-address]')) {
      control.classList.toggle('bound', bound.has(control.dataset.address))
    }
  }

  #typed() {
    const param = this.model.param(this.#address)
    const value = Number(at('sheet-value').value)
    if (!Number.isFinite(value) || at('sheet-value').value === '') return
    const within = Math.min(param.max, Math.max(param.min, param.kind === 'int' ? Math.round(value) : value))
    at('sheet-value').value = within
    this.model.set(this.#address, within)
  }

  #favourite() {
    const is = this.favourites.has(this.#address)
    const star = at('sheet-favourite')
    setAttribute(star, 'aria-pressed', is)
    setText(star, is ? '★ Favourite' : '☆ Make it a favourite')
  }

  async #refresh() {
    try {
      const midi = await this.connection.http('GET', 'midi')
      this.#off = null
      this.#bindings = midi.bindings ?? []
      this.ports = midi.ports ?? []
    } catch (error) {
      this.#bindings = []
      this.#off = error.status === 404 || error.status === 503 ? 'MIDI is off in this show.' : error.message
    }
    this.badges()
    this.#show()
  }

  #show() {
    const mine = this.#bindings.map((b, index) => ({ ...b, number: b.n ?? index })).filter(b => b.address === this.#address)
    at('sheet-bindings').replaceChildren(...mine.map(binding => make('li', {}, make('span', {}, describe(binding)),
      button('.quiet', 'Unbind', () => this.#unbind(binding.number), { 'aria-label': 'Unbind ' + describe(binding) }))))
    const learn = at('sheet-learn')
    learn.disabled = this.#off !== null
    setText(learn, this.#learning ? 'Cancel' : 'Learn MIDI')
    if (this.#off) setText(at('sheet-midi'), this.#off)
    else if (!this.#learning) setText(at('sheet-midi'), this.#ports())
  }

  #ports() {
    const connected = (this.ports ?? []).filter(p => p.connected).map(p => p.name)
    return connected.length ? 'Connected: ' + connected.join(', ') : 'No MIDI controller is connected.'
  }

  // What was learned holds for this show; as a map of its controller, for the next ones too.
  async #keep() {
    const port = this.#bindings.filter(b => b.address === this.#address).at(-1)?.port ?? 'controller'
    const name = port.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'controller'
    try {
      await this.connection.http('POST', 'midi/maps', { name })
      setText(at('sheet-midi'), `Kept as the map ${name}, for the next shows too.`)
      at('sheet-keep').hidden = true
    } catch (error) {
      setText(at('sheet-note'), error.message)
    }
  }

  async #unbind(number) {
    try { await this.connection.http('DELETE', 'midi/bindings/' + number) } catch (error) { setText(at('sheet-note'), error.message) }
    this.#refresh()
  }

  async #learn() {
    const address = this.#address
    try {
      await this.connection.http('POST', 'midi/learn', { address })
    } catch (error) {
      if (error.status === 404 || error.status === 503) this.#off = 'MIDI is off in this show.'
      else setText(at('sheet-note'), error.message)
      this.#show()
      return
    }
    this.dialog.classList.add('learning')
    setText(at('sheet-midi'), 'Move a control now …')
    this.#learning = setInterval(() => this.#listen(address), LEARN_EVERY_MS)
    this.#show()
  }

  async #listen(address) {
    let midi
    try { midi = await this.connection.http('GET', 'midi') } catch { return }
    if (!this.#learning || address !== this.#address) return
    this.#bindings = midi.bindings ?? []
    this.ports = midi.ports ?? []
    if (midi.learning === address) {
      const heard = midi.last ? `, heard ${[midi.last.port, midi.last.message].filter(Boolean).join(': ')}` : ''
      setText(at('sheet-midi'), 'Move a control now …' + heard)
      return
    }
    this.#stop()
    const binding = this.#bindings.filter(b => b.address === address).at(-1)
    setText(at('sheet-midi'), binding ? 'Learned: ' + describe(binding) : 'Nothing was learned.')
    at('sheet-keep').hidden = !binding
    if (binding) notify(`${this.model.param(address)?.label}: ${describe(binding)}`)
    this.badges()
  }

  #stop() {
    clearInterval(this.#learning)
    this.#learning = 0
    this.dialog.classList.remove('learning')
    this.#show()
  }

  #cancel() {
    if (!this.#learning) return
    this.#stop()
    this.connection.http('DELETE', 'midi/learn').catch(() => {})
  }
}

function describe(binding) {
  const control = binding.control ?? binding.message ?? binding.name
  const text = typeof control === 'string' ? control : control ? JSON.stringify(control) : 'a MIDI control'
  return [binding.port, text].filter(Boolean).join(': ')
}
