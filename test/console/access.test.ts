/**
 * The console of a broker with security on: signing in, what is allowed, what is denied and by which right, a token that ends while the page follows live, signing out. The token is
 * in no address, and nothing of one principal stays for the next.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { runSecured } from '../broker/security/secured-broker.ts'
import type { SecuredBroker } from '../broker/security/secured-broker.ts'
import { openBrowser, openPage, screenshot } from './browser.ts'

let browser: Browser
let secured: SecuredBroker

before(async () => {
  browser = await openBrowser()
  secured = await runSecured()
  for (const topic of ['carts', 'orders']) {
    await secured.admin.admin.createTopic(topic)
    for (let number = 0; number < 3; number++)
      await secured.admin.topic(topic).stream('customer-1').append({ type: 'ItemAdded', data: { number } })
  }
})
after(async () => {
  await browser?.close()
  await secured?.[Symbol.asyncDispose]()
})

const at = (hash: string) => `http://127.0.0.1:${secured.broker.httpPort}/${hash}`
const readCarts = { operation: 'read', pattern: 'topic:carts' } as const
const dialog = (page: Page) => page.locator('[data-sign-in][open]')

/** A token of a user who may read topic carts, and nothing else. */
async function reader(name: string, lifetimeMs = 0): Promise<{ token: string; tokenId: string }> {
  await secured.user(name, [readCarts])
  return secured.admin.access.createToken({ principal: `user:${name}`, lifetimeMs })
}

async function signIn(page: Page, token: string): Promise<void> {
  await dialog(page).locator('input[name=token]').fill(token)
  await dialog(page).getByRole('button', { name: 'Sign in' }).click()
  await dialog(page).waitFor({ state: 'detached' })
}

async function settled(page: Page, events: number): Promise<void> {
  await page.locator(`[data-asof][data-events="${events}"][data-settled=yes]`).waitFor()
}

/** Whatever a page asks for, the token is in no address of it. */
function addressesOf(page: Page): string[] {
  const addresses: string[] = []
  page.on('request', (request) => addresses.push(request.url()))
  page.on('framenavigated', (frame) => addresses.push(frame.url()))
  return addresses
}

test('access: without a token nothing is shown but the way in; a wrong one is told so; the right one opens what was asked for, and stays in the tab', async () => {
  const { token } = await reader('alice')
  const context = await browser.newContext()
  const page = await context.newPage()
  const addresses = addressesOf(page)
  await page.goto(at('#/t/carts/s/customer-1'))
  await dialog(page).waitFor()
  assert.equal(await dialog(page).locator('[data-reason]').getAttribute('data-reason'), 'missing')
  await screenshot(page, 'sign-in')
  for (const wrong of ['ph_nobodys', 'two words', 'ü']) {
    await dialog(page).locator('input[name=token]').fill(wrong)
    await dialog(page).getByRole('button', { name: 'Sign in' }).click()
    await dialog(page).locator('.problem').waitFor()
    assert.equal(await dialog(page).locator('input[name=token]').inputValue(), '')
  }
  await signIn(page, token)
  await settled(page, 3)
  assert.equal(await page.locator('[data-principal]').innerText(), 'user:alice')
  assert.deepEqual(await page.evaluate('Object.values(sessionStorage)'), [token])
  assert.ok(!(await page.evaluate<string>('JSON.stringify(localStorage)')).includes(token))
  await page.reload()
  await settled(page, 3)
  // Another tab is nobody.
  const other = await context.newPage()
  await other.goto(at('#/topics'))
  await dialog(other).waitFor()
  assert.ok(addresses.length > 5 && !addresses.some((address) => address.includes(token)))
  await context.close()
})

