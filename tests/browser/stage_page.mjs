// What a performer does with the stage page. `tests/stage_page.rs` starts a show for each of these,
// and looks at what became of it in the recording and in the journal.

import assert from 'node:assert/strict'
import { SOON_MS, ask, pause, run, tell, until } from './browser.mjs'

// One of a parameter's controls, not among the favourites.
const control = (page, address) => page.locator(`#panels [data-address="${address}"]`)
const slider = (page, address) => control(page, address).locator('[role=slider]')
const valueOf = async (page, address) => Number(await slider(page, address).getAttribute('aria-valuenow'))
const isPressed = async locator => (await locator.getAttribute('aria-pressed')) === 'true'
const near = (a, b, by = 0.011) => Math.abs(a - b) <= by

// A mouse or a finger takes a fader in the middle of what is to be seen of it.
async function grip(page, address) {
  await slider(page, address).scrollIntoViewIfNeeded()
  const box = await slider(page, address).boundingBox()
  return { ...box, midX: box.x + box.width / 2, midY: box.y + box.height / 2 }
}

// Two people at once; white and black pictures.
async function steering(browser) {
  const [one, two] = [await browser.open(), await browser.open()]

  // A touch moves nothing; a drag moves as far as the finger does.
  const hue = await grip(one, '/fx/hue')
  await one.mouse.move(hue.midX + 40, hue.midY)
  await one.mouse.down()
  await pause(100)
  assert.equal(await valueOf(one, '/fx/hue'), 0, 'a touch makes no jump')
  await one.mouse.move(hue.midX + 50, hue.midY)
  await one.mouse.move(hue.midX + 50 + hue.width / 4, hue.midY, { steps: 8 })
  await until('the hue follows the finger', async () => near(await valueOf(one, '/fx/hue'), 90, 4))
  await until('the other sees it', async () => near(await valueOf(two, '/fx/hue'), 90, 4))

  // What one touches is theirs until they let go.
  await slider(two, '/fx/hue').focus()
  await two.keyboard.press('Home')
  await until('two moves it', async () => (await valueOf(two, '/fx/hue')) === -180)
  await pause(400)
  assert.ok(near(await valueOf(one, '/fx/hue'), 90, 4), 'it is not taken out of a hand')
  await one.mouse.up()
  await until('then it shows what it is', async () => (await valueOf(one, '/fx/hue')) === -180)

  // Far from the fader the same way moves less.
  const box = await grip(one, '/fx/saturation')
  await one.mouse.move(box.midX, box.midY)
  await one.mouse.down()
  await one.mouse.move(box.midX + 6, box.midY)
  await one.mouse.move(box.midX + 6, box.midY + 200)
  await one.mouse.move(box.midX + 6 + box.width / 4, box.midY + 200, { steps: 8 })
  await one.mouse.up()
  const fine = await valueOf(one, '/fx/saturation')
  assert.ok(fine > 1.02 && fine < 1.25, `fine: ${fine}`)

  // Twice quickly: its default.
  await slider(one, '/fx/hue').dblclick()
  await until('back to the default', async () => (await valueOf(two, '/fx/hue')) === 0)

  // White.
  await slider(one, '/fx/brightness').focus()
  await one.keyboard.press('End')
  await until('white for both', async () => (await valueOf(two, '/fx/brightness')) === 1)
  await until('white in the preview', async () => (await brightness(two)) > 240)
  await pause(1200)
  await one.keyboard.press('Delete')
  await until('as it was', async () => (await valueOf(two, '/fx/brightness')) === 0)
  await until('a picture again', async () => (await brightness(two)) < 230)

  // PANIC, on a tablet that another person holds.
  await two.locator('#panic').click()
  await until('black for both', async () => (await isPressed(one.locator('#panic'))) && (await isPressed(two.locator('#panic'))))
  assert.equal(await one.locator('#panic-word').textContent(), 'BLACK')
  await until('black in the preview', async () => (await brightness(one)) < 20)
  await pause(1200)
  await one.keyboard.press('b')
  await until('the picture is back', async () => !(await isPressed(two.locator('#panic'))))
  await until('and to be seen', async () => (await brightness(one)) > 20)
  await pause(500)
}

