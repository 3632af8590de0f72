/** A process of its own for verify.test.ts: appends to carts/0 until it is killed, saving derived state all the time; a line for each answer. */
import { join } from 'node:path'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { group, StoreUnderTest } from './store-under-test.ts'

const directory = process.argv[2]!
const checkpointStore = await LmdbCheckpointStore.open({
  directory: join(directory, 'cache'),
  fileSystem: nodeFileSystem,
  report: (_, message) => process.stderr.write(`${message}\n`),
})
const opened = await StoreUnderTest.open(directory, { checkpointStore, settings: { checkpointIntervalMs: 5 } })
const log =
  opened.store.topics().length > 0
    ? opened.store.log('carts', 0)
    : await opened.createLog('carts', { 'segment.bytes': '1048576' })
const waiting: Promise<unknown>[] = []
for (let round = 0; ; round++) {
  const texts = [`hot=${'x'.repeat(20_000)}`, ...Array.from({ length: 20 }, (_, place) => `s${round * 20 + place}=a`)]
  waiting.push(log.append(group(texts)).then(() => process.stdout.write('.\n')))
  if (waiting.length >= 4) await waiting.shift()
}
