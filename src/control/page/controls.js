// What a performer touches: a fader, a switch, a pad, a choice or a text field, each made from the
// registry's entry of its parameter.
//
// Holds: a touch never makes a value jump; a finger that scrolls moves nothing. A parameter may
// have several controls on the page; they show the same. Every control has a name, works from the
// keyboard, and opens its sheet on a long press or a right click.

import { button, kept, make, setAttribute, setText } from './dom.js'
import { isNeutral, place, readout, valueAt } from './model.js'

const LONG_PRESS_MS = 550
const DOUBLE_TAP_MS = 350
// A finger trembles by so much.
const STILL_PX = 5
// Beyond so far away from the fader it slows down: half as fast every FINE_PX further.
const NEAR_PX = 48
const FINE_PX = 48
// More numbers than this are typed, not slid.
const MOST_STEPS = 1000
// More choices than this, or longer ones, are a list.
const MOST_SEGMENTS = 5
const MOST_LETTERS = 24

export class Controls {
  constructor(model, openSheet) {
    this.model = model
    this.openSheet = openSheet
  }

  // The control that suits the parameter; `null` where the show has no such parameter.
  make(address, options = {}) {
    const param = this.model.param(address)
    if (!param) return null
    const element = this.#suited(param, options)
    element.dataset.address = address
    element.classList.add('control')
    this.model.watch(address, value => element.classList.toggle('changed', !isNeutral(param, value)))
    return element
  }

