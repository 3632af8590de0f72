/** Random faults from a seed: producers and conditional appends against a broker that fails every few requests. Nothing lost, nothing twice. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { FailedBatch } from '../../client/index.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { ScriptedBroker } from './scripted-broker.ts'
import type { Fault } from './scripted-broker.ts'
import { freshSeed, seededRandom } from './seeded-random.ts'

function faultyBroker(random: () => number, partitions: number): ScriptedBroker {
  const broker = new ScriptedBroker(partitions)
  broker.transport.pieceBytes = 1 + Math.floor(random() * 700)
  broker.fault = ({ api }): Fault | undefined => {
    const dice = random()
    if (dice < 0.06) return 'loseRequest'
    if (dice < 0.12) return 'loseReply'
    if (dice < 0.16 && api === 'append') return new PlayheadError('overloaded', 'busy')
    return undefined
  }
  return broker
}

const seeds = [freshSeed(), 7041, 17]

for (const seed of seeds) {
  test(`producer: faults in one request of six, 4 partitions, 2,000 records (SEED=${seed})`, async () => {
    const random = seededRandom(seed)
    const broker = faultyBroker(random, 4)
    await using playhead = await connect(await broker.listen(), { transport: broker.transport })
    const inFlight = 1 + Math.floor(random() * 5)
    const failed: number[] = []
    const onError = (error: unknown, batch: FailedBatch) => {
      const codes = ['overloaded', 'outOfOrderSequence']
      assert.ok(isPlayheadError(error) && codes.includes(error.code) && inFlight > 1, String(error))
      failed.push(...batch.records().map(({ value }) => Number(value)))
    }
    const producer = playhead.topic('carts').producer({ batchBytes: 400, inFlight, bufferBytesMax: 8_000, onError })
    for (let index = 0; index < 2_000; index++) {
      const key = random() < 0.2 ? null : `k${Math.floor(random() * 20)}`
      await producer.send({ key, value: `${index}` })
      if (random() < 0.02) await new Promise((resolve) => setImmediate(resolve))
    }
    await producer.close()
    // Refused while a later batch was written: reported, not written. Everything else is there once.
    const seen = broker.partitions.flatMap(({ records }) => records.map(({ value }) => Number(value)))
    assert.deepEqual(
      [...seen, ...failed].toSorted((a, b) => a - b),
      Array.from({ length: 2_000 }, (_, index) => index),
    )
    for (const { records } of broker.partitions) {
      const order = records.map(({ value }) => Number(value))
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
        'each partition keeps the order of sends',
      )
    }
    assert.equal(producer.stats.writtenRecords, seen.length)
  })

  test(`append: 16 racers with expected versions, faults in one request of six (SEED=${seed})`, async () => {
    const random = seededRandom(seed)
    const broker = faultyBroker(random, 1)
    await using playhead = await connect(await broker.listen(), { transport: broker.transport })
    const stream = playhead.topic('carts').stream('contended')
    let won = 0
    await Promise.all(
      Array.from({ length: 16 }, async (_, racer) => {
        for (let round = 0; round < 10; round++) {
          const { lastVersion } = broker.partitions[0]!.heads.has('contended')
            ? { lastVersion: broker.partitions[0]!.heads.get('contended')! }
            : { lastVersion: -1 }
          try {
            const expectedVersion = lastVersion < 0 ? 'none' : lastVersion
            const { version } = await stream.append({ type: 'Bid', data: { racer, round } }, { expectedVersion })
            assert.equal(version, lastVersion + 1)
            won++
          } catch (error) {
            if (!isPlayheadError(error, 'wrongExpectedVersion')) throw error
            assert.equal(error.conflicts[0]!.expected, lastVersion)
            assert.ok(error.conflicts[0]!.found > lastVersion)
          }
        }
      }),
    )
    assert.equal(broker.partitions[0]!.endOffset, won, 'as many events as winners were told of')
  })
}
