// A real browser for the tests of the stage page.
//
// Holds: whatever a test does, a page that writes an error to its console, fails, or asks another
// host ends it as failed. The test's own questions to its starter go over stdout and stdin, a line
// each.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const { chromium } = createRequire(process.env.VFAQ_TEST_BROWSER + '/')('playwright-core')

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]
export const SOON_MS = 30000

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

// Has the starter do something, and waits until it has.
export async function ask(what) {
  console.log('ask ' + what)
  const { value } = await lines.next()
  assert.equal(value, 'done', what)
}

export const tell = text => console.log('tell ' + text)

export class Browser {
  #browser
  #troubles = []
  // What the console may say: parts of a show that is not there, or went away.
  allowed = [/503 .*\/api\/v1\/midi/]

  constructor(browser, url) {
    this.#browser = browser
    this.url = url
  }

  static async start(url) {
    return new Browser(await chromium.launch({ executablePath: process.env.VFAQ_CHROMIUM ?? '/usr/bin/chromium', args: FLAGS }), url)
  }

  async open(options = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options })
    const page = await context.newPage()
    page.setDefaultTimeout(SOON_MS)
    page.on('console', message => {
      if (message.type() !== 'error' && message.type() !== 'warning') return
      const text = `${message.text()} ${message.location().url}`
      if (!this.allowed.some(pattern => pattern.test(text))) this.#troubles.push('console: ' + text)
    })
    page.on('pageerror', error => this.#troubles.push('error: ' + error.stack))
    const here = new URL(this.url).host
    page.on('request', request => {
      const asked = new URL(request.url())
      if (['http:', 'https:'].includes(asked.protocol) && asked.host !== here) this.#troubles.push('asked ' + asked)
    })
    page.on('websocket', socket => {
      if (new URL(socket.url()).host !== here) this.#troubles.push('connected to ' + socket.url())
    })
    await page.goto(this.url)
    await page.waitForSelector('body.ready:not(.offline)')
    return page
  }

  async end() {
    await this.#browser.close()
    assert.deepEqual(this.#troubles, [])
  }
}

// Waits until `look` answers something true, and answers it.
export async function until(what, look, within = SOON_MS) {
  const end = performance.now() + within
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() > end) assert.fail(`${what}: not within ${within} ms`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

export const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

// Runs the scenario that the command line names.
export async function run(scenarios) {
  const [, , name, url] = process.argv
  const browser = await Browser.start(url)
  let failure = null
  try { await scenarios[name](browser) } catch (error) { failure = error }
  try { await browser.end() } catch (error) { failure ??= error }
  if (failure) console.error(failure)
  process.exit(failure ? 1 : 0)
}
