// The parameters as this page knows them.
//
// Holds: what a performer touches is theirs. While a control is held, or a value of its own is
// under way, values of others wait and are shown afterwards; all else moves live. An older value
// never replaces a newer one.

export class Model {
  #entries = new Map()
  #listeners = new Map()
  #connection

  constructor(connection) {
    this.#connection = connection
    connection.on('snapshot', snapshot => this.#snapshot(snapshot))
    connection.on('params', changes => { for (const c of changes) this.#incoming(c.address, c.value, c.version) })
    connection.on('accepted', a => this.#incoming(a.address, a.value, a.generation, true))
  }

  // In the order of the registry.
  get params() { return [...this.#entries.values()].map(e => e.param) }

  param(address) { return this.#entries.get(address)?.param }

  value(address) { return this.#entries.get(address)?.value }

  // Calls `listener(value)` now and with each change to be shown.
  watch(address, listener) {
    if (!this.#listeners.has(address)) this.#listeners.set(address, new Set())
    this.#listeners.get(address).add(listener)
    if (this.#entries.has(address)) listener(this.value(address))
    return () => this.#listeners.get(address).delete(listener)
  }

  // Sets and shows at once; the show's answer has the last word.
  set(address, value, fadeMs = 0) {
    const entry = this.#entries.get(address)
    const receipt = this.#connection.set(address, value, fadeMs)
    if (!entry || receipt.lost) return this.#refused(entry, receipt)
    entry.own += 1
    entry.value = value
    this.#show(address)
    this.#follow(address, entry, receipt)
    return receipt
  }

  toggle(address) { return this.set(address, this.value(address) > 0 ? 0 : 1) }

  trigger(address) { return this.#connection.trigger(address) }

  reset(address) {
    const entry = this.#entries.get(address)
    const receipt = this.#connection.reset(address)
    if (entry && !receipt.lost) {
      entry.own += 1
      this.#follow(address, entry, receipt)
    }
    return receipt
  }

  // Between these two, values of others wait.
  hold(address) { const entry = this.#entries.get(address); if (entry) entry.held += 1 }

  release(address) {
    const entry = this.#entries.get(address)
    if (!entry) return
    entry.held = Math.max(0, entry.held - 1)
    this.#settle(address, entry)
  }

  // All values that a preset may touch, to come back to.
  remember() {
    const kept = new Map()
    for (const [address, entry] of this.#entries) {
      const [, group] = address.split('/')
      if (entry.param.kind === 'trigger' || ['preset', 'record', 'show'].includes(group)) continue
      if (address === '/playback/cycle') continue
      kept.set(address, entry.value)
    }
    return kept
  }

  // Sends back what differs from what is remembered; answers how many do.
  recall(kept, fadeMs) {
    let sent = 0
    for (const [address, value] of kept) {
      if (this.#entries.has(address) && this.value(address) !== value) {
        this.set(address, value, fadeMs)
        sent += 1
      }
    }
    return sent
  }

  #follow(address, entry, receipt) {
    const done = () => {
      entry.own = Math.max(0, entry.own - 1)
      this.#settle(address, entry)
    }
    receipt.accepted.then(done, () => {
      // It is what it was: the show's last word.
      if (!entry.waiting && entry.confirmed !== undefined) entry.waiting = { value: entry.confirmed }
      done()
    })
  }

  #refused(entry, receipt) {
    if (entry) this.#show(receipt.address)
    return receipt
  }

  #snapshot({ params, version = -1 }) {
    const known = this.#entries
    this.#entries = new Map()
    for (const param of params) {
      const before = known.get(param.address)
      const entry = { param, value: param.value, confirmed: param.value, version, own: 0, held: before?.held ?? 0, waiting: null }
      this.#entries.set(param.address, entry)
      if (entry.held) {
        entry.value = before.value
        entry.waiting = { value: param.value }
      } else {
        this.#show(param.address)
      }
    }
  }

  #incoming(address, value, version, own = false) {
    const entry = this.#entries.get(address)
    if (!entry || value === null || value === undefined) return
    if (version !== undefined) {
      if (version < entry.version) return
      entry.version = version
    }
    entry.confirmed = value
    if (entry.held || entry.own > (own ? 1 : 0)) {
      // Of one's own, what is under the finger is newer.
      entry.waiting = { value }
      return
    }
    entry.waiting = null
    if (entry.value !== value) {
      entry.value = value
      this.#show(address)
    }
  }

  #settle(address, entry) {
    if (entry.held || entry.own || !entry.waiting) return
    const { value } = entry.waiting
    entry.waiting = null
    if (entry.value !== value) {
      entry.value = value
      this.#show(address)
    }
  }

  #show(address) {
    const value = this.value(address)
    for (const listener of this.#listeners.get(address) ?? []) listener(value)
  }
}

// Where a value stands on a knob's way, 0 to 1, and back.
export function place(param, value) {
  const { min, max } = param
  if (param.curve === 'log') return Math.log(value / min) / Math.log(max / min)
  return (value - min) / (max - min)
}

export function valueAt(param, at) {
  const share = Math.min(1, Math.max(0, at))
  const { min, max } = param
  let value = param.curve === 'log' ? min * (max / min) ** share : min + (max - min) * share
  if (param.kind === 'int') value = Math.round(value)
  return Math.min(max, Math.max(min, value))
}

const UNITS = { x: '×', deg: '°' }

export function readout(param, value) {
  if (typeof value !== 'number') return ''
  const unit = UNITS[param.unit] ?? (param.unit ? ' ' + param.unit : '')
  if (param.kind === 'int') return Math.round(value) + (value === 1 ? unit.replace(/s$/, '') : unit)
  const span = param.max - param.min
  let text = value.toFixed(span >= 100 ? 0 : span >= 20 ? 1 : 2)
  if (Number(text) === 0) text = text.replace('-', '')
  return text + unit
}

// Close enough to the default to count as untouched.
export function isNeutral(param, value) {
  if (param.kind === 'text') return value === ''
  if (typeof value !== 'number' || param.default === undefined) return true
  return Math.abs(value - param.default) <= (param.max - param.min) / 2000
}
