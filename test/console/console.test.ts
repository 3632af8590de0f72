import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Browser, Page } from 'playwright-core'
import { runBroker } from '../broker/running-broker.ts'
import type { RunningBroker } from '../broker/running-broker.ts'
import { send } from '../broker/http/http-client.ts'
import { openBrowser, openPage, screenshot } from './browser.ts'
import { eventsOf } from './retail.ts'

let browser: Browser
let running: RunningBroker
const customer = '14911'
const hostile = `</script><img src=x onerror="window.hacked=1">'"\u202e{{7*7}}`

before(async () => {
  browser = await openBrowser()
  running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 'shop' })
  const events = await eventsOf(customer)
  for (let from = 0; from < events.length; from += 1_000) {
    const { status } = await send(
      running,
      'POST',
      `/api/topics/shop/streams/${customer}`,
      events.slice(from, from + 1_000),
    )
    assert.equal(status, 201)
  }
})
after(async () => {
  await browser?.close()
  await running?.[Symbol.asyncDispose]()
})

const at = (hash: string) => `http://127.0.0.1:${running.broker.httpPort}/${hash}`

async function story(page: Page, stream: string, query = ''): Promise<void> {
  await page.goto(at(`#/t/shop/s/${encodeURIComponent(stream)}${query}`))
  await page.locator('[data-asof][data-settled=yes]').waitFor()
}

const asOf = (page: Page) => page.locator('[data-asof]')
const settled = (page: Page, events: number) =>
  page.locator(`[data-asof][data-events="${events}"][data-settled=yes]`).waitFor()

test('story: the state of customer 14911 as of 2011-06-01T00:00:00Z is that of 1,639 events, in an amber frame; a screenshot shows it', async () => {
  const { page, errors } = await openPage(browser)
  await story(page, customer, '?asOf=2011-06-01T00:00:00Z')
  await settled(page, 1_639)
  assert.match(
    await asOf(page).innerText(),
    /^1,639 events · state as of version 1,638 · 2011-05-.* · 4,264 later events hidden$/,
  )
  assert.equal(await page.locator('.frame.past').count(), 1)
  const wanted = (await send(running, 'GET', `/api/topics/shop/streams/${customer}?from=1638&limit=1`)).body.events[0]
    .data
  const shown = await page.locator('[data-state] tr').allInnerTexts()
  for (const [field, value] of Object.entries(wanted))
    assert.ok(
      shown.some((row) => row.replace(/\s+/g, ' ') === `${field} ${String(value).replace(/\s+/g, ' ')}`.trim()),
      `${field} ${String(value)} in ${shown.join(' | ')}`,
    )
  await screenshot(page, 'story-as-of-2011-06-01')
  // The address is the moment: whoever gets the link sees the same.
  await page.waitForURL(/at=1638/)
  assert.deepEqual(errors, [])
  await page.close()
})

test('story: the slider and the keys move through time: drag, arrows, Home, End, go to a time; the slider says where it is', async () => {
  const { page, errors } = await openPage(browser)
  await story(page, customer)
  await settled(page, 5_903)
  const slider = page.getByRole('slider', { name: 'Moment' })
  const box = await slider.boundingBox()
  assert.ok(box)
  await page.mouse.move(box.x + box.width - 10, box.y + 40)
  await page.mouse.down()
  for (let step = 1; step <= 30; step++)
    await page.mouse.move(box.x + box.width - (box.width / 2 / 30) * step, box.y + 40)
  await page.mouse.up()
  await page.waitForFunction(`Number(document.querySelector('[data-asof]').dataset.events) < 4500`)
  assert.match((await slider.getAttribute('aria-valuetext')) ?? '', /^version \d+ of 5902, OrderLine, 2011-/)
  await page.keyboard.press('Home')
  await settled(page, 1)
  await page.keyboard.press('ArrowRight')
  await settled(page, 2)
  await page.keyboard.press('Shift+ArrowRight')
  await settled(page, 12)
  await page.keyboard.press('ArrowLeft')
  await settled(page, 11)
  await page.keyboard.press('Shift+G')
  await page.locator('input[name=goto]').fill('2011-06-01T00:00:00Z')
  await page.keyboard.press('Enter')
  await settled(page, 1_639)
  await page.keyboard.press('End')
  await settled(page, 5_903)
  assert.deepEqual(errors, [])
  await page.close()
})

test('story: two moments are compared, field by field', async () => {
  const { page, errors } = await openPage(browser)
  await story(page, customer, '?at=10')
  await settled(page, 11)
  await page.keyboard.press('c')
  await page.keyboard.press('End')
  await settled(page, 5_903)
  const rows = await page.locator('[data-difference] tbody tr').allInnerTexts()
  assert.ok(
    rows.some((row) => row.startsWith('InvoiceNo')),
    rows.join(' | '),
  )
  await page.waitForURL(/compare=10/)
  assert.deepEqual(errors, [])
  await page.close()
})

