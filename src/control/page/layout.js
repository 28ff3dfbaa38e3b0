// Which parameter stands where. Everything comes from the registry; here is only the order that
// hands like: groups within the effects, and what has a place of its own elsewhere on the page.
//
// Holds: what this file does not know is shown all the same, in its group's tab or under `More`.

import { button, make, notify } from './dom.js'
import { isNeutral } from './model.js'

// The first that fits takes a parameter.
const SECTIONS = {
  fx: [
    ['Colour', /\/(brightness|contrast|saturation|hue|gamma|invert|posteri[sz]e|tint.*|colou?r.*|gradient.*|lut.*|grade.*|threshold.*|solari[sz]e.*|duotone.*|temperature|vignette.*)$/],
    ['Shape', /\/(zoom.*|rotation.*|pan_.*|mirror.*|kaleido.*|tile.*|warp.*|wave.*|ripple.*|twirl.*|swirl.*|fish.*|lens.*|tunnel.*|shake.*|bend.*|displace.*)$/],
    ['Texture', /\/(rgb_split.*|pixel.*|scan.*|glitch.*|noise.*|grain.*|halftone.*|dither.*|mosaic.*|crt.*|vhs.*|slice.*|sort.*)$/],
    ['Glow and trails', /\/(blur.*|bloom.*|edge.*|trail.*|feedback.*|echo.*|glow.*|sharpen.*|streak.*)$/],
    ['Flash and black', /\/(strobe.*|flash.*|blackout.*|white.*|limiter.*)$/],
  ],
}

// Shown elsewhere, beside what they belong to.
const ELSEWHERE = /^\/(prompt|gen|preset|record|show|sound|tempo|quantise|listen|mod)\//

const TITLES = { fx: 'Effects', playback: 'Playback', overlay: 'Overlays' }

export class Layout {
  constructor(controls, model) {
    this.controls = controls
    this.model = model
  }

  // Parameters with their own tab: [key, title, parameters].
  groups() {
    const groups = new Map()
    for (const param of this.model.params) {
      if (ELSEWHERE.test(param.address)) continue
      const key = param.address.split('/')[1]
      if (!groups.has(key)) groups.set(key, [])
      groups.get(key).push(param)
    }
    return [...groups].map(([key, params]) => [key, TITLES[key] ?? capital(key), params])
  }

  // All controls of a group, in sections.
  panel(key, params) {
    const sections = new Map((SECTIONS[key] ?? []).map(([title]) => [title, []]))
    for (const param of params) {
      const known = SECTIONS[key]?.find(([, pattern]) => pattern.test(param.address))?.[0]
      const title = known ?? this.#section(key, param)
      if (!sections.has(title)) sections.set(title, [])
      sections.get(title).push(param)
    }
    const parts = [...sections].filter(([, list]) => list.length).map(([title, list]) => this.section(title, list))
    if (key === 'fx') parts.unshift(this.#neutral(params))
    return parts
  }

  section(title, params) {
    const heading = title ? make('h3', {}, title) : ''
    const grid = make('div.grid', {}, ...params.map(param =>
      this.controls.make(param.address, { short: within(title, param.label) })))
    return make('section', { 'aria-label': title || 'All' }, heading, grid)
  }

  // `/overlay/logo/x` stands under `Logo`.
  #section(key, param) {
    const parts = param.address.split('/').slice(2)
    if (parts.length > 1) {
      const main = this.model.param(`/${key}/${parts[0]}/on`)
      return main?.label ?? capital(parts[0].replaceAll('_', ' '))
    }
    return SECTIONS[key] ? 'More' : ''
  }

  #neutral(params) {
    const { model } = this
    const all = button('.quiet', 'All effects off', () => {
      const before = model.remember()
      const touched = params.filter(p => !/blackout/.test(p.address) && p.kind !== 'trigger' && !isNeutral(p, model.value(p.address)))
      for (const param of touched) model.set(param.address, param.default, 300)
      if (touched.length) notify(`${touched.length} effects are off.`, { action: () => model.recall(before, 300), label: 'Undo' })
    })
    const count = make('span.count')
    const tell = () => {
      const n = params.filter(p => !/blackout/.test(p.address) && p.kind !== 'trigger' && !isNeutral(p, model.value(p.address))).length
      count.textContent = n ? `${n} in use` : 'none in use'
      all.disabled = n === 0
    }
    for (const param of params) model.watch(param.address, tell)
    tell()
    return make('div.bar', {}, count, all)
  }
}

// Under `Logo`, `Logo across` is `Across`; under `QR code`, `QR size` is `Size`.
function within(title, label) {
  if (!title || label === title) return label
  const before = [title + ' ', title.split(' ')[0] + ' '].find(start => label.startsWith(start))
  return capital(before ? label.slice(before.length) : label)
}

const capital = text => text.charAt(0).toUpperCase() + text.slice(1)
