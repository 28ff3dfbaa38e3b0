// The line to the show: one WebSocket, made again by itself, and plain HTTP for what is rare.
//
// Holds: of each parameter at most one value goes out per animation frame, the newest. What is
// moved while there is no line is not sent later: a show must never jump by itself. Every request
// ends: accepted and applied, refused, or lost with the line.

const QUICK_MS = 250
const SLOW_MS = 5000
// The state comes four times a second: after so long without anything the line is dead.
const SILENCE_MS = 3500
// Receipts that may be outstanding; the oldest are forgotten.
const RECEIPTS = 512

const TYPES = { set: 'set', add: 'add', toggle: 'toggle', reset: 'reset' }

export class Connection {
  #socket = null
  #online = false
  #failures = 0
  #timer = 0
  #watch = 0
  #heard = 0
  #nextId = 1
  #queued = new Map()
  #flushing = false
  #receipts = new Map()
  #listeners = new Map()
  // How often which is asked for.
  #wanted = new Map()

  // `snapshot`, `params`, `state`, `preview`, `music`, `online` (true or false), `refused`.
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, [])
    this.#listeners.get(event).push(listener)
  }

  get online() { return this.#online }

  start() {
    this.#connect()
    this.#watch = setInterval(() => this.#look(), 500)
    addEventListener('online', () => this.#now())
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#now() })
  }

  // Sets a number, text or switch; `null` fires a trigger. The receipt's promises are `accepted`
  // and `applied`; `applied` may never come for what nobody shows.
  set(address, value, fadeMs = 0) {
    return this.#ask(address, { type: TYPES.set, address, value, fade_ms: fadeMs }, value !== null)
  }

  trigger(address) { return this.set(address, null) }

  toggle(address) { return this.#ask(address, { type: TYPES.toggle, address }, false) }

  reset(address) { return this.#ask(address, { type: TYPES.reset, address }, true) }

  preview(fps) { this.#want('preview', fps) }

  // What is heard, and where the beat is.
  music(fps) { this.#want('music', fps) }

  #want(type, fps) {
    if ((this.#wanted.get(type) ?? 0) === fps) return
    this.#wanted.set(type, fps)
    this.#send({ type, fps })
  }

  // Plain HTTP; answers what came as JSON, or throws an Error with the show's words and `status`.
  async http(method, path, body) {
    let answer
    try {
      answer = await fetch('/api/v1/' + path, {
        method,
        headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
        body: body === undefined ? undefined : JSON.stringify(body),
      })
    } catch {
      throw Object.assign(new Error('The show does not answer.'), { status: 0 })
    }
    const text = await answer.text()
    let json = null
    try { json = text ? JSON.parse(text) : null } catch { /* Not everything is JSON. */ }
    if (!answer.ok) {
      const message = json?.error?.message ?? `${path}: ${answer.status} ${answer.statusText}`
      throw Object.assign(new Error(message), { status: answer.status })
    }
    return json
  }

  #ask(address, message, replaces) {
    let settle
    const receipt = { address, id: this.#nextId++, lost: false }
    receipt.accepted = new Promise((resolve, reject) => { settle = { resolve, reject } })
    receipt.accepted.catch(() => {})
    receipt.applied = new Promise(resolve => { receipt.seen = resolve })
    receipt.settle = settle
    if (!this.#online) {
      receipt.lost = true
      settle.reject(new Error('Not connected: nothing was sent.'))
      return receipt
    }
    const entry = { receipt, message: { ...message, id: receipt.id } }
    if (replaces) {
      // A newer value takes the place of one that has not left yet, and answers for it.
      const before = this.#queued.get(address)
      if (before) receipt.accepted.then(before.receipt.settle.resolve, before.receipt.settle.reject)
      this.#queued.delete(address)
      this.#queued.set(address, entry)
    } else {
      this.#queued.set(receipt.id, entry)
    }
    this.#flushSoon()
    return receipt
  }

  #flushSoon() {
    if (this.#flushing) return
    this.#flushing = true
    const flush = () => { this.#flushing = false; this.#flush() }
    // A hidden page has no animation frames.
    if (document.hidden) setTimeout(flush, 16)
    else requestAnimationFrame(flush)
  }

  #flush() {
    for (const { receipt, message } of this.#queued.values()) {
      this.#receipts.set(receipt.id, receipt)
      if (this.#receipts.size > RECEIPTS) this.#receipts.delete(this.#receipts.keys().next().value)
      this.#send(message)
    }
    this.#queued.clear()
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  #connect() {
    clearTimeout(this.#timer)
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = new WebSocket(`${scheme}//${location.host}/api/v1/ws`)
    socket.binaryType = 'arraybuffer'
    this.#socket = socket
    this.#heard = performance.now()
    socket.onmessage = event => { if (socket === this.#socket) this.#hear(event.data) }
    socket.onclose = () => { if (socket === this.#socket) this.#lost() }
  }

  // Somebody looks again, or a network came up: not the time to wait out a back-off.
  #now() {
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return
    this.#failures = 0
    this.#connect()
  }

  #look() {
    if (this.#socket && performance.now() - this.#heard > SILENCE_MS) {
      const socket = this.#socket
      this.#lost()
      socket.close()
    }
  }

  #lost() {
    this.#socket = null
    // What never left ends as well.
    for (const { receipt } of this.#queued.values()) this.#receipts.set(receipt.id, receipt)
    this.#queued.clear()
    for (const receipt of this.#receipts.values()) {
      receipt.lost = true
      receipt.settle.reject(new Error('The line was lost; nobody knows whether it arrived.'))
    }
    this.#receipts.clear()
    if (this.#online) {
      this.#online = false
      this.#tell('online', false)
    }
    const wait = Math.min(SLOW_MS, QUICK_MS * 2 ** this.#failures) * (0.8 + 0.4 * Math.random())
    this.#failures += 1
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#connect(), wait)
    this.#tell('waiting', wait)
  }

  #hear(data) {
    this.#heard = performance.now()
    if (typeof data !== 'string') {
      if (new Uint8Array(data, 0, 1)[0] === 1) this.#tell('preview', data)
      return
    }
    const message = JSON.parse(data)
    switch (message.type) {
      case 'snapshot':
        this.#failures = 0
        this.#online = true
        this.#tell('snapshot', message)
        this.#tell('online', true)
        if (message.state) this.#tell('state', message.state)
        for (const [type, fps] of this.#wanted) if (fps) this.#send({ type, fps })
        break
      case 'params': this.#tell('params', message.changes); break
      case 'state': this.#tell('state', message.state); break
      case 'music': this.#tell('music', message.music); break
      case 'accepted': {
        const receipt = this.#receipts.get(message.id)
        this.#tell('accepted', message)
        receipt?.settle.resolve(message)
        break
      }
      case 'applied': {
        const receipt = this.#receipts.get(message.id)
        this.#receipts.delete(message.id)
        receipt?.seen(message)
        break
      }
      case 'refused': {
        const receipt = this.#receipts.get(message.id)
        this.#receipts.delete(message.id)
        receipt?.settle.reject(new Error(message.message))
        this.#tell('refused', message)
        break
      }
    }
  }

  #tell(event, what) {
    for (const listener of this.#listeners.get(event) ?? []) listener(what)
  }
}
