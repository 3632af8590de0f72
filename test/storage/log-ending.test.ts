/** What is being written beside a log when the log goes, is closed or is cut back: it is on disk before anything else happens to its files. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { append, StoreUnderTest } from './store-under-test.ts'

/** More than anything in memory takes: what has not come by then waits for something. */
const turns = 200

interface Ending {
  readonly what: string
  readonly end: (opened: StoreUnderTest) => Promise<unknown>
}

const endings: readonly Ending[] = [
  { what: 'deleted', end: ({ store }) => store.deleteTopic('carts') },
  { what: 'cut back', end: ({ store }) => store.truncateLog('carts', 0, 2) },
  { what: 'closed', end: ({ store }) => store[Symbol.asyncDispose]() },
]

/** Lets nobody go on until it is opened. */
class Gate {
  isReached = false
  open: () => void = () => undefined
  readonly #opened = new Promise<void>((resolve) => (this.open = resolve))

  reach(): Promise<void> {
    this.isReached = true
    return this.#opened
  }
}

async function pass(): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await systemClock.yield()
}

for (const { what, end } of endings) {
  test(`log ending: one that is ${what} while its start is moved waits for that; the broker goes on`, async () => {
    const memory = new MemoryFileSystem()
    const gate = new Gate()
    const fileSystem = new FaultyFileSystem({}, memory)
    await using opened = await StoreUnderTest.open('/data', { fileSystem })
    const log = await opened.createLog()
    await append(log, 'a=0', 'b=0')
    await append(log, 'c=0')
    fileSystem.faults = { sync: (path) => (path.endsWith('/log.json.tmp') ? gate.reach() : undefined) }
    const moving = log.deleteRecords(2)
    await pass()
    assert.ok(gate.isReached)
    let isOver = false
    const ending = end(opened).then(() => (isOver = true))
    await pass()
    const wasOver = isOver
    gate.open()
    assert.equal(await moving, 2)
    await ending
    assert.deepEqual(opened.failures, [])
    assert.equal(wasOver, false, 'nobody waited for what was being written')
    await assert.rejects(log.deleteRecords(3), (error) =>
      isPlayheadError(error, what === 'deleted' ? 'unknownTopic' : 'stopping'),
    )
    if (what === 'cut back') assert.equal(opened.store.log('carts', 0).logStartOffset, 2)
    const left = memory.paths.filter((path) => path.startsWith('/data/topics/'))
    if (what === 'deleted') assert.deepEqual(left, [])
    else assert.ok(left.some((path) => path.endsWith('/log.json')))
  })
}
