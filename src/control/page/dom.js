// Small helpers to build the page with.

// `make('button.pad', { type: 'button', onclick }, 'Text', child)`
export function make(what, properties = {}, ...children) {
  const [tag, ...classes] = what.split('.')
  const element = document.createElement(tag)
  if (classes.length) element.className = classes.join(' ')
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue
    if (name.startsWith('aria-') || name.startsWith('data-') || name === 'role' || name === 'for' || name === 'list') {
      element.setAttribute(name, value)
    } else {
      element[name] = value
    }
  }
  element.append(...children.filter(child => child !== null && child !== undefined))
  return element
}

export const button = (what, text, onclick, properties = {}) =>
  make('button' + what, { type: 'button', onclick, ...properties }, text)

// Only what differs is written: screen readers and layout rest otherwise.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function setAttribute(element, name, value) {
  const text = String(value)
  if (element.getAttribute(name) !== text) element.setAttribute(name, text)
}

export const at = id => document.getElementById(id)

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds))
  const two = n => String(n).padStart(2, '0')
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`
}

export function bytes(n) {
  if (n >= 1e9) return (n / 1e9).toFixed(2) + ' GB'
  return (n / 1e6).toFixed(n < 1e7 ? 1 : 0) + ' MB'
}

export function span(seconds) {
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min`
  return `${Math.floor(seconds)} s`
}

// What this page keeps on this machine. A private window may have no storage: then until reload.
const memory = new Map()
export const kept = {
  get(name, otherwise) {
    try {
      const text = localStorage.getItem('vfaq.' + name)
      if (text !== null) return JSON.parse(text)
    } catch { /* Below. */ }
    return memory.has(name) ? memory.get(name) : otherwise
  },
  set(name, value) {
    memory.set(name, value)
    try { localStorage.setItem('vfaq.' + name, JSON.stringify(value)) } catch { /* In memory then. */ }
  },
}

// A line at the bottom that goes by itself, with something to do if there is one.
export function notify(text, { kind = 'info', action, label } = {}) {
  const place = at('notes')
  const note = make(`div.note.${kind}`, {}, make('span', {}, text))
  const away = () => note.remove()
  if (action) note.append(button('.quiet', label, () => { away(); action() }))
  note.append(button('.quiet.close', '×', away, { 'aria-label': 'Close this note' }))
  while (place.children.length >= 3) place.firstChild.remove()
  place.append(note)
  setTimeout(away, action ? 12000 : kind === 'bad' ? 8000 : 4000)
}
