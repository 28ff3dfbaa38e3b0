// Puts the page together.

import { Connection } from './connection.js'
import { Controls } from './controls.js'
import { at, button, kept, make, notify, setAttribute } from './dom.js'
import { Favourites } from './favourites.js'
import { Keys } from './keys.js'
import { Layout } from './layout.js'
import { Sheet } from './midi.js'
import { Model } from './model.js'
import { Music } from './music.js'
import { Outputs } from './outputs.js'
import { Presets } from './presets.js'
import { Prompts } from './prompts.js'
import { Ring } from './ring.js'
import { Stage } from './stage.js'

const TRANSPORT = [
  ['/playback/back', 'Back'], ['/playback/reverse', 'Reverse'], ['/playback/freeze', 'Freeze'], ['/playback/next', 'Next'],
]

const connection = new Connection()
const model = new Model(connection)
let sheet = null
const controls = new Controls(model, address => sheet.open(address))
const favourites = new Favourites(controls, () => sheet.badges())
sheet = new Sheet(connection, model, favourites)
const stage = new Stage(connection, model)
const prompts = new Prompts(connection, controls, model)
const outputs = new Outputs(connection, controls, model)
const presets = new Presets(connection, controls, model, prompts)
const layout = new Layout(controls, model)
const music = new Music(connection, controls, layout, model)
new Ring(connection, model, text => { show('prompt'); prompts.use(text) })

const lost = error => notify(error.message, { kind: 'bad' })
new Keys({
  hold: () => stage.hold(),
  panic: () => stage.panic(),
  go: () => stage.go(),
  next: () => model.trigger('/playback/next').accepted.catch(lost),
  back: () => model.trigger('/playback/back').accepted.catch(lost),
  freeze: () => model.toggle('/playback/freeze').accepted.catch(lost),
  reverse: () => model.toggle('/playback/reverse').accepted.catch(lost),
  preset: key => presets.nth(Number(key)),
  undo: () => presets.undo(),
  mark: () => outputs.mark(),
  tap: () => music.tap(),
  prompt: () => { show('prompt'); prompts.focus() },
  tab: key => step(key === ']' ? 1 : -1),
  help: () => at('keys').showModal(),
})
at('help').onclick = () => at('keys').showModal()
for (const close of document.querySelectorAll('dialog .close')) {
  close.addEventListener('click', () => close.closest('dialog').close())
}
// A tap beside a dialog closes it; the end of the long press that opened it is none. PANIC works
// behind a dialog too.
const within = (element, { clientX, clientY }) => {
  const box = element.getBoundingClientRect()
  return clientX >= box.left && clientX <= box.right && clientY >= box.top && clientY <= box.bottom
}
for (const dialog of document.querySelectorAll('dialog')) {
  let beside = false
  dialog.addEventListener('pointerdown', event => {
    beside = event.target === dialog && !within(dialog, event)
    if (beside && within(at('panic'), event)) stage.panic()
  })
  dialog.addEventListener('click', () => {
    if (beside) dialog.close()
    beside = false
  })
}

let tabs = []

function show(key) {
  for (const tab of tabs) {
    const chosen = tab.key === key
    setAttribute(tab.tab, 'aria-selected', chosen)
    tab.tab.tabIndex = chosen ? 0 : -1
    tab.panel.hidden = !chosen
  }
  kept.set('tab', key)
  music.look(key === 'music' || key === 'mod')
}

function step(by) {
  const index = tabs.findIndex(tab => !tab.panel.hidden)
  show(tabs[(index + by + tabs.length) % tabs.length].key)
}

function addTab(key, title, parts) {
  const panel = make('div.panel', { id: 'panel-' + key, role: 'tabpanel', 'aria-labelledby': 'tab-' + key }, ...parts)
  const tab = button('.tab', title, () => show(key), { id: 'tab-' + key, role: 'tab', 'aria-controls': panel.id })
  tab.addEventListener('keydown', event => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!by) return
    event.preventDefault()
    step(by)
    tabs.find(one => !one.panel.hidden).tab.focus()
  })
  tabs.push({ key, tab, panel })
}

// Built anew only for a show with other parameters; else what is there goes on, with what was typed.
let built = ''

function build() {
  const signature = JSON.stringify(model.params.map(({ value, ...param }) => param))
  if (signature === built) return
  built = signature
  tabs = []
  const groups = layout.groups()
  const group = ([key, title, params]) => addTab(key, title, layout.panel(key, params))
  groups.filter(g => g[0] === 'fx').forEach(group)
  addTab('prompt', 'Prompt', prompts.panel())
  addTab('presets', 'Presets', presets.panel())
  addTab('music', 'Music', music.panel())
  addTab('mod', 'Modulators', music.modulators())
  groups.filter(g => g[0] !== 'fx').forEach(group)
  addTab('outputs', 'Outputs', outputs.panel())
  at('tabs').replaceChildren(...tabs.map(tab => tab.tab))
  at('panels').replaceChildren(...tabs.map(tab => tab.panel))
  at('transport').replaceChildren(...TRANSPORT.map(([address, label]) => controls.make(address, { label })).filter(Boolean))
  const before = kept.get('tab', 'fx')
  show(tabs.some(tab => tab.key === before) ? before : tabs[0].key)
  favourites.show()
}

let version = null
connection.on('snapshot', snapshot => {
  build()
  const now = snapshot.state?.version
  if (version !== null && now !== version) {
    notify('The show runs another version of the program now.', { label: 'Reload the page', action: () => location.reload() })
  }
  version = now
  document.body.classList.add('ready')
})
connection.on('refused', refused => notify(refused.message, { kind: 'bad' }))
connection.start()

// A tablet must not fall asleep in mid-set; only a secure context may ask for that.
const stayAwake = () => { if (!document.hidden) navigator.wakeLock?.request('screen').catch(() => {}) }
document.addEventListener('visibilitychange', stayAwake)
stayAwake()
