/** The processes of playhead verify: they find what one process finds, in its order; one that ends or hangs over the cache is a finding. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { WorkerProcesses } from '../../cli/verify-workers.ts'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import type { VerifyResult } from '../../storage/verify-findings.ts'
import { verify, type VerifyWorkers } from '../../storage/verify.ts'
import { pathsIn } from '../storage/paths-in.ts'
import { group, StoreUnderTest } from '../storage/store-under-test.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

/** Three topics of several segments each. Answers the segments. */
async function fill(directory: string): Promise<string[]> {
  const checkpointStore = await LmdbCheckpointStore.open({
    directory: join(directory, 'cache'),
    fileSystem: nodeFileSystem,
    report: () => {},
  })
  {
    await using opened = await StoreUnderTest.open(directory, { checkpointStore })
    for (const name of ['carts', 'orders', 'bills']) {
      const log = await opened.createLog(name, { 'segment.bytes': '1048576' })
      for (let round = 0; round < 40; round++)
        await log.append(group([`hot=${'x'.repeat(100_000)}`, `s${round % 7}=a`, `s${round}=b`, '=nobody']))
    }
  }
  return pathsIn(directory, '.log')
}

async function check(directory: string, workers?: VerifyWorkers): Promise<VerifyResult> {
  await using scratch = await TemporaryDirectory.make()
  const options = { directory, fileSystem: nodeFileSystem, clock: systemClock, scratchDirectory: scratch.path }
  return await verify({ ...options, ...(workers && { workers }) })
}

test('verify workers: several processes find what one does, in its order, and tell every byte', async () => {
  await using directory = await TemporaryDirectory.make()
  const segments = await fill(directory.path)
  assert.ok(segments.length > 9)
  using workers = new WorkerProcesses()
  const sound = await check(directory.path, workers)
  assert.deepEqual(sound, await check(directory.path))
  assert.deepEqual([sound.damage, sound.records], [[], 3 * 40 * 4])
  for (const [place, path] of segments.entries()) {
    if (place % 3 !== 1) continue
    const bytes = await readFile(path)
    bytes[300_000]! ^= 1
    await writeFile(path, bytes)
  }
  const damaged = await check(directory.path, workers)
  assert.ok(damaged.damage.length >= 3)
  assert.deepEqual(damaged, await check(directory.path))
  await using scratch = await TemporaryDirectory.make()
  let [read, total] = [0, 0]
  const options = { directory: directory.path, fileSystem: nodeFileSystem, clock: systemClock, workers }
  await verify({
    ...options,
    scratchDirectory: scratch.path,
    onBytes: (bytesRead, bytesTotal) => {
      assert.ok(bytesRead >= read)
      read = bytesRead
      total = bytesTotal
    },
  })
  assert.equal(read, total)
  assert.ok(total > segments.length * 500_000)
})

test('verify workers: a cache over which a process ends, or hangs, is a finding', async () => {
  await using directory = await TemporaryDirectory.make()
  await fill(directory.path)
  await using scratch = await TemporaryDirectory.make()
  const job = {
    directory: join(directory.path, 'cache'),
    scratchDirectory: scratch.path,
    logs: [],
    wanted: 'sum',
  } as const
  const before = process.env['NODE_OPTIONS']
  process.env['NODE_OPTIONS'] = '--no-such-flag' // so that it ends before it has said anything
  try {
    using workers = new WorkerProcesses()
    const { damage } = (await workers.cache(job)).result
    assert.deepEqual(
      damage.map(({ file }) => file),
      [join(directory.path, 'cache', 'data.mdb')],
    )
    assert.match(damage[0]!.reason, /ended its process \(exit code 9\); the cache must be wiped/)
  } finally {
    if (before === undefined) delete process.env['NODE_OPTIONS']
    else process.env['NODE_OPTIONS'] = before
  }
  using impatient = new WorkerProcesses({ silentMsMax: 1 })
  const { damage } = (await impatient.cache(job)).result
  assert.match(damage[0]!.reason, /does not come to an end/)
})