  #suited(param, options) {
    switch (param.kind) {
      case 'bool': return this.#toggle(param, options)
      case 'trigger': return this.#pad(param, options)
      case 'enum': return param.choices.length > MOST_SEGMENTS || param.choices.join('').length > MOST_LETTERS ? this.#list(param, options) : this.#segments(param, options)
      case 'text': return this.#text(param, options)
      default:
        if (param.kind === 'int' && param.max - param.min > MOST_STEPS) return this.#number(param)
        return this.fader(param, options)
    }
  }

  fader(param, { label = param.label, short = label } = {}) {
    const { model } = this
    const value = make('output.value')
    const track = make('div.track', {
      role: 'slider', tabIndex: 0, 'aria-label': label, 'aria-orientation': 'horizontal',
      'aria-valuemin': param.min, 'aria-valuemax': param.max, title: param.help,
    }, make('div.fill'), make('div.edge'), make('span.label', {}, short), value)
    const element = make('div.fader', {}, track)
    const neutral = Math.min(1, Math.max(0, place(param, param.default ?? param.min)))
    track.style.setProperty('--neutral', neutral)
    track.classList.toggle('centred', neutral > 0.001 && neutral < 0.999)

    model.watch(param.address, now => {
      const at = Math.min(1, Math.max(0, place(param, now)))
      track.style.setProperty('--from', Math.min(at, neutral))
      track.style.setProperty('--to', Math.max(at, neutral))
      track.style.setProperty('--at', at)
      const text = readout(param, now)
      setText(value, text)
      setAttribute(track, 'aria-valuenow', Number(now.toPrecision(5)))
      setAttribute(track, 'aria-valuetext', text)
    })

    const move = to => {
      const next = valueAt(param, to)
      if (next !== model.value(param.address)) model.set(param.address, next)
    }
    let lastTap = -Infinity
    this.#drag(track, param, {
      begin: () => { model.hold(param.address); return place(param, model.value(param.address)) },
      move,
      end: () => model.release(param.address),
      tap: () => {
        const now = performance.now()
        if (now - lastTap < DOUBLE_TAP_MS) model.reset(param.address)
        lastTap = now
      },
    })
    track.addEventListener('keydown', event => {
      if (event.ctrlKey || event.altKey || event.metaKey) return
      const now = model.value(param.address)
      const small = param.kind === 'int' ? 1 / (param.max - param.min) : event.shiftKey ? 0.001 : 0.01
      const by = { ArrowRight: small, ArrowUp: small, ArrowLeft: -small, ArrowDown: -small,
        PageUp: Math.max(small, 0.1), PageDown: -Math.max(small, 0.1) }[event.key]
      if (by !== undefined) move(place(param, now) + by)
      else if (event.key === 'Home') move(0)
      else if (event.key === 'End') move(1)
      else if (event.key === 'Delete' || event.key === 'Backspace') model.reset(param.address)
      else return
      event.preventDefault()
    })
    return element
  }

  // Relative: the value moves as far as the finger does, slower the further away that is.
  #drag(track, param, { begin, move, end, tap }) {
    let drag = null
    const press = this.#longPress(track, param)
    track.addEventListener('pointerdown', event => {
      if (event.button !== 0 || drag) return
      drag = { id: event.pointerId, x: event.clientX, y: event.clientY, startX: event.clientX,
        at: begin(), width: track.clientWidth, moving: false }
      track.setPointerCapture(event.pointerId)
      track.classList.add('touched')
      press.begin(event)
    })
    track.addEventListener('pointermove', event => {
      if (event.pointerId !== drag?.id) return
      if (!drag.moving) {
        if (Math.abs(event.clientX - drag.startX) < STILL_PX) return
        drag.moving = true
        drag.x = event.clientX
        press.cancel()
      }
      const away = Math.max(0, Math.abs(event.clientY - drag.y) - NEAR_PX)
      const slow = 1 / (1 + away / FINE_PX) * (event.shiftKey ? 0.1 : 1)
      drag.at = Math.min(1, Math.max(0, drag.at + (event.clientX - drag.x) / drag.width * slow))
      drag.x = event.clientX
      track.classList.toggle('fine', slow < 0.7)
      move(drag.at)
    })
    const over = event => {
      if (event.pointerId !== drag?.id) return
      const tapped = event.type === 'pointerup' && !drag.moving && !press.cancel()
      press.cancel()
      drag = null
      track.classList.remove('touched', 'fine')
      end()
      if (tapped) tap()
    }
    track.addEventListener('pointerup', over)
    track.addEventListener('pointercancel', over)
    track.addEventListener('lostpointercapture', over)
  }

  // Opens the sheet of a parameter. `cancel()` answers whether it has opened.
  #longPress(element, param) {
    let timer = 0
    let opened = false
    const open = () => {
      if (!opened) this.openSheet(param.address)
      opened = true
    }
    element.addEventListener('contextmenu', event => {
      event.preventDefault()
      clearTimeout(timer)
      open()
      // A right click or the menu key has no press that ends.
      if (!timer) opened = false
    })
    return {
      begin: () => {
        opened = false
        clearTimeout(timer)
        timer = setTimeout(open, LONG_PRESS_MS)
      },
      cancel: () => {
        clearTimeout(timer)
        timer = 0
        return opened
      },
    }
  }

  // A button that is pressed by a click, and has the sheet on a long press.
  #pressable(element, param, act) {
    const press = this.#longPress(element, param)
    let held = false
    let from = null
    element.addEventListener('pointerdown', event => {
      if (event.button !== 0) return
      held = false
      from = event
      press.begin()
    })
    element.addEventListener('pointermove', event => {
      if (from && Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > 2 * STILL_PX) press.cancel()
    })
    for (const name of ['pointerup', 'pointercancel', 'pointerleave']) {
      element.addEventListener(name, () => { if (from) held = press.cancel() || held; from = null })
    }
    element.addEventListener('click', event => {
      if (held && event.detail > 0) { held = false; return }
      act()
    })
  }

  #toggle(param, { label = param.label, short = label } = {}) {
    const { model } = this
    const element = make('button.toggle', { type: 'button', title: param.help, 'aria-label': label },
      make('span.lamp', { 'aria-hidden': 'true' }), make('span.label', {}, short))
    this.#pressable(element, param, () => model.toggle(param.address))
    model.watch(param.address, value => setAttribute(element, 'aria-pressed', value > 0))
    return element
  }

  #pad(param, { label = param.label } = {}) {
    const element = make('button.pad', { type: 'button', title: param.help }, make('span.label', {}, label))
    this.#pressable(element, param, () => {
      element.classList.remove('hit')
      void element.offsetWidth
      element.classList.add('hit')
      this.model.trigger(param.address)
    })
    return element
  }

  #segments(param, { short = param.label } = {}) {
    const { model } = this
    const name = make('span.label', {}, short)
    const group = make('div.segments', { role: 'radiogroup', 'aria-label': param.label, title: param.help })
    const choose = index => {
      model.set(param.address, index)
      group.children[index].focus()
    }
    param.choices.forEach((choice, index) => {
      const one = make('button', { type: 'button', role: 'radio' }, words(choice))
      this.#pressable(one, param, () => model.set(param.address, index))
      one.addEventListener('keydown', event => {
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
        if (!by) return
        event.preventDefault()
        choose((index + by + param.choices.length) % param.choices.length)
      })
      group.append(one)
    })
    model.watch(param.address, value => {
      const now = choiceIndex(param, value)
      ;[...group.children].forEach((one, index) => {
        setAttribute(one, 'aria-checked', index === now)
        one.tabIndex = index === now ? 0 : -1
      })
    })
    return make('div.choice', {}, name, group)
  }

  #list(param, { short = param.label } = {}) {
    const { model } = this
    const select = make('select', { title: param.help }, ...param.choices.map((choice, index) =>
      make('option', { value: String(index) }, words(choice))))
    select.onchange = () => model.set(param.address, Number(select.value))
    select.setAttribute('aria-label', param.label)
    select.addEventListener('contextmenu', event => { event.preventDefault(); this.openSheet(param.address) })
    model.watch(param.address, value => { select.value = String(choiceIndex(param, value)) })
    return make('div.choice', {}, make('span.label', {}, short), select)
  }

  #number(param) {
    const { model } = this
    const input = make('input', { type: 'number', min: param.min, max: param.max, step: 1, title: param.help, inputMode: 'numeric' })
    input.setAttribute('aria-label', param.label)
    const send = () => {
      const value = Number(input.value)
      if (input.value === '' || !Number.isFinite(value)) return show(model.value(param.address))
      model.set(param.address, Math.min(param.max, Math.max(param.min, Math.round(value))))
    }
    const show = value => { if (document.activeElement !== input) input.value = value }
    input.onchange = send
    input.addEventListener('blur', () => show(model.value(param.address)))
    const step = by => {
      const next = Math.min(param.max, Math.max(param.min, model.value(param.address) + by))
      model.set(param.address, next)
      input.value = next
    }
    model.watch(param.address, show)
    const label = make('span.label', {}, param.label)
    label.addEventListener('contextmenu', event => { event.preventDefault(); this.openSheet(param.address) })
    return make('div.choice', {}, label, make('div.stepper', {},
      button('', '−', () => step(-1), { 'aria-label': 'Less ' + param.label }), input,
      button('', '+', () => step(1), { 'aria-label': 'More ' + param.label })))
  }

  // Sends on Enter or Send, never per key; what is not sent yet is kept, over a reload too.
  #text(param, { rows = 1, label = param.label, placeholder = '', track } = {}) {
    const { model } = this
    const draft = 'draft.' + param.address
    const id = 'text' + param.address.replaceAll('/', '-')
    const field = make(rows > 1 ? 'textarea' : 'input', { id, maxLength: param.most ?? 4000, title: param.help, autocomplete: 'off', spellcheck: rows > 1, enterKeyHint: 'send', placeholder })
    if (rows > 1) field.rows = rows
    const status = make('span.sent', { 'aria-live': 'off' })
    const send = button('.send', 'Send', () => submit())
    send.setAttribute('aria-label', 'Send ' + label)
    const clear = button('.quiet', 'Clear', () => { field.value = ''; edited(); submit() })
    clear.setAttribute('aria-label', 'Clear ' + label)
    let shown = ''
    const isDraft = () => field.value !== shown
    const edited = () => {
      kept.set(draft, isDraft() ? field.value : null)
      element.classList.toggle('draft', isDraft())
      if (isDraft()) setText(status, 'not sent yet')
      else if (status.textContent === 'not sent yet') setText(status, '')
      clear.hidden = field.value === ''
    }
    const submit = async () => {
      const text = field.value
      const receipt = model.set(param.address, text)
      try {
        if (track && !receipt.lost) track(receipt, status)
        else setText(status, 'sending')
        await receipt.accepted
        if (!track) setText(status, 'sent')
        shown = text
        edited()
      } catch (error) {
        setText(status, error.message)
      }
    }
    field.addEventListener('input', edited)
    field.addEventListener('keydown', event => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit() }
      // What was sent last comes back.
      if (event.key === 'Escape' && isDraft()) { event.stopPropagation(); field.value = shown; edited() }
    })
    const name = make('label.label', { for: id }, label)
    name.addEventListener('contextmenu', event => { event.preventDefault(); this.openSheet(param.address) })
    const element = make(rows > 1 ? 'div.text.large' : 'div.text', {},
      make('div.head', {}, name, status), make('div.field', {}, field, make('div.sends', {}, send, clear)))
    const unsent = kept.get(draft, null)
    model.watch(param.address, value => {
      const wasDraft = isDraft()
      shown = value ?? ''
      if (!wasDraft) field.value = shown
      edited()
    })
    if (typeof unsent === 'string') { field.value = unsent; edited() }
    return element
  }
}

// `left_right` as a person says it.
export const words = name => name.replaceAll('_', ' ')

export function choiceIndex(param, value) {
  return typeof value === 'string' ? param.choices.indexOf(value) : Math.round(value)
}