test('access: a right that is missing is named, with the principal and the command, on every screen; the rest goes on', async () => {
  const { token, tokenId } = await reader('bob')
  const { page } = await openPage(browser)
  await page.goto(at('#/topics'))
  await signIn(page, token)
  await page.getByRole('link', { name: 'carts' }).waitFor()
  assert.equal(await page.getByRole('link', { name: 'orders' }).count(), 0, 'lists hold what he may see')
  const denied = page.locator('[data-denied]').first()
  for (const [hash, operation, resource] of [
    ['#/t/orders/s/customer-1', 'read', 'stream:orders/customer-1'],
    ['#/t/orders', 'read', 'topic:orders'],
    ['#/streams?topic=orders', 'read', 'stream:orders/*'],
    ['#/decide?topic=orders&stream=customer-1', 'read', 'stream:orders/customer-1'],
    ['#/', 'read', 'cluster'],
    ['#/settings', 'read', 'cluster'],
    ['#/cluster', 'read', 'cluster'],
  ] as const) {
    await page.goto(at(hash))
    await page.locator('[data-denied]', { hasText: resource }).first().waitFor()
    const told = await denied.innerText()
    assert.ok(told.startsWith(`You are user:bob and have no right to ${operation} ${resource}.`), `${hash}: ${told}`)
    assert.match(told, /playhead grant add user:bob read /, hash)
  }
  await screenshot(page, 'denied')
  // A name that somebody else has made up is text here too, and one word for a shell.
  const hostile = `<img src=x onerror="window.hacked=1">'; rm -rf /; '`
  await page.goto(at(`#/t/orders/s/${encodeURIComponent(hostile)}`))
  await page.locator('[data-denied]', { hasText: hostile }).waitFor()
  const command = await denied.locator('code').innerText()
  assert.equal(command, `playhead grant add user:bob read 'stream:orders/${hostile.replaceAll("'", String.raw`'\''`)}'`)
  assert.equal(await page.evaluate(() => Reflect.get(globalThis, 'hacked')), undefined)
  assert.equal(await page.locator('img[src=x]').count(), 0)
  await page.goto(at('#/t/carts/s/customer-1'))
  await settled(page, 3)
  await page.getByRole('button', { name: 'Append', exact: true }).click()
  await page.locator('[data-denied]', { hasText: 'append stream:carts/customer-1' }).waitFor()
  assert.equal((await secured.admin.topic('carts').stream('customer-1').info()).lastVersion, 2)
  await page.goto(at('#/access'))
  await page.locator('[data-whoami]', { hasText: 'user:bob' }).waitFor()
  assert.ok(await page.getByRole('cell', { name: tokenId }).isVisible())
  assert.deepEqual(await page.locator('main .scroll tbody tr').allInnerTexts(), ['read\ttopic:carts'])
  await screenshot(page, 'access')
  await page.setViewportSize({ width: 360, height: 740 })
  const wide = await page.evaluate<number>(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  )
  assert.ok(wide <= 0, `${wide} px too wide`)
  // What is granted meanwhile is there with the next look.
  await secured.admin.access.grant('user:bob', [{ operation: 'read', pattern: 'topic:orders' }])
  await page.goto(at('#/t/orders/s/customer-1'))
  await settled(page, 3)
  await page.close()
})

