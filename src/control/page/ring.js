// The timeline: what was on air, what is, what waits and what is in the making, oldest first.
//
// Holds: an entry stays the same element while its cycle does, so nobody loses the focus and no
// picture is loaded twice. It follows what is on air, unless somebody looks elsewhere.

import { at, button, make, notify, setAttribute, setText } from './dom.js'

const STATES = {
  played: 'played', on_air: 'on air', ready: 'ready', waiting: 'waiting', making: 'making', planned: 'planned',
}
// How long a look elsewhere is respected.
const LOOK_MS = 8000
const AGAIN_MS = 3000
const MAKING_EVERY_MS = 1000
const MAKING_RARELY_MS = 6000

export class Ring {
  #items = new Map()
  #entries = []
  #looked = -Infinity
  #following = null
  #tells = false

  constructor(connection, model, usePrompt) {
    this.connection = connection
    this.model = model
    this.usePrompt = usePrompt
    this.list = at('cycles')
    const looked = () => { this.#looked = performance.now() }
    for (const event of ['pointerdown', 'wheel', 'touchmove', 'keydown']) {
      this.list.addEventListener(event, looked, { passive: true })
    }
    connection.on('state', state => this.#show(state))
    this.#making()
  }

  #show(state) {
    this.#entries = state.ring ?? this.#least(state)
    this.#runway(state.runway_s)
    // A generator that says how far it is may have a picture of it.
    this.#tells = Boolean(state.generating?.progress)
    const seen = new Set()
    let before = null
    let plans = 0
    for (const entry of this.#entries) {
      const key = entry.cycle === null || entry.cycle === undefined ? `${entry.state}-${plans++}` : `cycle-${entry.cycle}`
      if (seen.has(key)) continue
      seen.add(key)
      let item = this.#items.get(key)
      if (!item) this.#items.set(key, item = this.#item())
      this.#fill(item, entry)
      const place = before ? before.nextSibling : this.list.firstChild
      if (item.element !== place) this.list.insertBefore(item.element, place)
      before = item.element
    }
    for (const [key, item] of this.#items) {
      if (!seen.has(key)) {
        item.element.remove()
        this.#items.delete(key)
      }
    }
    this.#follow()
  }

  // Of a show that tells no ring.
  #least(state) {
    const air = { cycle: state.on_air.cycle, state: 'on_air', seconds: 0, progress: null, prompt: state.on_air.prompt }
    const making = state.generating && { cycle: state.generating.cycle, state: 'making', seconds: 0, progress: state.generating.done, prompt: '' }
    return making ? [air, making] : [air]
  }

