// The keyboard.
//
// Holds: never while somebody types; while a dialog is open PANIC alone; a focused button keeps its
// own space bar and Enter.

import { at, make } from './dom.js'

export class Keys {
  constructor(actions) {
    // [keys, what it does, action]
    this.keys = [
      [[' '], 'Hold: this cycle again and again', actions.hold],
      [['b'], 'PANIC: black picture, and back', actions.panic],
      [['n'], 'Next cycle', actions.next],
      [['p'], 'Cycle before', actions.back],
      [['f'], 'Freeze', actions.freeze],
      [['r'], 'Reverse', actions.reverse],
      [['1', '2', '3', '4', '5', '6', '7', '8'], 'Look 1 to 8', actions.preset],
      [['u'], 'Undo the last recall', actions.undo],
      [['m'], 'Mark a chapter', actions.mark],
      [['t'], 'Tap the tempo', actions.tap],
      [['g'], 'Go, in standby', actions.go],
      [['/'], 'To the prompt', actions.prompt],
      [['[', ']'], 'Tab before, next tab', actions.tab],
      [['?'], 'This list', actions.help],
    ]
    document.addEventListener('keydown', event => this.#press(event))
    const name = key => (key === ' ' ? 'space' : key)
    at('key-list').replaceChildren(...this.keys.flatMap(([keys, what]) => {
      const shown = keys.length > 2 ? [keys[0], '–', keys.at(-1)] : keys
      return [make('dt', {}, ...shown.map(key => (key === '–' ? ' – ' : make('kbd', {}, name(key))))), make('dd', {}, what)]
    }).concat(
      make('dt', {}, make('kbd', {}, '← →')), make('dd', {}, 'A focused fader; with Shift finer, Page Up and Down coarser, Home and End to the ends, Delete to its default'),
      make('dt', {}, make('kbd', {}, 'Esc')), make('dd', {}, 'Close what is open; leave a text field'),
      make('dt', {}, make('kbd', {}, 'menu')), make('dd', {}, 'Sheet of a focused control: exact value, favourite, MIDI'),
    ))
  }

  #press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return
    const target = event.target
    if (target.closest?.('input, textarea, select, [contenteditable]')) {
      if (event.key === 'Escape' && !document.querySelector('dialog[open]')) target.blur()
      return
    }
    const found = this.keys.find(([keys]) => keys.includes(event.key))
    if (document.querySelector('dialog[open]') && event.key !== 'b') return
    if (!found) return
    if (event.key === ' ' && target.closest?.('button') && target.matches(':focus-visible')) return
    event.preventDefault()
    // A key that is held down acts once.
    if (!event.repeat) found[2](event.key)
  }
}