// Of the preview in the middle, where no caption is: 0 to 255.
const brightness = page => page.evaluate(() => {
  const copy = new OffscreenCanvas(48, 27).getContext('2d', { willReadFrequently: true })
  copy.drawImage(document.getElementById('preview'), 0, 0, 48, 27)
  const pixels = copy.getImageData(0, 7, 48, 7).data
  let sum = 0
  for (let i = 0; i < pixels.length; i += 4) sum += pixels[i] + pixels[i + 1] + pixels[i + 2]
  return sum / pixels.length * 4 / 3
})

// No mouse at all.
async function keyboard(browser) {
  const page = await browser.open()
  const pressed = id => isPressed(page.locator('#' + id))

  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip', 'the first stop leads to the controls')
  await page.keyboard.press(' ')
  await until('space holds', () => pressed('hold'))
  await page.keyboard.press(' ')
  await until('and lets go', async () => !(await pressed('hold')))
  for (const [key, address] of [['f', '/playback/freeze'], ['r', '/playback/reverse']]) {
    const toggle = page.locator(`#transport [data-address="${address}"]`)
    await page.keyboard.press(key)
    await until(key, () => isPressed(toggle))
    await page.keyboard.press(key)
    await until(key + ' again', async () => !(await isPressed(toggle)))
  }

  // Never while somebody types.
  await page.keyboard.press('/')
  const prompt = page.locator('#text-prompt-text')
  await until('the prompt has the focus', () => prompt.evaluate(field => field === document.activeElement))
  await page.keyboard.type('bright fog by n')
  await pause(300)
  assert.equal(await pressed('panic'), false)
  assert.equal(await pressed('hold'), false)
  assert.equal(await prompt.inputValue(), 'bright fog by n')
  const sent = () => page.locator('#panels [data-address="/prompt/text"] .sent').textContent()
  assert.equal(await sent(), 'not sent yet')
  await page.keyboard.press('Enter')
  await until('it is sent', async () => /^(sent|being made|on air after)/.test(await sent()))
  await page.keyboard.press('Escape')

  // A fader by its keys.
  await page.keyboard.press('[')
  await slider(page, '/fx/zoom').focus()
  await page.keyboard.press('PageUp')
  await until('coarse', async () => (await valueOf(page, '/fx/zoom')) > 1.1)
  const before = await valueOf(page, '/fx/zoom')
  await page.keyboard.press('ArrowRight')
  await until('by a step', async () => (await valueOf(page, '/fx/zoom')) > before)
  await page.keyboard.press('Delete')
  await until('to its default', async () => (await valueOf(page, '/fx/zoom')) === 1)
  // A focused button keeps its own space bar.
  await page.locator('#help').focus()
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Tab')
  await page.keyboard.press(' ')
  await until('the shortcuts are shown', () => page.locator('#keys').evaluate(d => d.open))
  await page.keyboard.press('f')
  await pause(200)
  assert.equal(await isPressed(page.locator('#transport [data-address="/playback/freeze"]')), false, 'not behind a dialog')
  await page.keyboard.press('b')
  await until('but for PANIC', () => pressed('panic'))
  // A finger on PANIC reaches it too.
  const panic = await page.locator('#panic').boundingBox()
  await page.mouse.click(panic.x + panic.width / 4, panic.y + panic.height / 2)
  await until('back again', async () => !(await pressed('panic')))
  await until('and it closes', async () => !(await page.locator('#keys').evaluate(d => d.open)))
  await page.keyboard.press('?')
  await until('the shortcuts are shown again', () => page.locator('#keys').evaluate(d => d.open))
  await page.keyboard.press('Escape')
  await until('Esc closes them', async () => !(await page.locator('#keys').evaluate(d => d.open)))
  assert.equal(await pressed('hold'), false)

  // A look, and the way back.
  await page.locator('#tab-presets').focus()
  await page.keyboard.press('Enter')
  await page.locator('#panel-presets .preset', { hasText: 'Noir' }).focus()
  await page.keyboard.press('Enter')
  await until('black and white', async () => (await valueOf(page, '/fx/saturation')) === 0)
  await page.keyboard.press('u')
  await until('colours again', async () => (await valueOf(page, '/fx/saturation')) === 1)
  await page.locator('#tab-fx').click()

  // Choices by arrows.
  const mirror = control(page, '/fx/mirror')
  const choice = mirror.getByRole('combobox', { name: 'Mirror' })
  await choice.focus()
  await page.keyboard.press('ArrowDown')
  // The list shows it by itself; the show is asked.
  const shown = () => page.evaluate(async () => (await (await fetch('/api/v1/params')).json()).find(p => p.address === '/fx/mirror').value)
  await until('the next choice', async () => (await shown()) === 1)
}