test('story: a fold of the user runs in the worker; one that throws shows the state before, one that never ends is stopped, and none reaches the network', async () => {
  const { page, errors } = await openPage(browser)
  await story(page, customer)
  await settled(page, 5_903)
  const use = async (source: string) => {
    await page.locator('details.fold').evaluate((element) => ((element as unknown as { open: boolean }).open = true))
    await page.locator('textarea[name=fold]').fill(source)
    await page.getByRole('button', { name: 'Use this function' }).click()
  }
  await use('{ initial: () => ({ events: 0 }), apply: (state) => ({ events: state.events + 1 }) }')
  await page.locator('[data-state]', { hasText: '5903' }).waitFor()
  await page.keyboard.press('Escape')
  await use(
    '(state, event) => { if (event.version === 100) throw new Error("no such article"); return { at: event.version } }',
  )
  await page.getByText('The fold throws at version 100: no such article').waitFor()
  await page.locator('[data-state]', { hasText: '99' }).waitFor()
  await page.getByRole('button', { name: 'Leave this event out of the fold' }).click()
  await page.locator('[data-state]', { hasText: '5902' }).waitFor()
  await use(
    '(state) => { if (state.tried) return state; let tried = "none"; try { importScripts("/app.js"); tried = "import" } catch {} try { new XMLHttpRequest().open("GET", "/api/topics"); const x = new XMLHttpRequest(); x.open("GET", "/api/topics", false); x.send(); tried = "request" } catch {} return { tried } }',
  )
  await page.locator('[data-state]', { hasText: 'none' }).waitFor({ timeout: 20_000 })
  await use('() => { for (;;); }')
  await page.getByText('wanted a fold that ends').waitFor({ timeout: 20_000 })
  await page.locator('[data-state]', { hasText: 'InvoiceNo' }).waitFor({ timeout: 20_000 })
  assert.deepEqual(
    errors.filter((error) => !/Content Security Policy|net::ERR|violates/.test(error)),
    [],
  )
  await page.close()
})

test('story: an append from the past is refused, the events in between are named, and the version they make can be taken', async () => {
  const { page } = await openPage(browser)
  const path = '/api/topics/shop/streams/basket-1'
  await send(running, 'POST', path, [
    { type: 'Opened' },
    { type: 'ItemAdded', data: { sku: '85123A' } },
    { type: 'ItemRemoved', data: { sku: '85123A' } },
  ])
  await story(page, 'basket-1', '?at=0')
  await settled(page, 1)
  await page.locator('input[name=type]').fill('CheckedOut')
  await page.getByRole('button', { name: 'Append', exact: true }).click()
  const conflict = page.locator('[data-conflict]')
  await conflict.waitFor()
  assert.match(
    await conflict.innerText(),
    /Refused, nothing was written\. You decided on version 0 of basket-1; it is at version 2\. 2 events came in between/,
  )
  assert.deepEqual(await conflict.locator('li b').allInnerTexts(), ['ItemAdded', 'ItemRemoved'])
  await screenshot(page, 'conflict')
  await conflict.getByRole('button', { name: 'Expect version 2 instead' }).click()
  await page.getByRole('button', { name: 'Append', exact: true }).click()
  await page.getByText('Written as version 3, durable.').waitFor()
  assert.equal((await send(running, 'GET', path)).body.lastVersion, 3)
  await page.close()
})

test('story: what is appended elsewhere shows up while it is followed, and is counted while one looks at the past', async () => {
  const { page, errors } = await openPage(browser)
  const path = '/api/topics/shop/streams/basket-2'
  await send(running, 'POST', path, { type: 'Opened' })
  await story(page, 'basket-2')
  await page.locator('[data-live]', { hasText: 'live' }).waitFor()
  await send(running, 'POST', path, [{ type: 'ItemAdded' }, { type: 'ItemAdded' }])
  await settled(page, 3)
  await page.keyboard.press('Home')
  await settled(page, 1)
  await send(running, 'POST', path, { type: 'ItemAdded' })
  await page.getByRole('button', { name: 'Follow (+3)' }).waitFor()
  await page.keyboard.press('f')
  await settled(page, 4)
  assert.deepEqual(errors, [])
  await page.close()
})

test('decide: of two panes that race on the same version one writes, the other is told why not', async () => {
  const { page } = await openPage(browser)
  await page.goto(at('#/decide?topic=shop&stream=basket-3'))
  await page.getByRole('button', { name: 'Race: append from both at once' }).click()
  await page.locator('.won').waitFor()
  await page.locator('[data-conflict]').waitFor()
  assert.deepEqual([await page.locator('.won').count(), await page.locator('[data-conflict]').count()], [1, 1])
  assert.equal((await send(running, 'GET', '/api/topics/shop/streams/basket-3')).body.lastVersion, 0)
  await page.close()
})

