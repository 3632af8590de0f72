import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Partition } from '../../replication/partition.ts'
import { group, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'

const events = 40

/** A partition with two replicas, of which one was away while more than ten fetches were written. */
async function withOneBehind(): Promise<ReplicaGroup> {
  const replicas = await ReplicaGroup.start([1, 2], 1)
  await replicas.kill(2)
  await replicas.untilInSync([1])
  for (let event = 0; event < events; event++)
    await replicas.leader.partition.append(group([`a=${event}${'x'.repeat(100_000)}`]))
  return replicas
}

async function bytesOf({ log }: Partition): Promise<Buffer> {
  const found: Buffer[] = []
  for (let offset = 0; offset < log.logEndOffset; ) {
    const read = await log.read({ offset, maxBytes: 1e6, limitOffset: Infinity })
    found.push(...read.batches.map((batch) => Buffer.from(batch)))
    offset = read.nextOffset
  }
  return Buffer.concat(found)
}

test('replica fetcher: what was away asks for the next batches before it has the last ones, and not at the end of the log', async () => {
  await using replicas = await withOneBehind()
  const asked: { offset: number; logEndOffset: number; bytes: number }[] = []
  replicas.onReply = ({ partition }, offset, body) =>
    asked.push({ offset, logEndOffset: partition.log.logEndOffset, bytes: body.length })
  const { partition } = await replicas.open(2)
  await replicas.apply()
  await until(() => partition.log.durableOffset === events)
  assert.ok(asked.some(({ offset, logEndOffset }) => offset > logEndOffset))
  // Each was asked for once, in their order; one asked for too much is left where the log ended with a full reply.
  const offsets = asked.filter(({ bytes }) => bytes > 0).map(({ offset }) => offset)
  assert.deepEqual(
    offsets,
    [...new Set(offsets)].toSorted((a, b) => a - b),
  )
  assert.deepEqual(await bytesOf(partition), await bytesOf(replicas.leader.partition))
  assert.deepEqual(replicas.bugs, [])
})

test('replica fetcher: what batches were fetched in is used again once they have left the tail cache (4 MB through a cache of 512 KiB)', async () => {
  await using replicas = await withOneBehind()
  let fetched = 0
  replicas.onReply = (_, __, body) => void (fetched += body.length > 0 ? 1 : 0)
  const { partition } = await replicas.open(2)
  await replicas.apply()
  await until(() => partition.log.durableOffset === events)
  const used = [...replicas.framesUsed].filter(({ byteLength }) => byteLength > 0).length
  assert.ok(fetched >= 10 && used <= fetched / 2, `${used} pieces for ${fetched} replies`)
  assert.deepEqual(await bytesOf(partition), await bytesOf(replicas.leader.partition))
})

test('replica fetcher: batches spoilt on their way are asked for again, and what was asked for behind them does not count', async () => {
  await using replicas = await withOneBehind()
  let [spoilt, late] = [0, 0]
  replicas.onReply = ({ partition }, offset, body) => {
    if (offset > partition.log.logEndOffset) late++
    if (spoilt === 3 || offset < 5 || body.length === 0) return
    body[body.length - 3]! ^= 1
    spoilt++
  }
  const { partition, fetcher } = await replicas.open(2)
  assert.equal(fetcher, undefined)
  await replicas.apply()
  await until(() => partition.log.durableOffset === events)
  assert.ok(spoilt === 3 && late > 0)
  const { failures } = replicas.replicas.get(2)!.fetcher!.stats
  assert.ok(failures > 0 && failures <= spoilt, `${failures} failures`)
  assert.deepEqual(await bytesOf(partition), await bytesOf(replicas.leader.partition))
  assert.deepEqual(replicas.bugs, [])
})
