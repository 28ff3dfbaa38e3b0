// Outputs, the recording and the meters.
//
// Holds: a line stays the same element while its output does. What a user types may hold a stream
// key: it is sent and forgotten, and shown nowhere. What ends something asks a second time.

import { at, button, bytes, clock, make, notify, setAttribute, setText, span } from './dom.js'

const SURE_MS = 4000

export class Outputs {
  #lines = new Map()
  #state = null

  constructor(connection, controls, model) {
    this.connection = connection
    this.controls = controls
    this.model = model
    connection.on('state', state => { this.#state = state; this.#show(state) })
  }

  panel() {
    this.list = make('ul.outputs')
    this.none = make('p.empty', {}, 'There are no outputs.')
    this.meters = make('dl.meters')
    this.generators = make('ul.generators')
    const part = (title, ...parts) => make('section', { 'aria-label': title }, make('h3', {}, title), ...parts)
    const parts = [
      part('Recording', this.#recording()),
      part('Outputs', this.list, this.none, this.#adding(),
        make('div.grid', {}, this.controls.make('/show/retry_outputs'))),
      part('Meters', this.meters),
      part('Generators', this.generators),
    ]
    this.#lines.clear()
    if (this.#state) this.#show(this.#state)
    return parts
  }

  mark() {
    const at = clock(this.#state?.show_time_s ?? 0)
    this.model.set('/record/mark', 'Mark ' + at).accepted.then(
      () => notify(`Marked at ${at}.`), error => notify(error.message, { kind: 'bad' }))
  }

  #recording() {
    const name = make('input', { type: 'text', placeholder: 'Name of a chapter', maxLength: 200, autocomplete: 'off', 'aria-label': 'Name of a chapter', enterKeyHint: 'send' })
    const mark = () => {
      if (!name.value.trim()) return this.mark()
      const text = name.value.trim()
      this.model.set('/record/mark', text).accepted.then(
        () => { name.value = ''; notify(`Marked: ${text}.`) }, error => notify(error.message, { kind: 'bad' }))
    }
    name.addEventListener('keydown', event => { if (event.key === 'Enter') { event.preventDefault(); mark() } })
    const fire = address => this.model.trigger(address).accepted.catch(error => notify(error.message, { kind: 'bad' }))
    this.record = {
      state: make('span.state'), what: make('div.numbers'), reason: make('div.reason'),
      start: button('', 'Record', () => fire('/record/start')),
      stop: sure('Stop recording', () => fire('/record/stop')),
      split: button('', 'New file', () => fire('/record/split')),
    }
    const r = this.record
    this.record.line = make('div.output', {}, r.state,
      make('div.what', {}, r.what, r.reason), make('div.buttons', {}, r.start, r.stop, r.split))
    return make('div', {}, r.line, make('div.field', {}, name, button('.send', 'Mark', mark)))
  }

  #adding() {
    const uri = make('input', { type: 'text', 'aria-label': 'Where a further output goes', autocomplete: 'off', autocapitalize: 'off', spellcheck: false,
      placeholder: 'rtmp:, srt:, ndi:Stage, display:, file:copy.mp4' })
    const form = make('form.field', { autocomplete: 'off' }, uri, make('button.send', { type: 'submit' }, 'Add'))
    form.addEventListener('submit', event => {
      event.preventDefault()
      const text = uri.value.trim()
      uri.value = ''
      if (text) this.#ask('POST', '', { uri: text })
    })
    return form
  }

  #ask(method, path, body) {
    return this.connection.http(method, 'outputs' + path, body).catch(error => notify(error.message, { kind: 'bad' }))
  }

  #show(state) {
    if (!this.list) return
    this.#showRecording(state.recording)
    this.#showOutputs(state.outputs)
    this.#showMeters(state)
    this.#showGenerators(state)
    this.#badge(state)
  }

  // On the tab: what needs a look.
  #badge(state) {
    const bad = state.outputs.filter(o => ['failed', 'unavailable', 'reconnecting'].includes(o.state)).length
      + (state.recording && state.recording.state === 'failed' ? 1 : 0)
    const tab = at('tab-outputs')
    if (!tab) return
    tab.classList.toggle('trouble', bad > 0)
    setAttribute(tab, 'aria-label', bad ? `Outputs, ${bad} need a look` : 'Outputs')
  }

