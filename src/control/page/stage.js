// What is always in sight: the picture, PANIC, HOLD, Go, the clock, the line to the show, warnings.
//
// Holds: the picture costs nothing while nobody looks; of pictures that come too fast the newest
// is drawn. PANIC acts when it is touched, not when the finger leaves.

import { at, clock, make, notify, setAttribute, setText } from './dom.js'

const PREVIEW_FPS = 15
// So long without a picture means that there is none.
const STALE_MS = 3000
// PANIC does not wait for the fade of blackouts.
const AT_ONCE_MS = 1

const PHASES = { standby: 'Standing by', live: 'Live', draining: 'Ending', ended: 'Ended' }

export class Stage {
  constructor(connection, model) {
    this.connection = connection
    this.model = model
    this.phase = ''
    this.#preview()
    this.#big()
    this.#line()
    connection.on('state', state => this.#state(state))
  }

  panic() {
    const black = this.model.value('/fx/blackout') > 0
    const receipt = this.model.set('/fx/blackout', black ? 0 : 1, black ? 0 : AT_ONCE_MS)
    receipt.accepted.catch(error => notify('PANIC: ' + error.message, { kind: 'bad' }))
  }

  hold() {
    this.model.toggle('/playback/hold')?.accepted.catch(error => notify('Hold: ' + error.message, { kind: 'bad' }))
  }

  go() {
    if (this.phase === 'standby') {
      this.connection.http('POST', 'go').catch(error => notify('Go: ' + error.message, { kind: 'bad' }))
    }
  }

  #big() {
    const panic = at('panic')
    panic.addEventListener('pointerdown', event => {
      if (event.button !== 0) return
      event.preventDefault()
      this.panic()
    })
    // From the keyboard or a screen reader there is no pointer.
    panic.addEventListener('click', event => { if (event.detail === 0) this.panic() })
    panic.addEventListener('contextmenu', event => event.preventDefault())
    this.model.watch('/fx/blackout', value => {
      const black = value > 0
      setAttribute(panic, 'aria-pressed', black)
      setText(at('panic-word'), black ? 'BLACK' : 'PANIC')
      setText(at('panic-what'), black ? 'tap for the picture' : 'black picture')
      document.body.classList.toggle('black', black)
    })
    const hold = at('hold')
    hold.onclick = () => this.hold()
    this.model.watch('/playback/hold', value => {
      const held = value > 0
      setAttribute(hold, 'aria-pressed', held)
      setText(at('hold-word'), held ? 'HOLDING' : 'HOLD')
      setText(at('hold-what'), held ? 'tap to go on' : 'this cycle again')
    })
    at('go').onclick = () => this.go()
    at('warn').onclick = () => this.#unfold(at('warnings').classList.contains('folded'))
    at('warnings').onclick = () => this.#unfold(false)
  }

  #preview() {
    const canvas = at('preview')
    const context = canvas.getContext('2d', { alpha: false, desynchronized: true })
    let next = null
    let drawing = false
    let last = -Infinity
    const draw = async () => {
      drawing = true
      while (next) {
        const data = next
        next = null
        try {
          const picture = await createImageBitmap(new Blob([new Uint8Array(data, 1)], { type: 'image/jpeg' }))
          if (canvas.width !== picture.width || canvas.height !== picture.height) {
            canvas.width = picture.width
            canvas.height = picture.height
          }
          context.drawImage(picture, 0, 0)
          picture.close()
          last = performance.now()
        } catch { /* A picture that cannot be read is left out. */ }
      }
      drawing = false
    }
    this.connection.on('preview', data => {
      next = data
      if (!drawing) draw()
    })
    const ask = () => this.connection.preview(document.hidden ? 0 : PREVIEW_FPS)
    document.addEventListener('visibilitychange', ask)
    ask()
    setInterval(() => {
      const stale = performance.now() - last > STALE_MS
      at('screen').classList.toggle('stale', stale)
      setText(at('screen-note'), !stale ? '' : this.connection.online ? 'No picture yet' : 'Not connected')
    }, 500)
  }

  #line() {
    const line = at('line')
    const show = (text, offline) => {
      setText(line, text)
      document.body.classList.toggle('offline', offline)
    }
    this.connection.on('online', online => show(online ? 'connected' : 'offline', !online))
    this.connection.on('waiting', () => show('offline, trying again', true))
  }

  #state(state) {
    this.phase = state.phase
    setText(at('project'), state.project || 'Visual FaQtory Live')
    setText(at('phase'), PHASES[state.phase] ?? state.phase)
    setAttribute(at('phase'), 'data-phase', state.phase)
    setText(at('clock'), clock(state.show_time_s))
    at('go').hidden = state.phase !== 'standby'
    document.title = `${PHASES[state.phase] ?? state.phase} · ${state.project}`
    const cycle = state.on_air.cycle === null ? 'stand-in' : 'cycle ' + state.on_air.cycle
    setText(at('on-air'), `${cycle}${state.on_air.replay ? ', again' : ''} · ${state.on_air.prompt}`)
    this.#numbers(state)
    this.#warnings(state.warnings)
  }

  #numbers(state) {
    const numbers = [
      ['fps', state.fps.toFixed(0), state.fps < state.target_fps * 0.95 && state.phase === 'live'],
      ['runway', state.runway_s.now.toFixed(0) + ' s', state.runway_s.now < 2 && state.phase === 'live'],
      ['steering', state.steering.latency_ms.p50 ? state.steering.latency_ms.p50.toFixed(0) + ' ms' : '–', false],
    ]
    const place = at('numbers')
    numbers.forEach(([name, value, bad], index) => {
      const item = place.children[index] ?? place.appendChild(make('div', {}, make('dt'), make('dd')))
      setText(item.children[0], name)
      setText(item.children[1], value)
      item.classList.toggle('bad', bad)
    })
  }

  // The newest stands in the top line, where it moves nothing; a tap shows all. Rebuilt only when
  // it differs, so that a screen reader says each once.
  #warnings(warnings) {
    const place = at('warnings')
    const head = at('warn')
    const text = warnings.join('\n')
    if (place.dataset.text === text) return
    place.dataset.text = text
    place.replaceChildren(...warnings.map(warning => make('li', {}, warning)))
    head.hidden = !warnings.length
    head.replaceChildren(make('strong', {}, String(warnings.length)), make('span', {}, warnings.at(-1) ?? ''))
    head.setAttribute('aria-label', `${warnings.length} warnings`)
    if (!warnings.length) this.#unfold(false)
  }

  #unfold(open) {
    at('warnings').classList.toggle('folded', !open)
    setAttribute(at('warn'), 'aria-expanded', open)
  }
}
