/** Stores: the conformance suite on a directory and on the fault server, and what the probe refuses. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { isPlayheadError } from '../../../protocol/errors.ts'
import { probeStore } from '../../../storage/tier/store-probe.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { FaultServer, noFaults } from './fault-server.ts'
import { checkStore } from './store-conformance.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }

test('directory store: does what a store must', async () => {
  await using directory = await TemporaryDirectory.make()
  const location = `file://${directory.path}`
  const store = await openObjectStore(location, foundation)
  await checkStore(store, true)
  assert.deepEqual(await probeStore(store, location, foundation), { conditionalWrites: true })
  // Of an upload whose process has ended.
  await (await store.beginUpload('data/cut-off.log')).part(1, Buffer.from('x'))
  const unfinished = () => readdir(join(directory.path, 'unfinished'))
  assert.equal(await store.removeUnfinished(Date.now() - 60_000), 0)
  assert.equal((await unfinished()).length, 1)
  assert.equal(await store.removeUnfinished(Date.now() + 60_000), 1)
  assert.deepEqual(await unfinished(), [])
})

test('s3 store: does what a store must (fault server without faults)', async () => {
  await using server = await FaultServer.start(Math.random, noFaults)
  const store = await openObjectStore(server.location('bucket'), foundation)
  await checkStore(store, true)
  await store.close()
})

test('probe: a store that replaces what is there is refused, unless one broker alone writes', async () => {
  await using server = await FaultServer.start(Math.random, { ...noFaults, ignoreIfNoneMatch: true })
  const location = server.location('bucket')
  const store = await openObjectStore(location, foundation)
  await assert.rejects(probeStore(store, location, foundation), (error) => isPlayheadError(error, 'tierRefused'))
  await store.close()
  const alone = await openObjectStore(`${location}&conditional=no`, foundation)
  assert.deepEqual(await probeStore(alone, `${location}&conditional=no`, foundation), { conditionalWrites: false })
  await alone.close()
})

for (const [location, problem] of [
  ['ftp://there', /s3:\/\/bucket\/prefix or file:\/\/\/path/],
  ['s3:///prefix', /s3:\/\/bucket/],
  ['s3://key:secret@bucket/', /AWS_ACCESS_KEY_ID/],
  ['s3://bucket/?endpiont=x', /endpiont/],
  ['s3://bucket/?endpoint=localhost:9000', /an endpoint such as/],
  ['file://host/path', /a directory of this machine/],
  ['nonsense', /s3:\/\/bucket/],
] as const) {
  test(`tier location: ${location} is refused with what is wanted`, async () => {
    await assert.rejects(
      openObjectStore(location, foundation),
      (error) =>
        isPlayheadError(error, 'invalidConfiguration') && problem.test(error.message) && !/secret/.test(error.message),
    )
  })
}
