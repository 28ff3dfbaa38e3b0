// Presets: pads by kind, saving, morphing from one to another, and the way back.
//
// Holds: the show remembers what each recall changed, whoever made it, and takes it back.

import { at, button, make, notify, setAttribute } from './dom.js'

const KINDS = [['look', 'Looks'], ['style', 'Styles'], ['scene', 'Scenes']]
const LIST_EVERY_MS = 20000

export class Presets {
  #list = []
  #pads = new Map()
  #none = false

  constructor(connection, controls, model, prompts) {
    this.connection = connection
    this.controls = controls
    this.model = model
    this.prompts = prompts
    connection.on('online', online => { this.#none = false; if (online) this.load() })
    setInterval(() => { if (!document.hidden && connection.online && !this.#none) this.load() }, LIST_EVERY_MS)
    model.watch('/preset/recall', () => this.#mark())
    this.#saving()
  }

  get looks() { return this.#list.filter(p => p.kind === 'look') }

  panel() {
    this.place = make('div.kinds')
    const undo = button('.quiet', 'Undo the last recall', () => this.undo())
    this.morphA = this.#end('a', 'Morph from')
    this.morphB = this.#end('b', 'Morph to')
    const save = button('.quiet', 'Save the present look…', () => this.save())
    this.#show()
    const fade = this.controls.make('/preset/fade')
    const morph = this.controls.make('/preset/morph')
    return [
      make('div.bar', {}, save, undo),
      make('div.grid', {}, fade),
      this.place,
      make('section', { 'aria-label': 'Morph' }, make('h3', {}, 'Morph'),
        make('div.morph', {}, this.morphA, morph ?? '', this.morphB)),
    ]
  }

  async load() {
    let list
    const trouble = this.trouble
    this.trouble = null
    try {
      list = await this.connection.http('GET', 'presets')
    } catch (error) {
      // A show without this list says so where the pads would be.
      this.#none = error.status === 404
      this.trouble = error.status === 404 ? 'This show has no list of presets.' : error.message
      list = []
    }
    if (trouble === this.trouble && JSON.stringify(list) === JSON.stringify(this.#list) && this.place?.children.length) return
    this.#list = list
    this.#show()
  }

  recall(name) {
    const receipt = this.model.set('/preset/recall', name)
    receipt.accepted.then(
      () => notify(`${this.#title(name)} is recalled.`, { action: () => this.undo(), label: 'Undo' }),
      error => { this.#mark(); notify(error.message, { kind: 'bad' }) })
    this.#mark()
  }

  nth(n) {
    const preset = this.looks[n - 1] ?? null
    if (preset) this.recall(preset.name)
  }

  undo() {
    this.model.trigger('/preset/undo').accepted.then(
      () => notify('The last recall is undone.'), error => notify(error.message, { kind: 'bad' }))
  }

  #title(name) { return this.#list.find(p => p.name === name)?.title || name }

  #show() {
    if (!this.place) return
    this.#pads.clear()
    const kinds = [...new Set([...KINDS.map(k => k[0]), ...this.#list.map(p => p.kind)])]
    let number = 0
    const sections = kinds.map(kind => {
      const presets = this.#list.filter(p => p.kind === kind)
      if (!presets.length) return null
      const title = KINDS.find(k => k[0] === kind)?.[1] ?? kind
      return make('section', { 'aria-label': title }, make('h3', {}, title), make('div.pads', {}, ...presets.map(preset => {
        const pad = this.#pad(preset)
        if (kind === 'look' && ++number <= 8) pad.append(make('kbd', { 'aria-hidden': 'true' }, String(number)))
        return pad
      })))
    }).filter(Boolean)
    this.place.replaceChildren(...(sections.length ? sections : [make('p.empty', {}, this.trouble ?? 'No presets yet.')]))
    this.prompts.showStyles(this.#list.filter(p => p.kind === 'style').map(preset => this.#pad(preset)))
    for (const end of [this.morphA, this.morphB]) this.#ends(end)
    this.#mark()
  }

  #pad(preset) {
    const pad = button('.pad.preset', preset.title || preset.name, () => this.recall(preset.name), { title: preset.description })
    pad.addEventListener('contextmenu', event => { event.preventDefault(); this.#remove(preset) })
    if (!this.#pads.has(preset.name)) this.#pads.set(preset.name, [])
    this.#pads.get(preset.name).push(pad)
    return pad
  }

  #mark() {
    const now = this.model.value('/preset/recall')
    for (const [name, pads] of this.#pads) for (const pad of pads) setAttribute(pad, 'aria-pressed', name === now)
  }

  #end(which, label) {
    const select = make('select', { 'aria-label': label })
    const address = '/preset/morph_' + which
    select.onchange = () => this.model.set(address, select.value)
    select.dataset.which = which
    this.model.watch(address, () => this.#ends(select))
    return select
  }

  #ends(select) {
    if (!select) return
    const now = this.model.value('/preset/morph_' + select.dataset.which) ?? ''
    const names = new Map([['', 'none'], ['now', 'as it is now'], ...this.#list.map(p => [p.name, p.title || p.name])])
    if (!names.has(now)) names.set(now, now)
    select.replaceChildren(...[...names].map(([value, text]) => make('option', { value }, text)))
    select.value = now
  }

  save() {
    at('save-note').textContent = ''
    at('save').showModal()
  }

  #saving() {
    const name = at('save-name')
    at('save-form').addEventListener('submit', async event => {
      event.preventDefault()
      const title = name.value.trim()
      // As a file name: what the title says, in small letters.
      const file = title.toLowerCase().normalize('NFKD').replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
      if (!file) { at('save-note').textContent = 'Give it a name with letters or digits.'; return }
      const overwrite = at('save-over').checked
      try {
        await this.connection.http('POST', 'presets/' + encodeURIComponent(file), { kind: at('save-kind').value, title, overwrite })
        at('save').close()
        name.value = ''
        at('save-over').checked = false
        at('save-over').closest('label').hidden = true
        notify(`${title} is saved.`)
        this.load()
      } catch (error) {
        at('save-note').textContent = error.message
        if (error.status === 409) at('save-over').closest('label').hidden = false
      }
    })
    at('save-cancel').onclick = () => at('save').close()
  }

  #remove(preset) {
    notify(`Delete the preset ${preset.title || preset.name}?`, {
      label: 'Delete',
      action: () => this.connection.http('DELETE', 'presets/' + encodeURIComponent(preset.name))
        .then(() => this.load(), error => notify(error.message, { kind: 'bad' })),
    })
  }
}