  #runway({ now, min, target }) {
    const bar = at('runway')
    const full = Math.max(target, now, 1)
    bar.style.setProperty('--now', now / full)
    bar.style.setProperty('--target', Math.min(1, target / full))
    bar.classList.toggle('short', now < Math.max(2, target / 6))
    const text = `${now.toFixed(1)} of ${target.toFixed(0)} s ready`
    setText(at('runway-text'), text)
    setAttribute(bar, 'aria-valuenow', now.toFixed(1))
    setAttribute(bar, 'aria-valuemax', full.toFixed(0))
    setAttribute(bar, 'aria-valuetext', `${text}, at least ${min.toFixed(1)} s so far`)
  }

  #item() {
    const picture = make('img', { alt: '', decoding: 'async', hidden: true })
    picture.onload = () => { picture.hidden = false }
    picture.onerror = () => {
      picture.hidden = true
      // Its file may still be being written.
      setTimeout(() => { delete picture.dataset.source }, AGAIN_MS)
    }
    const done = make('span.done')
    const number = make('span.number')
    const word = make('span.word')
    const press = button('.cycle', '')
    press.append(make('span.frame', { 'aria-hidden': 'true' }, picture, done), number, word)
    const item = { element: make('li', {}, press), press, picture, done, number, word, entry: null }
    press.onclick = () => this.#open(item.entry)
    return item
  }

  #fill(item, entry) {
    const { cycle, state } = entry
    const word = STATES[state] ?? state
    const now = state === 'on_air' || state === 'making'
    item.entry = entry
    setAttribute(item.element, 'data-state', state)
    setText(item.number, cycle ?? '–')
    setText(item.word, now || state === 'played' || !entry.seconds ? word : `${word} · ${entry.seconds.toFixed(1)} s`)
    item.done.style.setProperty('--done', now ? entry.progress ?? 0 : 0)
    setAttribute(item.press, 'aria-label', `${cycle === null ? 'Stand-in' : 'Cycle ' + cycle}, ${word}. ${entry.prompt ?? ''}`)
    if (now && state === 'on_air') setAttribute(item.press, 'aria-current', 'true')
    else item.press.removeAttribute('aria-current')
    const has = cycle !== null && ['played', 'on_air', 'ready'].includes(state)
    const source = `/api/v1/cycles/${cycle}/thumbnail`
    if (has && item.picture.dataset.source !== source) {
      item.picture.dataset.source = source
      const before = item.picture.src
      item.picture.src = source
      if (before.startsWith('blob:')) URL.revokeObjectURL(before)
    }
  }

  #follow() {
    const air = this.list.querySelector('[data-state=on_air]')
    if (!air || performance.now() - this.#looked < LOOK_MS) return
    // Once for each cycle, and again when somebody looked elsewhere.
    const left = air.offsetLeft - this.list.clientWidth * 0.3
    if (this.#following === air && Math.abs(this.list.scrollLeft - left) < this.list.clientWidth * 0.3) return
    this.#following = air
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    this.list.scrollTo({ left, behavior: calm ? 'auto' : 'smooth' })
  }

  // Most generators show nothing of what they are at; then it is asked for rarely.
  async #making() {
    let wait = MAKING_RARELY_MS
    const item = [...this.#items.values()].find(i => i.entry?.state === 'making')
    if (item && this.#tells && !document.hidden && this.connection.online) {
      try {
        const answer = await fetch('/making')
        if (answer.status === 200) {
          const address = URL.createObjectURL(await answer.blob())
          const before = item.picture.src
          delete item.picture.dataset.source
          item.picture.src = address
          if (before.startsWith('blob:')) URL.revokeObjectURL(before)
          wait = MAKING_EVERY_MS
        }
      } catch { /* The line tells of that. */ }
    }
    setTimeout(() => this.#making(), wait)
  }

  #open(entry) {
    const dialog = at('cycle')
    const { cycle, state } = entry
    setText(at('cycle-title'), cycle === null ? 'Stand-in' : `Cycle ${cycle}`)
    setText(at('cycle-state'), [STATES[state] ?? state, entry.seconds ? entry.seconds.toFixed(1) + ' s' : ''].filter(Boolean).join(', '))
    setText(at('cycle-prompt'), entry.prompt || 'No prompt is known.')
    const picture = at('cycle-picture')
    const has = cycle !== null && ['played', 'on_air', 'ready'].includes(state)
    picture.hidden = !has
    if (has) picture.src = `/api/v1/cycles/${cycle}/thumbnail`
    picture.onerror = () => { picture.hidden = true }
    const back = at('cycle-back')
    back.disabled = cycle === null || !['played', 'on_air', 'ready'].includes(state)
    back.textContent = state === 'ready' ? 'Go to it now' : state === 'on_air' ? 'Begin it again' : 'Go back to it'
    back.onclick = () => {
      dialog.close()
      this.model.set('/playback/cycle', cycle).accepted.catch(error => notify(error.message, { kind: 'bad' }))
    }
    const use = at('cycle-use')
    use.disabled = !entry.prompt
    use.onclick = () => { dialog.close(); this.usePrompt(entry.prompt) }
    dialog.showModal()
  }
}
