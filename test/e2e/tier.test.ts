/** A tier in a directory through the command line: what is refused with which words, and the read-only broker over HTTP. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runPlayhead } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

const serve = (...flags: string[]) => runPlayhead(['serve', '--port', '0', '--http-port', '0', ...flags])

test('tier: a data directory with a tier is refused without it, and one for reading is refused for writing (directory)', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, reader, location] = [
    join(directory.path, 'data'),
    join(directory.path, 'r'),
    `file://${directory.path}/t`,
  ]
  {
    await using broker = await ServedBroker.start(data, ['--tier', location])
    await broker.ok('topic', 'create', 'carts')
    await broker.ok('append', 'carts', 'customer-1', '--type', 'ItemAdded', '--data', '{"sku":"85123A"}')
    assert.equal(await broker.stop(), 0)
  }
  const without = await serve('--data', data)
  assert.equal(without.code, 1)
  assert.match(without.stderr, /setting tier: found none, wanted file:.*; serve it with --tier 'file:/)
  const other = await serve('--data', join(directory.path, 'other'), '--tier', location)
  assert.equal(other.code, 1)
  assert.match(other.stderr, /tier-refused: .*found the tier of cluster .*name another prefix/)
  const taken = await runPlayhead(['tier', 'restore', '--from', location, '--data', data])
  assert.equal(taken.code, 1)
  assert.match(taken.stderr, /not empty, wanted an empty or a new one/)
  const nothing = await runPlayhead(['tier', 'restore', '--from', `file://${directory.path}/no`, '--data', reader])
  assert.match(nothing.stderr, /found no tier of Playhead, wanted the location that a broker was served with/)
  {
    await using broker = await ServedBroker.start(reader, ['--read-only', '--tier', location])
    assert.match(await broker.ok('read', 'carts', 'customer-1'), /85123A/)
    const url = `http://127.0.0.1:${broker.httpPort}/api/topics/carts/streams/customer-1`
    const posted = await fetch(url, { method: 'POST', body: '[]', headers: { 'content-type': 'application/json' } })
    assert.equal(posted.status, 403)
    assert.equal((await fetch(url)).status, 200)
    assert.equal(await broker.stop(), 0)
  }
  const writing = await serve('--data', reader, '--tier', location)
  assert.equal(writing.code, 1)
  assert.match(writing.stderr, /made for reading a tier only, wanted --read-only/)
  assert.match((await runPlayhead(['tier', 'ls', '--tier', location])).stdout, /carts +0 +1 +1 +0 +1 /)
})
