/**
 * A page of another site in the browser of somebody who can reach the broker: whatever it sends, nothing is written; whatever it asks for, it reads nothing. The broker here has security off,
 * where no token is needed and only this stands in the way.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { runBroker } from '../broker/running-broker.ts'
import { send } from '../broker/http/http-client.ts'
import { openBrowser } from './browser.ts'

/** Runs in the other site's page; `target` is the broker. */
const attacks = `async (target) => {
  const read = []
  const attempt = async (name, act) => {
    try {
      const text = await act()
      if (text) read.push(name + ': ' + text.slice(0, 100))
    } catch {}
  }
  const stream = target + '/api/topics/shop/streams/victim'
  const event = JSON.stringify({ type: 'Forged' })
  for (const mode of ['no-cors', 'cors'])
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/json'])
      await attempt('POST ' + mode + ' ' + type, async () =>
        (await fetch(stream, { method: 'POST', mode, headers: { 'content-type': type }, body: event, credentials: 'include' })).text())
  await attempt('DELETE', async () => (await fetch(target + '/api/topics/shop', { method: 'DELETE' })).text())
  await attempt('PATCH', async () => (await fetch(target + '/api/topics/shop', { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: '{"settings":{}}' })).text())
  await attempt('beacon', async () => { navigator.sendBeacon(stream, new Blob([event], { type: 'text/plain' })) })
  for (const path of ['/api/topics', '/api/topics/shop/streams/victim', '/api/status', '/metrics'])
    await attempt('GET ' + path, async () => (await fetch(target + path)).text())
  await attempt('follow', () => new Promise((resolve) => {
    const source = new EventSource(stream + '/follow?from=start')
    source.onmessage = ({ data }) => resolve(data)
    source.onerror = () => { source.close(); resolve('') }
  }))
  await attempt('script', () => new Promise((resolve) => {
    const script = document.createElement('script')
    script.src = stream
    script.onload = () => resolve('ran')
    script.onerror = () => resolve('')
    document.head.append(script)
  }))
  await attempt('WebSocket', () => new Promise((resolve) => {
    const socket = new WebSocket(target.replace('http', 'ws') + '/api/topics')
    socket.onopen = () => resolve('open')
    socket.onerror = () => resolve('')
  }))
  const frame = document.createElement('iframe')
  frame.src = target + '/'
  document.body.append(frame)
  await new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 3000) })
  return { read, frames: window.length }
}`

test('other site: forged requests of every kind write nothing and read nothing; the console is not framed (same machine, other port; another name)', async () => {
  await using running = await runBroker()
  await send(running, 'POST', '/api/topics', { topic: 'shop' })
  await send(running, 'POST', '/api/topics/shop/streams/victim', { type: 'Opened', data: { secret: 'pssst' } })
  const other = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>other</title><body>')
  }).listen(0, '127.0.0.1')
  await once(other, 'listening')
  const browser = await openBrowser()
  try {
    const { port } = other.address() as AddressInfo
    for (const host of ['127.0.0.1', 'localhost']) {
      const page = await browser.newPage()
      await page.goto(`http://${host}:${port}/`)
      const target = `http://127.0.0.1:${running.broker.httpPort}`
      const { read } = await page.evaluate<{ read: string[] }>(`(${attacks})(${JSON.stringify(target)})`)
      assert.deepEqual(read, [], host)
      const framed = page.frames().find((frame) => frame !== page.mainFrame())
      assert.ok(
        !((await framed?.content().catch(() => '')) ?? '').includes('Playhead'),
        'the console is not in a frame',
      )
      // A form goes where the browser lets a page send anything; it cannot say that it is JSON.
      for (const enctype of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
        await page.goto(`http://${host}:${port}/`)
        await page.setContent(
          `<form method="post" enctype="${enctype}" action="${target}/api/topics/shop/streams/victim"><input name='{"type":"Forged","data":"' value='"}'></form>`,
        )
        await Promise.all([page.waitForNavigation(), page.evaluate('document.forms[0].submit()')])
        assert.match(await page.content(), /invalidArgument/, enctype)
      }
      await page.close()
    }
    const { events } = (await send(running, 'GET', '/api/topics/shop/streams/victim')).body
    assert.deepEqual(
      events.map(({ type }: { type: string }) => type),
      ['Opened'],
    )
  } finally {
    await browser.close()
    other.close()
  }
})
