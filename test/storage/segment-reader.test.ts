/** Events of one stream, scattered over a log that lies in memory (real files). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

test('stream reads: others have their turn while a thousand events are read, each in a block of its own, at once or not', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path, { settings: { tailCacheBytes: 0 } })
  const log = await opened.createLog()
  const filler = `b=${'x'.repeat(20_000)}`
  for (let round = 0; round < 1_000; round++) await append(log, `a=${round}`, filler)
  const request = { stream: 'a', limit: 1_000, backwards: false, maxBytes: 1e9, limitOffset: Infinity }
  for (const asOf of [undefined, 0]) {
    let [turns, isOver] = [0, false]
    const turn = (): void => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    const page = await log.readStream({ ...request, asOf })
    isOver = true
    assert.equal(page.records.length, asOf === undefined ? 1_000 : 0)
    assert.ok(turns >= 4, `${turns} turns`)
  }
})