  #showRecording(recording) {
    const r = this.record
    const state = recording?.state ?? 'stopped'
    const runs = ['live', 'starting', 'reconnecting'].includes(state)
    setAttribute(r.line, 'data-state', state)
    setText(r.state, state === 'live' ? 'recording' : state)
    setText(r.what, !recording ? 'Nothing is recorded.' : [
      recording.path.split('/').pop(), bytes(recording.bytes),
      runs && (recording.bitrate_kbps / 1000).toFixed(1) + ' Mb/s',
      recording.room_s !== null && 'room for ' + span(recording.room_s),
      recording.parts.length > 1 && recording.parts.length + ' files',
    ].filter(Boolean).join(' · '))
    setText(r.reason, recording?.error ?? '')
    r.start.disabled = runs || !this.model.param('/record/start')
    r.stop.disabled = r.split.disabled = !runs
  }

  #showOutputs(list) {
    for (const [id, line] of this.#lines) {
      if (!list.some(o => o.id === id)) { line.line.remove(); this.#lines.delete(id) }
    }
    this.none.hidden = list.length > 0
    for (const o of list) {
      if (!this.#lines.has(o.id)) {
        this.#lines.set(o.id, this.#line(o.id))
        this.list.append(this.#lines.get(o.id).line)
      }
      const line = this.#lines.get(o.id)
      const off = ['stopped', 'failed', 'unavailable'].includes(o.state)
      const name = o.name ?? o.uri
      setAttribute(line.line, 'data-state', o.state)
      setText(line.state, o.state)
      setText(line.name, o.name ?? o.kind)
      setText(line.uri, `${o.id} · ${o.uri}`)
      setText(line.reason, o.reason ?? '')
      setText(line.numbers, [
        o.state === 'live' && (o.bitrate_kbps / 1000).toFixed(1) + ' Mb/s',
        o.retry_in_s !== null && 'retry in ' + o.retry_in_s.toFixed(0) + ' s',
        o.dropped_groups > 0 && o.dropped_groups + ' groups dropped',
        o.reconnects > 0 && o.reconnects + ' reconnects',
        o.queue_ms > 500 && 'queue ' + (o.queue_ms / 1000).toFixed(1) + ' s',
      ].filter(Boolean).join(' · '))
      line.start.hidden = !off
      line.stop.hidden = off
      line.retry.disabled = off || o.state === 'live'
      setAttribute(line.start, 'aria-label', 'Start ' + name)
      line.stop.named('Stop', name)
      setAttribute(line.retry, 'aria-label', `Retry ${name} now`)
      line.remove.named('Remove', name)
    }
  }

  #line(id) {
    const one = {
      state: make('span.state'), name: make('div.name'), uri: make('div.uri'), numbers: make('div.numbers'), reason: make('div.reason'),
      start: button('', 'Start', () => this.#ask('POST', `/${id}/start`)),
      stop: sure('Stop', () => this.#ask('POST', `/${id}/stop`)),
      retry: button('', 'Retry now', () => this.#ask('POST', `/${id}/retry`)),
      remove: sure('Remove', () => this.#ask('DELETE', `/${id}`)),
    }
    one.line = make('li.output', {}, one.state, make('div.what', {}, one.name, one.uri, one.numbers, one.reason),
      make('div.buttons', {}, one.start, one.stop, one.retry, one.remove))
    return one
  }

  #showMeters(s) {
    const ms = p => `${p.p50.toFixed(1)} / ${p.p99.toFixed(1)} ms`
    const meters = [
      ['Frames a second', `${s.fps.toFixed(1)} of ${s.target_fps.toFixed(0)}`],
      ['Render p50 / p99', ms(s.render_ms)],
      ['Encode p50 / p99', ms(s.encode_ms)],
      ['Runway now / least', `${s.runway_s.now.toFixed(1)} / ${s.runway_s.min.toFixed(1)} s`],
      ['Steering p50 / p99', ms(s.steering.latency_ms)],
      ['CPU per frame', s.cpu_ms_per_frame === null ? '–' : s.cpu_ms_per_frame.toFixed(1) + ' ms'],
      ['Memory, most', s.peak_rss_mb === null ? '–' : s.peak_rss_mb.toFixed(0) + ' MB'],
      ['Dropped / held', `${s.frames.dropped} / ${s.frames.held}`],
      ['Cycles made / again', `${s.cycles.generated} / ${s.cycles.replayed}`],
      ['Quality', s.effort.now.replaceAll('_', ' ')],
      ['Encoder', s.encoder + (s.encoder_rebuilds ? ` (changed ${s.encoder_rebuilds}×)` : '')],
      ['Canvas', s.canvas],
    ]
    meters.forEach(([name, value], index) => {
      const item = this.meters.children[index] ?? this.meters.appendChild(make('div', {}, make('dt'), make('dd')))
      setText(item.children[0], name)
      setText(item.children[1], value)
    })
  }

  #showGenerators(s) {
    const lines = s.generators.map(g => [
      g.usable ? 'good' : 'bad',
      [g.name, g.usable ? (g.busy ? 'works' : 'idle') : 'cannot be used: ' + g.reason,
        g.image_s !== null && `picture ${g.image_s.toFixed(1)} s`, g.video_s !== null && `clip ${g.video_s.toFixed(1)} s`,
        g.made > 0 && g.made + ' made', g.failed > 0 && g.failed + ' failed'].filter(Boolean).join(' · '),
    ])
    if (s.generating) {
      const g = s.generating
      lines.push(['now', [`cycle ${g.cycle}${g.cycles > 1 ? ` and ${g.cycles - 1} more` : ''}`, `${g.stage} ${g.elapsed_s.toFixed(0)} s`, g.progress].filter(Boolean).join(' · ')])
    }
    while (this.generators.children.length > lines.length) this.generators.lastChild.remove()
    lines.forEach(([kind, text], index) => {
      const line = this.generators.children[index] ?? this.generators.appendChild(make('li'))
      setAttribute(line, 'class', kind)
      setText(line, text)
    })
  }
}

// A button that asks once more before it acts.
function sure(text, act) {
  let timer = 0
  let name = ''
  const one = button('', text, () => {
    if (one.classList.contains('sure')) {
      back()
      act()
      return
    }
    one.classList.add('sure')
    one.textContent = 'Sure?'
    tell()
    timer = setTimeout(back, SURE_MS)
  })
  const tell = () => { if (name) setAttribute(one, 'aria-label', `${one.textContent} ${name}`) }
  const back = () => {
    clearTimeout(timer)
    one.classList.remove('sure')
    one.textContent = text
    tell()
  }
  one.named = (_, who) => { name = who; tell() }
  return one
}