// In mid-show: loaded again; the show frozen, and gone and back.
async function lines(browser) {
  browser.allowed.push(/WebSocket connection to|Failed to load resource: net::|WebSocket is closed/)
  const page = await browser.open()
  await slider(page, '/fx/zoom').focus()
  await page.keyboard.press('PageUp')
  const zoom = await until('zoom', async () => { const now = await valueOf(page, '/fx/zoom'); return now > 1 && now })
  await page.locator('#tab-prompt').click()
  await page.locator('#text-prompt-text').fill('a draft that nobody sent')

  const began = performance.now()
  await page.reload()
  await page.waitForSelector('body.ready:not(.offline)')
  const took = performance.now() - began
  tell(`ready again after ${took.toFixed(0)} ms`)
  assert.ok(took < 5000, `interactive after ${took} ms`)
  const again = await valueOf(page, '/fx/zoom')
  assert.ok(near(again, zoom), `as the show is: ${again}, not ${zoom}`)
  assert.equal(await page.locator('#text-prompt-text').inputValue(), 'a draft that nobody sent')
  assert.equal(await page.locator('#tab-prompt').getAttribute('aria-selected'), 'true', 'where it was')

  // Nothing is heard any more: that is told, and what is moved meanwhile is not sent later.
  await ask('freeze')
  await page.waitForSelector('body.offline')
  await page.locator('#panic').click()
  await page.getByText('nothing was sent').first().waitFor()
  await ask('thaw')
  await page.waitForSelector('body:not(.offline)')
  await pause(600)
  assert.equal(await isPressed(page.locator('#panic')), false)

  // Another show on the same address: the page takes over how that is.
  await ask('restart')
  await page.waitForSelector('body:not(.offline)')
  await until('the new show', async () => (await valueOf(page, '/fx/zoom')) === 1)
  assert.equal(await page.locator('#text-prompt-text').inputValue(), 'a draft that nobody sent')
  await page.locator('#tab-fx').click()
  await slider(page, '/fx/zoom').focus()
  await page.keyboard.press('PageUp')
  await until('it steers', async () => (await valueOf(page, '/fx/zoom')) > 1)
  const shown = () => page.evaluate(async () => (await (await fetch('/api/v1/params')).json()).find(p => p.address === '/fx/zoom').value)
  await until('the show has it', async () => (await shown()) > 1)
}

