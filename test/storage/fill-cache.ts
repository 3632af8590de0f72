/** A process of its own for checkpoint-store.test.ts: writes values of so many bytes into a cache, more than its limit on file sizes allows, and tells what happened. */
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'

process.on('SIGXFSZ', () => {})
const directory = process.argv[2]!
let fatal = 0
const onFatal = () => void fatal++
const store = await LmdbCheckpointStore.open({ directory, fileSystem: nodeFileSystem, report: () => {}, onFatal })
await store.write([{ key: Buffer.from('a'), value: Buffer.from('1') }])
let code = 'none'
try {
  const puts = Array.from({ length: 64 }, (_, place) => ({
    key: Buffer.from(`big${place}`),
    value: Buffer.alloc(Number(process.argv[3]), 1),
  }))
  await store.write(puts)
} catch (error) {
  code = isPlayheadError(error) ? error.code : String(error)
}
await new Promise((resolve) => setTimeout(resolve, 50))
const kept = store.get(Buffer.from('a'))?.toString()
const lost = store.get(Buffer.from('big0')) !== undefined
process.stdout.write(JSON.stringify({ code, kept, lost, failed: store.stats.failedTransactions, fatal }))
process.exit(0)