test('access: an administrator sees who there is and what each may, hostile names as text; nobody else asks for it', async () => {
  const hostile = '<img src=x onerror="window.hacked=1">'
  const { tokenId } = await reader('frank')
  await secured.admin.access.createToken({
    principal: 'user:frank',
    description: hostile,
    scope: [{ operation: 'read', pattern: 'topic:carts' }],
  })
  const quota = { requestsPerSecond: 50, inBytesPerSecond: 0, outBytesPerSecond: 0, connections: 0 }
  await secured.admin.access.setQuota('user:frank', quota)
  const { page } = await openPage(browser)
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(at('#/access'))
  await signIn(page, (await reader('gina')).token)
  await page.locator('[data-whoami]', { hasText: 'user:gina' }).waitFor()
  assert.equal(await page.locator('[data-principals]').count(), 0)
  assert.ok(!asked.some((address) => address.includes('/api/principals')))
  await page.getByRole('banner').getByRole('button', { name: 'Sign out' }).click()
  await signIn(page, secured.adminToken)
  const frank = page.locator('[data-principal-row="user:frank"]')
  await frank.waitFor()
  await frank
    .getByRole('listitem')
    .filter({ hasText: /^read topic:carts$/ })
    .waitFor()
  await frank.getByText('requestsPerSecond 50').waitFor()
  await frank.locator('summary', { hasText: '2' }).click()
  await frank.getByText(tokenId).waitFor()
  await frank.getByText(hostile).waitFor()
  assert.equal(await page.locator('img[src=x]').count(), 0)
  const listed = await page
    .locator('[data-principal-row]')
    .evaluateAll((rows) =>
      rows.map((row) => (row as unknown as { dataset: Record<string, string> }).dataset['principalRow'] ?? ''),
    )
  assert.deepEqual(listed, listed.toSorted())
  await screenshot(page, 'access-all')
  await page.setViewportSize({ width: 360, height: 740 })
  const width = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
  assert.ok((await page.evaluate<number>(width)) <= 0)
  await page.close()
})

test('access: a token that is revoked while the page follows ends that within 5 s, with the reason; signed in again the page goes on where it was', async (t) => {
  const { token, tokenId } = await reader('carol')
  const { page } = await openPage(browser)
  const stream = secured.admin.topic('carts').stream('followed')
  await stream.append({ type: 'ItemAdded', data: { number: 0 } })
  await page.goto(at('#/t/carts/s/followed'))
  await signIn(page, token)
  await page.locator('[data-live]', { hasText: 'live' }).waitFor()
  await stream.append({ type: 'ItemAdded', data: { number: 1 } })
  await settled(page, 2)
  const startedMs = performance.now()
  await secured.admin.access.revokeToken(tokenId)
  await dialog(page).locator('[data-reason=revoked]').waitFor()
  const tookMs = performance.now() - startedMs
  t.diagnostic(`revoked to told: ${Math.round(tookMs)} ms`)
  assert.ok(tookMs < 5_000, `${tookMs} ms`)
  assert.deepEqual(await page.evaluate('Object.values(sessionStorage)'), [])
  await stream.append({ type: 'ItemAdded', data: { number: 2 } })
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  await settled(page, 2)
  const again = await secured.admin.access.createToken({ principal: 'user:carol' })
  await signIn(page, again.token)
  await settled(page, 3)
  // The right is taken, the token holds: not a sign-in, but what is missing; what was seen stays.
  await secured.admin.access.revoke('user:carol', [readCarts])
  await page.locator('[data-denied]', { hasText: 'stream:carts/followed' }).waitFor({ timeout: 5_000 })
  await settled(page, 3)
  assert.equal(await dialog(page).count(), 0)
  await page.close()
})

test('access: a token that expires is told so; somebody else who signs in begins with a screen of his own; signed out, nothing is asked for any more', async () => {
  const { token } = await reader('dave', 4_000)
  const { page } = await openPage(browser)
  await page.goto(at('#/t/carts'))
  await signIn(page, token)
  await page.getByRole('heading', { name: 'Partitions' }).waitFor()
  await dialog(page).locator('[data-reason=expired]').waitFor()
  await signIn(page, (await reader('erin')).token)
  await page.locator('[data-principal]', { hasText: 'user:erin' }).waitFor()
  await page.getByRole('heading', { name: 'Partitions' }).waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await dialog(page).locator('[data-reason=signedOut]').waitFor()
  assert.equal(await page.getByRole('heading', { name: 'Partitions' }).count(), 0)
  assert.deepEqual(await page.evaluate('Object.values(sessionStorage)'), [])
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  await new Promise((resolve) => setTimeout(resolve, 6_000))
  assert.deepEqual(asked, [])
  await page.close()
})
