import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FileSystem } from '../../platform/file-system.ts'
import type { LogSnapshot } from '../../storage/shared-files.ts'
import type { IncomingLog } from '../../storage/incoming-log.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { append, group, sealed, StoreUnderTest } from './store-under-test.ts'

const facts = {
  id: '0198c1d2-0000-7000-8000-000000000001',
  name: 'carts',
  partitions: 1,
  replicationFactor: 2,
  internal: false,
  settings: { 'segment.bytes': String(1 << 20) },
}
const big = 'x'.repeat(100_000)

async function open(fileSystem: FileSystem): Promise<StoreUnderTest> {
  const store = await StoreUnderTest.open('/data', { fileSystem })
  if (store.store.topics().length === 0) await store.store.adoptTopic(facts)
  return store
}

/** A log with three sealed segments, trimmed inside the first of them. */
async function openLeader(): Promise<{ store: StoreUnderTest; log: Log; snapshot: LogSnapshot }> {
  const store = await open(new MemoryFileSystem())
  const log = store.store.log('carts', 0)
  for (let event = 0; event < 35; event++) await append(log, `s${event % 3}=${event}${big}`)
  await sealed(log)
  await log.deleteRecords(3)
  const snapshot = await log.files.shared.snapshot()
  assert.equal(snapshot.segments.length, 3)
  return { store, log, snapshot }
}

async function receive(
  incoming: IncomingLog,
  log: Log,
  snapshot: LogSnapshot,
  spoil: (bytes: Buffer) => void = () => undefined,
): Promise<number> {
  const missing = await incoming.missing(snapshot)
  for (const segment of missing) {
    await incoming.receiveSegment(segment, (kind) => async (position) => {
      const bytes = await log.files.shared.read(kind, segment.baseOffset, position, 300_000)
      if (kind === 'segment') spoil(bytes)
      return bytes
    })
  }
  return missing.length
}

test('incoming log: what has gathered is a log with the records, versions and start of the one it came from', async () => {
  const leader = await openLeader()
  await using from = leader.store
  await using store = await open(new MemoryFileSystem())
  assert.equal(from.failures.length, 0)
  await append(store.store.log('carts', 0), 'other=1')
  const incoming = store.store.incomingLog('carts', 0)
  await receive(incoming, leader.log, leader.snapshot)
  await incoming.finish(leader.snapshot, 7)
  const { log } = await store.store.takeOverLog('carts', 0)
  assert.deepEqual([log.logStartOffset, log.logEndOffset, log.damage], [3, leader.snapshot.segments[2]!.nextOffset, []])
  assert.deepEqual(log.streamInfo('s1', Infinity), leader.log.streamInfo('s1', log.logEndOffset))
  assert.equal(log.streamInfo('other', Infinity).lastVersion, -1)
  assert.equal(log.replica.epochs.latest, 7)
  const { versions } = await log.append(group(['s0=next'], { wantVersions: true }))
  assert.equal(versions[0], leader.log.streamInfo('s0', leader.snapshot.segments[2]!.nextOffset).lastVersion + 1)
})

test('incoming log: what came and is not the segment that was named is not kept, and the next attempt asks for what is missing only', async () => {
  const leader = await openLeader()
  await using from = leader.store
  const disk = new MemoryFileSystem()
  let whole = 0
  {
    await using store = await open(disk)
    const incoming = store.store.incomingLog('carts', 0)
    let pieces = 0
    const spoil = (bytes: Buffer) => {
      // A byte in the second segment.
      if (bytes.length > 0 && pieces++ === 6) bytes[bytes.length >> 1]! ^= 1
    }
    await assert.rejects(receive(incoming, leader.log, leader.snapshot, spoil), { code: 'unavailable' })
    whole = leader.snapshot.segments.length - (await incoming.missing(leader.snapshot)).length
  }
  assert.equal(whole, 1)
  await using store = await open(disk)
  const incoming = store.store.incomingLog('carts', 0)
  assert.equal(await receive(incoming, leader.log, leader.snapshot), 2)
  assert.deepEqual(await incoming.missing(leader.snapshot), [])
  // Those of another leader have another salt.
  assert.equal((await incoming.missing({ ...leader.snapshot, salt: Buffer.alloc(8, 1) })).length, 3)
  assert.deepEqual(from.failures, [])
})
