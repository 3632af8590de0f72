/** A process of its own for stuck-cache.test.ts: opens a cache, and says so once it is open. */
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'

const reports: string[] = []
const report = (_: string, message: string) => reports.push(message)
const store = await LmdbCheckpointStore.open({ directory: process.argv[2]!, fileSystem: nodeFileSystem, report })
await store.write([{ key: Buffer.from('a'), value: Buffer.from('1') }])
await store.close()
process.stdout.write(`open ${reports.join()}\n`)
