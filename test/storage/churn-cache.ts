/** A process of its own for checkpoint-store.test.ts: writes two keys with the same number for ever, and says each number once it is written. */
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'

const directory = process.argv[2]!
const store = await LmdbCheckpointStore.open({ directory, fileSystem: nodeFileSystem, report: () => {} })
for (let number = 0; ; number++) {
  const value = Buffer.alloc(5000, `${number} `)
  const filler = Array.from({ length: 50 }, (_, place) => ({
    key: Buffer.from(`k${(number * 7 + place * 13) % 500}`),
    value,
  }))
  await store.write([{ key: Buffer.from('a'), value }, ...filler, { key: Buffer.from('z'), value }])
  process.stdout.write(`${number}\n`)
}