// What everybody must be able to find, name and touch, on three screens.
async function access(browser) {
  for (const [width, height] of [[1280, 800], [800, 1280], [390, 844]]) {
    const page = await browser.open({ viewport: { width, height }, hasTouch: true })
    const tabs = await page.getByRole('tab').all()
    assert.ok(tabs.length >= 6)
    for (const tab of tabs) {
      await tab.click()
      const troubles = await page.evaluate(() => {
        const troubles = []
        const named = e => e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim()
          || document.getElementById(e.getAttribute('aria-labelledby'))?.textContent
        const seen = e => e.checkVisibility() && e.getBoundingClientRect().width > 0
        for (const e of document.querySelectorAll('button, input, select, textarea, a, [role=slider], [role=radiogroup], [role=meter], section, canvas')) {
          if (!named(e)) troubles.push('no name: ' + e.outerHTML.slice(0, 120))
        }
        for (const e of document.querySelectorAll('button:not(.move), input, select, textarea, [role=slider]')) {
          const box = e.getBoundingClientRect()
          if (seen(e) && (box.height < 43.5 || box.width < 43.5)) troubles.push(`small, ${box.width} x ${box.height}: ` + e.outerHTML.slice(0, 120))
          if (seen(e) && e.closest('.panel, #big, #top') && (box.left < -1 || box.right > innerWidth + 1)) troubles.push('beyond the edge: ' + e.outerHTML.slice(0, 120))
        }
        const ids = [...document.querySelectorAll('[id]')].map(e => e.id)
        const twice = ids.filter((id, n) => ids.indexOf(id) !== n)
        if (twice.length) troubles.push('twice: ' + twice)
        for (const e of document.querySelectorAll('[role=slider]')) {
          if (!Number.isFinite(Number(e.getAttribute('aria-valuenow') ?? NaN))) troubles.push('no value: ' + e.outerHTML.slice(0, 120))
        }
        if (document.documentElement.scrollWidth > innerWidth) troubles.push('wider than the screen')
        const panel = document.querySelector('.panel:not([hidden])')
        if (panel.scrollWidth > panel.clientWidth) troubles.push('wider than its panel: ' + panel.id)
        return troubles
      })
      assert.deepEqual(troubles, [], `${await tab.textContent()} at ${width}x${height}`)
    }
    for (const role of ['banner', 'main', 'tablist']) assert.equal(await page.getByRole(role).count(), 1, role)
    await page.context().close()
  }

  // A long press opens the sheet, with MIDI; it makes a favourite that stays.
  const page = await browser.open({ hasTouch: true })
  const invert = await grip(page, '/fx/invert')
  const touch = await page.context().newCDPSession(page)
  const finger = (type, points) => touch.send('Input.dispatchTouchEvent', { type, touchPoints: points })
  await finger('touchStart', [{ x: invert.midX, y: invert.midY }])
  await until('the sheet', () => page.locator('#sheet').evaluate(d => d.open))
  await finger('touchEnd', [])
  assert.equal(await page.locator('#sheet-title').textContent(), 'Invert')
  assert.equal(await valueOf(page, '/fx/invert'), 0)
  await until('what MIDI does', async () => (await page.locator('#sheet-midi').textContent()).length > 5)
  const learn = page.locator('#sheet-learn')
  if (await learn.isEnabled()) {
    await learn.click()
    await page.getByText('Move a control now').waitFor()
    await learn.click()
    await until('cancelled', async () => (await learn.textContent()) === 'Learn MIDI')
  } else {
    assert.match(await page.locator('#sheet-midi').textContent(), /MIDI is off/)
  }
  await page.locator('#sheet-favourite').click()
  await page.locator('#sheet-close').click()
  await page.locator('#favourites [data-address="/fx/invert"]').waitFor()

  // A finger drags a fader sideways, and scrolls over it without moving it.
  await finger('touchStart', [{ x: invert.midX, y: invert.midY }])
  for (let n = 1; n <= 8; n++) await finger('touchMove', [{ x: invert.midX + n * invert.width / 16, y: invert.midY }])
  await finger('touchEnd', [])
  await until('dragged', async () => near(await valueOf(page, '/fx/invert'), 0.43, 0.1))
  const gamma = await grip(page, '/fx/gamma')
  await finger('touchStart', [{ x: gamma.midX, y: gamma.midY }])
  for (let n = 1; n <= 8; n++) await finger('touchMove', [{ x: gamma.midX, y: gamma.midY - n * 25 }])
  await finger('touchEnd', [])
  await until('scrolled', () => page.locator('#panel-fx').evaluate(panel => panel.scrollTop > 50))
  assert.equal(await valueOf(page, '/fx/gamma'), 1)

  await page.reload()
  await page.waitForSelector('body.ready:not(.offline)')
  await page.locator('#favourites [data-address="/fx/invert"]').waitFor({ timeout: SOON_MS })
}

await run({ steering, keyboard, lines, access })