test('hostile stream names, event types and data are text, on every screen', async () => {
  const { page, errors } = await openPage(browser)
  const path = `/api/topics/shop/streams/${encodeURIComponent(hostile)}`
  const event = {
    type: hostile,
    data: { [hostile]: hostile, __html: hostile },
    metadata: { 'correlation-id': hostile },
    tags: [hostile],
  }
  assert.equal((await send(running, 'POST', path, [event, event])).status, 201)
  await send(running, 'POST', path, {
    type: 'Vnode',
    data: { type: 'img', props: { src: 'x', onerror: 'window.hacked=1' }, key: null, ref: null, __k: null },
  })
  await story(page, hostile)
  await settled(page, 3)
  for (const tab of ['What changed', 'Event', 'Raw', 'Causes', 'State']) {
    await page.getByRole('tab', { name: tab }).click()
    await page.keyboard.press('ArrowLeft')
  }
  await page.locator('input[name=expected]').fill('0')
  await page.getByRole('button', { name: 'Append', exact: true }).click()
  await page.locator('[data-conflict]').waitFor()
  await page.goto(at(`#/streams?topic=shop&prefix=${encodeURIComponent('</')}`))
  await page.getByRole('link', { name: '</script>' }).waitFor()
  await page.goto(at('#/t/shop'))
  await page.getByRole('button', { name: 'Follow the newest events' }).click()
  await page.locator('[role=status]', { hasText: /^following$/ }).waitFor()
  await send(running, 'POST', path, event)
  await page.getByRole('cell', { name: '</script>' }).first().waitFor()
  await page.goto(at(`#/t/${encodeURIComponent(hostile)}/s/${encodeURIComponent(hostile)}`))
  await page.locator('.problem').waitFor()
  assert.equal(await page.evaluate(() => Reflect.get(globalThis, 'hacked')), undefined)
  assert.equal(await page.locator('img[src=x]').count(), 0)
  assert.deepEqual(
    errors.filter((error) => !/40\d|status of/.test(error)),
    [],
  )
  await page.close()
})

test('the content policy lets no inline script run and no other page frame the console', async () => {
  const response = await fetch(at(''))
  const policy = response.headers.get('content-security-policy') ?? ''
  assert.match(policy, /default-src 'none'; script-src 'self';/)
  assert.match(policy, /frame-ancestors 'none'/)
  assert.doesNotMatch(policy, /unsafe/)
  assert.doesNotMatch(await response.text(), /<script(?! type="module" src=)|\son\w+=|style=/)
  for (const path of [
    '../package.json',
    '%2e%2e/package.json',
    '..%2fpackage.json',
    'vendor/../../package.json',
    'demo/../broker.ts',
  ]) {
    assert.equal((await fetch(at(path))).status >= 400, true, path)
  }
})

test('light and dark, phone and wall: every page fits its width and can be read', async () => {
  for (const [colorScheme, width, height] of [
    ['dark', 360, 740],
    ['light', 360, 740],
    ['dark', 3840, 2160],
  ] as const) {
    const { page, errors } = await openPage(browser, { colorScheme, viewport: { width, height } })
    for (const hash of [
      '#/',
      '#/topics',
      '#/t/shop',
      '#/streams?topic=shop',
      `#/t/shop/s/${customer}?at=1638`,
      '#/readers',
      '#/decide?topic=shop&stream=basket-1',
      '#/cluster',
      '#/settings',
      '#/access',
    ]) {
      await page.goto(at(hash))
      await page.locator('main h1').first().waitFor()
      const wide = await page.evaluate<number>(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      assert.ok(wide <= 0, `${hash} at ${width}: ${wide} px too wide`)
    }
    await story(page, customer, '?at=1638')
    await settled(page, 1_639)
    const [paper, ink] = await page.evaluate<string[]>(
      '[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]',
    )
    const brightness = (colour = '') =>
      (colour.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3
    assert.equal(brightness(paper) > brightness(ink), colorScheme === 'light', `${paper} ${ink}`)
    assert.ok(Math.abs(brightness(paper) - brightness(ink)) > 120, `${paper} ${ink}`)
    await screenshot(page, `story-${colorScheme}-${width}`)
    assert.deepEqual(errors, [])
    await page.close()
  }
})

test('the demo is loaded from the console, stopped and loaded again: nothing is there twice (2,000 rows of the file)', async () => {
  const { page } = await openPage(browser)
  const rows = (await eventsOf(customer)).slice(0, 2_000) as { data: Record<string, unknown> }[]
  const heads = Object.keys(rows[0]?.data ?? {})
  const cell = (value: unknown) => `"${String(value).replaceAll('"', '""')}"`
  const lines = [heads.join(','), ...rows.map(({ data }) => heads.map((head) => cell(data[head])).join(','))]
  await page.route('**/demo/online-retail.csv.gz', (route) =>
    route.fulfill({ body: gzipSync(`${lines.join('\n')}\n`), contentType: 'application/gzip' }),
  )
  await page.goto(at('#/'))
  for (let round = 0; round < 2; round++) {
    await page.getByRole('button', { name: 'Load the demo' }).click()
    await page.getByText('2,000 events are there already: nothing comes twice').waitFor()
  }
  const read = await send(running, 'GET', `/api/topics/demo-carts/streams/${customer}?from=1500&limit=1`)
  assert.deepEqual([read.body.lastVersion, read.body.events[0].data], [1_999, rows[1_500]?.data])
  await page.close()
})
