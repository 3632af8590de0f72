/**
 * Expected versions under contention: 16 clients append to the same streams with the version they read, at staggered moments, while an
 * import writes to these streams too. At most one wins each round, and what was acknowledged is what stands.
 */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

const racers = 16
const lanes = 20
const roundsPerLane = 50
const staggerMsMax = 50
const importRows = 200_000
/** One import row in so many goes to a raced stream: now and then between a racer's read and its append. */
const racedRowEvery = 1_000

interface Won {
  readonly stream: string
  readonly version: number
  readonly mark: string
}

/** xorshift32: a run can be repeated by its seed. */
function randomOf(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_000)
const streamOf = (lane: number): string => `cart-${lane}`

/** One racer of one round: the version it won, or undefined when it was refused as it must be. */
async function append(
  client: Playhead,
  stream: string,
  expectedVersion: number | 'none',
  mark: string,
): Promise<number | undefined> {
  try {
    const { version } = await client
      .topic('carts')
      .stream(stream)
      .append({ type: 'Raced', data: mark }, { expectedVersion })
    return version
  } catch (error) {
    assert.ok(isPlayheadError(error, 'wrongExpectedVersion'), `${mark}: ${String(error)}`)
    const expected = expectedVersion === 'none' ? -1 : expectedVersion
    const [conflict, ...others] = error.conflicts
    assert.deepEqual(others, [])
    assert.equal(conflict?.stream, stream)
    assert.equal(conflict?.expected, expected)
    assert.ok(conflict.found > expected, `${mark}: refused although found ${conflict.found} and expected ${expected}`)
    return undefined
  }
}

async function raceLane(clients: readonly Playhead[], lane: number, won: Won[]): Promise<void> {
  const random = randomOf(seed + lane)
  const stream = streamOf(lane)
  for (let round = 0; round < roundsPerLane; round++) {
    const { lastVersion } = await clients[round % racers]!.topic('carts').stream(stream).info()
    const expectedVersion = lastVersion < 0 ? 'none' : lastVersion
    const starts = clients.map(async (client, racer) => {
      await sleep(random() * staggerMsMax)
      const mark = `${lane}/${round}/${racer}`
      const version = await append(client, stream, expectedVersion, mark)
      if (version === undefined) return 0
      assert.equal(version, lastVersion + 1, mark)
      won.push({ stream, version, mark })
      return 1
    })
    const winners = (await Promise.all(starts)).reduce<number>((sum, one) => sum + one, 0)
    assert.ok(winners <= 1, `lane ${lane} round ${round}: ${winners} winners`)
  }
}

/** Imports until it is told to stop; answers how many rows each raced stream got. */
async function importMeanwhile(broker: ServedBroker, directory: string, stop: AbortSignal): Promise<number[]> {
  const counts = Array.from({ length: lanes }, () => 0)
  for (let run = 0; !stop.aborted; run++) {
    const rows = ['stream,row']
    for (let row = 0; row < importRows; row++) {
      const lane = Math.floor(row / racedRowEvery) % lanes
      const isRaced = row % racedRowEvery === 0
      if (isRaced) counts[lane]!++
      rows.push(`${isRaced ? streamOf(lane) : `other-${row % 5_000}`},${run}-${row}`)
    }
    const path = join(directory, `rows-${run}.csv`)
    await writeFile(path, `${rows.join('\n')}\n`)
    await broker.ok('import', 'carts', path, '--stream', 'stream', '--type', '=Imported')
  }
  return counts
}

test(`race: 1,000 rounds of 16 staggered clients, at most one wins each, while an import writes too (seed ${seed})`, async () => {
  await using temporary = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(temporary.path, 'data'))
  await broker.ok('topic', 'create', 'carts', '--partitions', '4')
  const clients = await Promise.all(Array.from({ length: racers }, () => connect(broker.server)))
  const stop = new AbortController()
  const importing = importMeanwhile(broker, temporary.path, stop.signal)
  const won: Won[] = []
  const everyLane = Array.from({ length: lanes }, (_, lane) => raceLane(clients, lane, won))
  await Promise.all(everyLane).finally(() => stop.abort())
  const imported = await importing

  const rounds = lanes * roundsPerLane
  console.log(`race: ${won.length} of ${rounds} rounds won by a racer, the others by the import`)
  assert.ok(won.length > rounds / 10, 'rounds are contended by the racers, not decided by the import alone')
  for (let lane = 0; lane < lanes; lane++) {
    const marks = new Map<number, unknown>()
    let next = 0
    let importedHere = 0
    for await (const event of clients[0]!.topic('carts').stream(streamOf(lane)).read()) {
      assert.equal(event.version, next++)
      if (event.type === 'Raced') marks.set(event.version, event.data)
      else importedHere++
    }
    const wonHere = won.filter(({ stream }) => stream === streamOf(lane))
    assert.deepEqual(
      marks,
      new Map(wonHere.toSorted((a, b) => a.version - b.version).map(({ version, mark }) => [version, mark])),
    )
    assert.equal(importedHere, imported[lane])
  }
  await Promise.all(clients.map((client) => client.close()))
})
