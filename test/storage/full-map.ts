/**
 * A process of its own for stuck-cache.test.ts: LMDB's map can grow no more, because the process may not have more addresses. Writes for ever, and says each
 * number once it is written. The directory is the argument.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'

/** Beyond what the process has already. */
const addressBytes = 192 * 1024 * 1024
const value = Buffer.alloc(1024 * 1024, 1)

const store = await LmdbCheckpointStore.open({ directory: process.argv[2]!, fileSystem: nodeFileSystem, report() {} })
const usedBytes = Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
const { status, error } = spawnSync('prlimit', ['--pid', `${process.pid}`, `--as=${usedBytes + addressBytes}`])
if (status !== 0)
  throw new Error('found no prlimit that works, wanted it: apt-get install util-linux', { cause: error })
for (let number = 0; ; number++) {
  await store.write([{ key: Buffer.from(`k${number}`), value }])
  process.stdout.write(`${number}\n`)
}
