// The music: sound, tempo, what is heard, what waits for the beat, and the modulators.
//
// Holds: what moves with the sound costs nothing while its tab is not in sight; only the beat in the
// top line goes on.

import { at, button, make, notify, setAttribute, setText } from './dom.js'

// While its tab is in sight, and for the beat alone.
const LIVELY_FPS = 20
const CALM_FPS = 10
const FLOOR_DB = -60
const SIGNALS = ['loudness', 'sub', 'bass', 'mid', 'high', 'custom', 'kick', 'snare', 'hat', 'brightness', 'energy']
const SECTIONS = { silence: 'Silence', steady: 'Steady', build: 'Build-up', drop: 'Drop', breakdown: 'Breakdown' }
const MODULATORS = 8

export class Music {
  #looks = false
  #meters = []
  #bars = []
  #waves = []
  #tempo = null

  constructor(connection, controls, layout, model) {
    this.connection = connection
    this.controls = controls
    this.layout = layout
    this.model = model
    connection.on('music', music => this.#show(music))
    connection.on('state', state => this.#state(state))
    document.addEventListener('visibilitychange', () => this.#ask())
    at('beat').onclick = () => this.tap()
    this.#ask()
  }

  // Whether its tabs are in sight.
  look(looks) {
    this.#looks = looks
    this.#ask()
  }

  tap() {
    this.model.trigger('/tempo/tap').accepted.catch(error => notify('Tap: ' + error.message, { kind: 'bad' }))
  }

  panel() {
    this.#meters = ['Left', 'Right'].map(name => {
      const fill = make('div.fill')
      const peak = make('div.peak')
      const meter = make('div.meter', { role: 'meter', 'aria-label': name + ' level', 'aria-valuemin': FLOOR_DB, 'aria-valuemax': 0 }, fill, peak)
      return { meter, fill, peak, held: FLOOR_DB, until: 0 }
    })
    this.#bars = SIGNALS.map(name => {
      const fill = make('div.fill')
      return { fill, element: make('div.signal', {}, make('div.bar', {}, fill), make('span', {}, name)) }
    })
    this.#tempo = {
      bpm: make('strong.bpm', {}, '–'),
      dots: make('div.beats', { 'aria-hidden': 'true' }),
      from: make('span.quiet'),
      section: make('span.section'),
      sound: make('p.quiet', { role: 'status' }),
    }
    const group = (name, title) => {
      const params = this.model.params.filter(param => param.address.startsWith(`/${name}/`))
      return params.length ? [this.layout.section(title, params)] : []
    }
    return [
      make('section.heard', { 'aria-label': 'What is heard' },
        make('div.levels', {}, ...this.#meters.map(one => one.meter)),
        make('div.signals', { 'aria-hidden': 'true' }, ...this.#bars.map(one => one.element)),
        make('div.tempo', {}, this.#tempo.bpm, this.#tempo.dots, this.#tempo.from, this.#tempo.section,
          button('.tap', 'Tap', () => this.tap(), { title: 'On each beat; the key T' })),
        this.#tempo.sound),
      ...group('tempo', 'Tempo'),
      ...group('quantise', 'On the beat'),
      ...group('sound', 'Sound'),
      ...group('listen', 'Listening'),
    ]
  }

  modulators() {
    this.#waves = []
    const parts = []
    for (let n = 1; n <= MODULATORS; n += 1) {
      const params = this.model.params.filter(param => param.address.startsWith(`/mod/${n}/`))
      if (!params.length) continue
      const section = this.layout.section('Modulator ' + n, params)
      const fill = make('div.fill')
      section.prepend(make('div.wave', { 'aria-hidden': 'true' }, fill))
      section.classList.add('modulator')
      this.model.watch(`/mod/${n}/source`, value => section.classList.toggle('off', !value))
      this.#waves.push(fill)
      parts.push(section)
    }
    return parts
  }

  #ask() {
    this.connection.music(document.hidden ? 0 : this.#looks ? LIVELY_FPS : CALM_FPS)
  }

  #show(music) {
    const beat = Math.floor(((music.beat % music.beats_per_bar) + music.beats_per_bar) % music.beats_per_bar)
    const dot = at('beat')
    setText(at('beat-bpm'), music.bpm ? music.bpm.toFixed(1) : '–')
    dot.classList.toggle('down', beat === 0)
    dot.style.setProperty('--beat', 1 - (((music.beat % 1) + 1) % 1))
    if (!this.#looks || !this.#tempo) return
    this.#levels(music)
    this.#bars.forEach(({ fill }, index) => { fill.style.transform = `scaleY(${music.signals[index] ?? 0})` })
    this.#waves.forEach((fill, index) => {
      const by = music.modulators[index] ?? 0
      fill.style.left = `${50 + Math.min(0, by) * 50}%`
      fill.style.width = `${Math.abs(by) * 50}%`
    })
    const { bpm, dots, from, section } = this.#tempo
    setText(bpm, music.bpm ? music.bpm.toFixed(1) : '–')
    while (dots.children.length < music.beats_per_bar) dots.append(make('i'))
    while (dots.children.length > music.beats_per_bar) dots.lastChild.remove()
    ;[...dots.children].forEach((one, index) => one.classList.toggle('on', index === beat))
    setText(from, `from ${music.source}, ${Math.round(music.confidence * 100)} % sure`)
    setText(section, SECTIONS[music.section] ?? music.section)
    setAttribute(section, 'data-section', music.section)
  }

  #levels(music) {
    const share = db => Math.max(0, Math.min(1, 1 - db / FLOOR_DB))
    const now = performance.now()
    this.#meters.forEach((one, index) => {
      const peak = music.peak_db[index]
      if (peak >= one.held || now > one.until) Object.assign(one, { held: peak, until: now + 1500 })
      one.fill.style.transform = `scaleX(${share(music.rms_db[index])})`
      one.peak.style.left = `${share(one.held) * 100}%`
      one.meter.classList.toggle('hot', one.held > -1)
      setAttribute(one.meter, 'aria-valuenow', Math.max(FLOOR_DB, Math.round(peak)))
    })
  }

  #state(state) {
    if (!this.#tempo || !state.sound) return
    const { source, state: how, reason } = state.sound
    setText(this.#tempo.sound, [source, how, reason].filter(Boolean).join(' · '))
  }
}
